"""Tokens by the providers' own libraries, from endpoints on loopback: what is sent there, what comes of it,
and what errors never repeat."""

import asyncio
import base64
import os
import re
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs

import msgspec
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import tieline
from tests.integration.recording import Answering, Asked, Recording, chat, recording
from tests.integration.test_client_tls import certificate
from tieline._process import clock as _clock
from tieline.credentials import MissingCredentialError

SETTINGS = re.compile("AZURE_|GOOGLE_|GCE_|IDENTITY_|MSI_|CLOUDSDK_|[A-Z]+_PROXY", re.IGNORECASE)
HOUR_MS = 3_600_000


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No identity of the machine that the tests run on."""
    for name in list(os.environ):
        if SETTINGS.match(name):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "prod")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")


def form(asked: Asked) -> dict[str, str]:
    """What a token endpoint was sent."""
    return {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}


async def gives_token(_asked: Asked) -> web.Response:
    """As both providers do."""
    return web.json_response({"access_token": "t-1", "expires_in": 3_600, "token_type": "Bearer"})


def is_an_hour(token: tieline.Token) -> bool:
    """The stand-ins' token, with a minute for slow machines and a second for rounding."""
    return token.value == "t-1" and HOUR_MS - 60_000 < token.expires_in_ms <= HOUR_MS + 1_000


class Authority:
    """An Entra authority over TLS; ``answer`` gives its tokens."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self.tls = tls
        self.answer: Answering = gives_token

    async def __call__(self, asked: Asked) -> web.Response:
        """The tenant's metadata (OpenID Connect Discovery 1.0), or a token."""
        if not asked.path.endswith("/.well-known/openid-configuration"):
            return await self.answer(asked)
        base = f"https://{asked.headers['host']}/tenant"
        oauth = {f"{name}_endpoint": f"{base}/oauth2/v2.0/{name}" for name in ("token", "authorization")}
        return web.json_response({**oauth, "issuer": f"{base}/v2.0"})


@pytest.fixture
async def entra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Authority, Recording]]:
    """An authority that the environment names and trusts; it says who asks by tenant and client."""
    pem = certificate(tmp_path / "authority.pem")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pem)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    monkeypatch.setenv("AZURE_TENANT_ID", "tenant")
    monkeypatch.setenv("AZURE_CLIENT_ID", "client")
    authority = Authority(tls)
    async with recording(authority, tls) as server:
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", server.url)
        yield authority, server


async def test_entra_by_a_secret(entra: tuple[Authority, Recording], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call asks anew: a token that was refused must not come back from a cache."""
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "s")
    function = tieline.EntraToken()
    assert is_an_hour(await asyncio.to_thread(function))
    assert is_an_hour(await asyncio.to_thread(function))
    first, second = (asked for asked in entra[1].asked if asked.path == "/tenant/oauth2/v2.0/token")
    wanted = {"client_id": "client", "client_secret": "s", "grant_type": "client_credentials"}
    assert wanted.items() <= form(first).items()
    assert form(first)["scope"] == "https://cognitiveservices.azure.com/.default"
    assert form(first) == form(second)


async def test_entra_by_a_workload_identity(
    entra: tuple[Authority, Recording], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The federated token of a pod, as Kubernetes writes it."""
    (tmp_path / "federated").write_text("assertion")
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "federated"))
    assert is_an_hour(await asyncio.to_thread(tieline.EntraToken()))
    assert form(entra[1].asked[-1])["client_assertion"] == "assertion"


async def test_entra_by_a_managed_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint that Azure's own services put into the environment."""

    async def identity(asked: Asked) -> web.Response:
        seconds = str(int(_clock.now_ms() / 1_000) + 3_600)
        return web.json_response({"access_token": "t-1", "expires_on": seconds, "resource": "r"})

    async with recording(identity) as server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "header")
        assert is_an_hour(await asyncio.to_thread(tieline.EntraToken()))
    (asked,) = server.asked
    assert asked.headers["x-identity-header"] == "header"
    assert "resource=https://cognitiveservices.azure.com" in asked.path


async def test_entra_errors_have_codes_and_no_secret(
    entra: tuple[Authority, Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Codes say what to mend; what the endpoint says beside them may repeat a secret. An endpoint that fails
    is asked once a call, and a redirect is not followed."""
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "s3cret")

    async def refuses(_asked: Asked) -> web.Response:
        text = "AADSTS7000215: the secret s3cret is wrong"
        return web.json_response({"error": "invalid_client", "error_description": text}, status=401)

    async def fails(_asked: Asked) -> web.Response:
        return web.Response(status=503)

    entra[0].answer = fails
    with pytest.raises(MissingCredentialError, match="Entra gave no token"):
        await asyncio.to_thread(tieline.EntraToken())
    assert [asked.path for asked in entra[1].asked].count("/tenant/oauth2/v2.0/token") == 1
    entra[0].answer = refuses
    with pytest.raises(MissingCredentialError, match=r"Entra gave no token: .*AADSTS7000215") as caught:
        await asyncio.to_thread(tieline.EntraToken())
    assert "s3cret" not in str(caught.value)
    async with recording(chat) as thief:

        async def moved(_asked: Asked) -> web.Response:
            return web.Response(status=307, headers={"location": thief.url})

        entra[0].answer = moved
        with pytest.raises(MissingCredentialError, match="Entra gave no token"):
            await asyncio.to_thread(tieline.EntraToken())
    assert thief.asked == []


KEY = generate_private_key(65537, 2048)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def service_account(file: Path, url: str) -> None:
    """Writes the file of an account whose tokens this endpoint gives."""
    account = {"client_email": "a@p", "private_key": PEM, "private_key_id": "1", "token_uri": url}
    file.write_bytes(msgspec.json.encode({"type": "service_account", **account}))


async def test_google_by_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signed assertion (RFC 7523) that the account's public key confirms; each call asks anew."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
    async with recording(gives_token) as server:
        service_account(tmp_path / "account.json", server.url)
        function = tieline.GoogleToken()
        assert is_an_hour(await asyncio.to_thread(function))
        assert is_an_hour(await asyncio.to_thread(function))
    asked, _again = server.asked
    head, claims, signature = form(asked)["assertion"].split(".")
    KEY.public_key().verify(_plain(signature), f"{head}.{claims}".encode(), PKCS1v15(), SHA256())
    claim = msgspec.json.decode(_plain(claims))
    assert (claim["iss"], claim["scope"]) == ("a@p", "https://www.googleapis.com/auth/cloud-platform")


async def test_google_by_gclouds_own_file(tmp_path: Path) -> None:
    """Where ``gcloud auth application-default login`` leaves it."""
    async with recording(gives_token) as server:
        service_account(tmp_path / "application_default_credentials.json", server.url)
        assert is_an_hour(await asyncio.to_thread(tieline.GoogleToken()))
    assert len(server.asked) == 1


async def test_google_by_the_metadata_server(tmp_path: Path) -> None:
    """google-auth reads where that server is when it is imported, hence a process of its own."""

    async def metadata(asked: Asked) -> web.Response:
        if "/token" in asked.path:
            answer = await gives_token(asked)
        else:
            answer = web.json_response({"email": "a@p", "scopes": [], "aliases": ["default"]})
        answer.headers["Metadata-Flavor"] = "Google"
        return answer

    async with recording(metadata) as server:
        place = server.url.removeprefix("http://")
        program = "import tieline; token = tieline.GoogleToken()(); print(token.value, token.expires_in_ms)"
        environment = {**os.environ, "GCE_METADATA_HOST": place, "GCE_METADATA_IP": place}
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, env=environment, stdout=subprocess.PIPE
        )
        output, _ = await child.communicate()
    value, expires_in_ms = output.decode().split()
    assert is_an_hour(tieline.Token(value, int(expires_in_ms)))
    assert all(asked.headers["metadata-flavor"] == "Google" for asked in server.asked)


async def test_google_errors_have_codes_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Entra's. Without any identity the error is the library's own kind."""
    file = tmp_path / "account.json"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))

    async def refuses(_asked: Asked) -> web.Response:
        body = {"error": "invalid_grant", "error_description": "the assertion s3cret is wrong"}
        return web.json_response(body, status=400)

    async with recording(refuses) as server:
        service_account(file, server.url)
        with pytest.raises(MissingCredentialError, match=r"Google gave no token: .*invalid_grant") as caught:
            await asyncio.to_thread(tieline.GoogleToken())
    assert "s3cret" not in str(caught.value)
    async with recording(chat) as thief:

        async def moved(_asked: Asked) -> web.Response:
            return web.Response(status=307, headers={"location": thief.url})

        async with recording(moved) as server:
            service_account(file, server.url)
            with pytest.raises(MissingCredentialError, match="Google gave no token: RefreshError"):
                await asyncio.to_thread(tieline.GoogleToken())
    assert thief.asked == []
    file.unlink()
    with pytest.raises(MissingCredentialError, match="DefaultCredentialsError"):
        await asyncio.to_thread(tieline.GoogleToken())


def _plain(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
