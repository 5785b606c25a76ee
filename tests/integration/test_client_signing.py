"""Requests that a client signs, as a server receives them: openssl checks each signature."""

import hashlib
import re
import subprocess
import threading
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest

from tests.integration.connected import WAYS, AsyncCaller, SyncCaller
from tests.integration.recording import Asked, Recording, recording
from tests.integration.routed import MODEL, ORIGIN, WORKLOAD, pool_info, table
from tieline._tables.last_good import write_last_good
from tieline.credentials import RequestSigner, RequestToSign
from tieline.request_signing import OciSigner
from tieline.table import slices

KEY_ID = "ocid1.tenancy.oc1..t/ocid1.user.oc1..u/20:3b:97:13"
BODY_HEADERS = ["content-length", "content-type", "x-content-sha256"]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(private key, public key), made by openssl."""
    directory = tmp_path_factory.mktemp("keys")
    private, public = directory / "private.pem", directory / "public.pem"
    subprocess.run(["openssl", "genrsa", "-out", private, "2048"], check=True, capture_output=True)
    subprocess.run(
        ["openssl", "rsa", "-in", private, "-pubout", "-out", public], check=True, capture_output=True
    )
    return private, public


def signed_names(asked: Asked) -> list[str]:
    """The names that the signature covers, in order."""
    return parameters(asked)["headers"].split(" ")


def parameters(asked: Asked) -> dict[str, str]:
    """What the authorization header says."""
    scheme, _, rest = asked.headers["authorization"].partition(" ")
    assert scheme == "Signature"
    return dict(re.findall(r'(\w+)="([^"]*)"', rest))


def is_valid(asked: Asked, public: Path, directory: Path, *, method: str = "post") -> bool:
    """Whether openssl confirms the signature over the request as it came."""
    lines = [
        f"{name}: {method} {asked.path}" if name == "(request-target)" else f"{name}: {asked.headers[name]}"
        for name in signed_names(asked)
    ]
    signature, text = directory / "signature", directory / "text"
    signature.write_bytes(b64decode(parameters(asked)["signature"]))
    text.write_text("\n".join(lines))
    command = ["openssl", "dgst", "-sha256", "-verify", str(public), "-signature", str(signature), str(text)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def routes(directory: Path, server: Recording) -> Path:
    """A table whose only pool is this server, of Oracle's kind."""
    path = directory / "routes.bin"
    info = pool_info("oci/eu-frankfurt-1/gpt", f"{server.url}/openai/v1", adapter="oci", credential="oci")
    wanted = table((info,), (1_000_000,))
    write_last_good(path, wanted.generation, {ORIGIN: slices(wanted)[f"{WORKLOAD}/{ORIGIN}"]})
    return path


CASES: dict[str, dict[str, Any]] = {
    "json": {},
    "a stream": {"json": {"model": MODEL, "messages": [], "stream": True}},
    "a large body": {"json": {"model": MODEL, "messages": [{"role": "user", "content": "x" * 200_000}]}},
    "a form": {"data": {"model": MODEL}, "files": {"file": b"sound" * 50_000}, "json": None},
    "a large form": {"data": {"model": MODEL}, "files": {"file": b"sound" * 500_000}, "json": None},
    "headers of the caller": {
        "headers": {"date": "yesterday", "X-Content-SHA256": "wrong", "authorization": "x"}
    },
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", WAYS)
async def test_the_signature_holds_for_what_is_sent(
    way: str, case: str, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    """The body carries the pool's own name of the model, and the signature covers that body; nothing of the
    caller's own is left among what is signed."""
    signer = OciSigner(KEY_ID, keys[0], compartment="ocid1.compartment.oc1..c")
    async with recording() as server:
        async with WAYS[way](routes(tmp_path, server), credentials={"oci": signer}) as caller:
            await ask(caller, CASES[case])
        (asked,) = server.asked
    assert is_valid(asked, keys[1], tmp_path)
    assert signed_names(asked) == ["date", "(request-target)", "host", *BODY_HEADERS]
    assert b64decode(asked.headers["x-content-sha256"]) == hashlib.sha256(asked.body).digest()
    assert b"big" in asked.body
    assert (parameters(asked)["keyId"], parameters(asked)["algorithm"]) == (KEY_ID, "rsa-sha256")
    assert asked.headers["opc-compartment-id"] == "ocid1.compartment.oc1..c"


async def ask(caller: AsyncCaller | SyncCaller, more: dict[str, Any]) -> None:
    """One request."""
    reply = await caller.ask(**more)
    assert reply.status_code == 200, reply.text


class Failing(RequestSigner):
    """Has nothing to sign with, and says so in its own way."""

    def __init__(self) -> None:
        self.threads: set[int] = set()

    def sign(self, _request: RequestToSign) -> list[tuple[bytes, bytes]]:
        self.threads.add(threading.get_ident())
        raise RuntimeError("the key s3cret has expired")


@pytest.mark.parametrize("way", WAYS)
async def test_a_signer_that_fails_is_a_missing_credential(way: str, tmp_path: Path) -> None:
    """The caller hears which credential it is, and nothing that the signer says. It holds up no event
    loop, as it may have to ask somebody for a token."""
    signer = Failing()
    async with recording() as server:
        async with WAYS[way](routes(tmp_path, server), credentials={"oci": signer}) as caller:
            reply = await caller.ask()
        assert server.asked == []
    assert reply.status_code == 503
    assert "credential 'oci': its signer raised RuntimeError" in reply.text
    assert "s3cret" not in reply.text
    assert threading.get_ident() not in signer.threads


async def test_a_changed_request_is_not_confirmed(keys: tuple[Path, Path], tmp_path: Path) -> None:
    """What checks signatures in these tests does refuse wrong ones."""
    async with recording() as server:
        async with WAYS["async"](
            routes(tmp_path, server), credentials={"oci": OciSigner(KEY_ID, keys[0])}
        ) as caller:
            await ask(caller, {})
        (asked,) = server.asked
    other = asked._replace(headers={**asked.headers, "x-content-sha256": b64encode(b"other").decode()})
    assert is_valid(asked, keys[1], tmp_path)
    assert not is_valid(other, keys[1], tmp_path)
    assert not is_valid(asked._replace(path="/other"), keys[1], tmp_path)
