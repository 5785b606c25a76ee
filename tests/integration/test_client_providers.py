"""Each provider's URL, model and authentication, and tokens from their own endpoints, on real sockets."""

import base64
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import tieline
from tests.integration.recording import Asked, Recording, chat, recording
from tests.integration.routed import MODEL, ORIGIN, WORKLOAD, pool_info, table
from tieline._tables.last_good import write_last_good
from tieline.credentials import MissingCredentialError
from tieline.table import PoolInfo, slices

KEY, CALLERS = "key-of-this-pool", "key-of-the-caller"
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "Where?"}]}
HEADERS = {"authorization": f"Bearer {CALLERS}", "api-key": CALLERS}


async def called(directory: Path, *pools: PoolInfo, **credentials: Any) -> dict[str, str]:
    """One request through a client of these pools, the first with nearly all weight; its answer's headers."""
    weights = (1_000_000 - len(pools) + 1, *[1] * (len(pools) - 1))
    made = table(pools, weights)
    path = directory / "routes.bin"
    write_last_good(path, made.generation, {ORIGIN: slices(made)[f"{WORKLOAD}/{ORIGIN}"]})
    async with tieline.offline(path, workload=WORKLOAD, origin=ORIGIN, credentials=credentials) as client:
        assert await client.ready(5), client.status
        async with client.http_client(base_url=client.base_url) as http:
            answer = await http.post("/chat/completions", json=BODY, headers=HEADERS)
            assert answer.status_code == 200, answer.text
            return dict(answer.headers)


BEARER, API_KEY = {"authorization": f"Bearer {KEY}"}, {"api-key": KEY}
SHAPES = {
    "azure": ("azure", "/openai/v1", "/openai/v1/chat/completions", API_KEY),
    "azure classic": (
        "azure_classic",
        "",
        "/openai/deployments/big/chat/completions?api-version=2024-10-21",
        API_KEY,
    ),
    "vertex": (
        "vertex",
        "/v1/projects/p/locations/l/endpoints/openapi",
        "/v1/projects/p/locations/l/endpoints/openapi/chat/completions",
        BEARER,
    ),
    "vertex own model": (
        "vertex",
        "/v1/projects/p/locations/l/endpoints/123",
        "/v1/projects/p/locations/l/endpoints/123/chat/completions",
        BEARER,
    ),
    "oci": ("oci", "/openai/v1", "/openai/v1/chat/completions", BEARER),
    "coreweave": ("openai", "/v1", "/v1/chat/completions", BEARER),
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_each_provider_gets_its_own_shape(shape: str, tmp_path: Path) -> None:
    """Path, model name and one secret in the right header; nothing of the caller's own."""
    adapter, base, path, auth = SHAPES[shape]
    async with recording() as server:
        pool = pool_info("any/where/gpt", server.url + base, adapter=adapter, credential="k")
        await called(tmp_path, pool, k=KEY)
    (asked,) = server.asked
    assert asked.path == path
    assert asked.json() == {**BODY, "model": "big"}
    assert {name: asked.headers.get(name) for name in ("authorization", "api-key")} == {
        "authorization": None,
        "api-key": None,
        **auth,
    }
    assert CALLERS not in str(asked)


async def test_an_entra_token_goes_into_authorization_at_azure(tmp_path: Path) -> None:
    """A function's token is one; a string is a key."""
    async with recording() as server:
        pool = pool_info("azure/uksouth/gpt", f"{server.url}/openai/v1", adapter="azure", credential="k")
        await called(tmp_path, pool, k=lambda: tieline.Token(KEY))
    (asked,) = server.asked
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert "api-key" not in asked.headers


async def test_a_secret_never_travels_to_another(tmp_path: Path) -> None:
    """A pool that redirects is a broken pool: not followed, and the next one gets its own secret alone."""
    async with recording() as thief, recording() as good:

        async def redirect(_asked: Asked) -> web.Response:
            return web.Response(status=307, headers={"location": f"{thief.url}/v1/chat/completions"})

        async with recording(redirect) as bad:
            first = pool_info("azure/uksouth/gpt", f"{bad.url}/v1", credential="first")
            second = pool_info("gcp/europe-west4/gpt", f"{good.url}/v1", credential="second")
            headers = await called(tmp_path, first, second, first="first-secret", second="second-secret")
            assert headers["x-tieline-pool"] == second.pool
            assert bad.asked
    assert thief.asked == []
    assert {asked.headers["authorization"] for asked in bad.asked} == {"Bearer first-secret"}
    assert {asked.headers["authorization"] for asked in good.asked} == {"Bearer second-secret"}
    assert "secret" not in str(headers)


async def test_a_pool_without_its_secret_is_passed_over(tmp_path: Path) -> None:
    """A fault of configuration: the others serve."""
    async with recording() as server:
        first = pool_info("azure/uksouth/gpt", f"{server.url}/a/v1", credential="nobody-gave-it")
        second = pool_info("gcp/europe-west4/gpt", f"{server.url}/b/v1")
        assert (await called(tmp_path, first, second))["x-tieline-pool"] == second.pool
    assert [asked.path for asked in server.asked] == ["/b/v1/chat/completions"]


def form(server: Recording) -> dict[str, str]:
    """What the token endpoint was sent."""
    (asked,) = server.asked
    return {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}


async def gives_token(_asked: Asked) -> web.Response:
    return web.json_response({"access_token": "t-1", "expires_in": 3599, "token_type": "Bearer"})


async def test_entra_by_secret_and_by_workload_identity(tmp_path: Path) -> None:
    """The client credentials of Azure's own environment, the secret or the federated token."""
    told = {"AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "client"}
    async with recording(gives_token) as server:
        by_secret = {**told, "AZURE_AUTHORITY_HOST": server.url, "AZURE_CLIENT_SECRET": "s"}
        assert await tieline.EntraToken(environment=by_secret)() == tieline.Token("t-1", 3_599_000)
    assert server.asked[0].path == "/tenant/oauth2/v2.0/token"
    assert form(server) == {
        "grant_type": "client_credentials",
        "client_id": "client",
        "client_secret": "s",
        "scope": "https://cognitiveservices.azure.com/.default",
    }
    file = tmp_path / "federated"
    file.write_text("assertion\n")
    async with recording(gives_token) as server:
        by_file = {**told, "AZURE_AUTHORITY_HOST": server.url, "AZURE_FEDERATED_TOKEN_FILE": str(file)}
        await tieline.EntraToken(environment=by_file)()
    assert form(server)["client_assertion"] == "assertion"
    assert "client_secret" not in form(server)


async def test_google_by_service_account(tmp_path: Path) -> None:
    """A signed assertion that the account's public key confirms, for the token endpoint alone."""
    key = generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    file = tmp_path / "account.json"
    async with recording(gives_token) as server:
        url = f"{server.url}/token"
        account = {"client_email": "a@p", "private_key": pem, "private_key_id": "1", "token_uri": url}
        file.write_bytes(msgspec.json.encode({"type": "service_account", **account}))
        token = await tieline.GoogleToken(environment={"GOOGLE_APPLICATION_CREDENTIALS": str(file)})()
    assert token == tieline.Token("t-1", 3_599_000)
    head, claims, signature = form(server)["assertion"].split(".")
    key.public_key().verify(_plain(signature), f"{head}.{claims}".encode(), PKCS1v15(), SHA256())
    said = msgspec.json.decode(_plain(claims))
    assert (said["iss"], said["aud"], said["exp"] - said["iat"]) == ("a@p", url, 3_600)


async def test_google_by_user_and_by_metadata_server(tmp_path: Path) -> None:
    """gcloud's own file, and without any file the machine's metadata server."""
    config = tmp_path / "application_default_credentials.json"
    async with recording(gives_token) as server:
        user = {"client_id": "c", "client_secret": "s", "refresh_token": "r", "token_uri": server.url}
        config.write_bytes(msgspec.json.encode({"type": "authorized_user", **user}))
        await tieline.GoogleToken(environment={"CLOUDSDK_CONFIG": str(tmp_path)})()
    assert form(server)["refresh_token"] == "r"
    config.unlink()
    async with recording(gives_token) as server:
        told = {"CLOUDSDK_CONFIG": str(tmp_path), "GCE_METADATA_HOST": server.url.removeprefix("http://")}
        await tieline.GoogleToken(environment=told)()
    (asked,) = server.asked
    assert asked.headers["metadata-flavor"] == "Google"
    assert asked.path.startswith("/computeMetadata/v1/instance/service-accounts/default/token?scopes=")


async def test_what_a_token_endpoint_says_is_told_without_the_secret() -> None:
    """Its error code and status; nothing that was sent; a redirect is not followed."""
    told = {"AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "client", "AZURE_CLIENT_SECRET": "s3cret"}

    async def refuses(_asked: Asked) -> web.Response:
        body = {"error": "invalid_client", "error_description": "the secret s3cret is wrong"}
        return web.json_response(body, status=401)

    async with recording(refuses) as server:
        with pytest.raises(MissingCredentialError, match="HTTP 401, invalid_client") as caught:
            await tieline.EntraToken(environment={**told, "AZURE_AUTHORITY_HOST": server.url})()
    assert "s3cret" not in str(caught.value)
    async with recording(chat) as thief:

        async def moved(_asked: Asked) -> web.Response:
            return web.Response(status=307, headers={"location": thief.url})

        async with recording(moved) as server:
            with pytest.raises(MissingCredentialError, match="HTTP 307"):
                await tieline.EntraToken(environment={**told, "AZURE_AUTHORITY_HOST": server.url})()
    assert thief.asked == []
    with pytest.raises(MissingCredentialError, match="AZURE_TENANT_ID is not set"):
        await tieline.EntraToken(environment={})()


def _plain(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
