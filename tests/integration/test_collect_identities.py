"""Who a collector is to a provider's API, against endpoints on loopback."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from controller.collect.capacity.provider_quotas import OracleLimits
from controller.collect.capacity.quotas import Quota
from controller.collect.collector import Identity
from tests.integration.collecting import NOW_MS, rounds_of
from tests.integration.recording import Asked, Recording, recording

LIMITS = [{"name": "units", "scopeType": "REGION", "value": 4}]
POOL = "oci/us-chicago-1/gpt-oss"


async def answer(asked: Asked) -> web.Response:
    """A token to who asks for one, limits to all others."""
    if asked.path == "/token":
        return web.json_response({"access_token": "t-1", "expires_in": 3_600, "token_type": "Bearer"})
    return web.json_response(LIMITS)


@pytest.fixture
async def server() -> AsyncIterator[Recording]:
    async with recording(answer) as server:
        yield server


@pytest.fixture(scope="module")
def key() -> Any:
    return generate_private_key(65537, 2048)


@pytest.fixture
def pem(key: Any) -> bytes:
    data: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return data


def limits(url: str, **identity: Any) -> OracleLimits:
    """A collector with an identity."""
    quota = Quota(quota="units", pool=POOL)
    return OracleLimits(name="quota", url=url, provider="oci", quotas=(quota,), identity=Identity(**identity))


async def test_oracle_takes_a_signature_of_what_is_sent(
    server: Recording, key: Any, pem: bytes, tmp_path: Path
) -> None:
    """Over the date, the target as it goes over the wire, and the host; a broken file fails the round."""
    (tmp_path / "key.pem").write_bytes(pem)
    config = tmp_path / "config"
    config.write_text(f"[DEFAULT]\ntenancy=t\nuser=u\nfingerprint=f\nkey_file={tmp_path / 'key.pem'}\n")
    url = f"{server.url}/20190729/limitValues?compartmentId=ocid1.tenancy&serviceName=a%20b%28c%29"
    async with rounds_of(limits(url, kind="oci", file=str(config))) as (rounds, fetcher, taken):
        await rounds.round(fetcher)
        assert (rounds.trouble, len(taken.events)) == ("", 1)
        config.write_text("[DEFAULT]\n")
        await rounds.round(fetcher)
        assert ("tenancy is missing" in rounds.trouble, len(server.asked)) == (True, 1)
    asked = server.asked[0]
    fields = dict(re.findall(r'(\w+)="([^"]*)"', asked.headers["authorization"]))
    assert fields["keyId"] == "t/u/f"
    lines = {**asked.headers, "(request-target)": f"get {asked.path}"}
    text = "\n".join(f"{name}: {lines[name]}" for name in fields["headers"].split())
    assert fields["headers"].split() == ["date", "(request-target)", "host"]
    key.public_key().verify(base64.b64decode(fields["signature"]), text.encode(), PKCS1v15(), SHA256())


async def test_a_token_of_google_is_kept_until_shortly_before_its_end(
    server: Recording, pem: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of a service account, which lasts for an hour; without credentials the round fails."""
    account = {
        "type": "service_account",
        "client_email": "a@p.example",
        "private_key_id": "k",
        "private_key": pem.decode(),
        "token_uri": f"{server.url}/token",
        "project_id": "p",
    }
    file = tmp_path / "account.json"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    now_ms = NOW_MS
    settings = limits(f"{server.url}/limits", kind="google")
    async with rounds_of(settings, now_ms=lambda: now_ms) as (rounds, fetcher, taken):
        await rounds.round(fetcher)
        assert (rounds.trouble.startswith("identity: "), taken.events) == (True, [])
        file.write_bytes(msgspec.json.encode(account))
        for minutes, tokens in ((0, 1), (30, 1), (56, 2)):
            now_ms = NOW_MS + minutes * 60_000
            await rounds.round(fetcher)
            assert rounds.trouble == ""
            assert sum(asked.path == "/token" for asked in server.asked) == tokens
    sent = {asked.headers.get("authorization") for asked in server.asked if asked.path == "/limits"}
    assert sent == {"Bearer t-1"}
