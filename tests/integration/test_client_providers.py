"""Each provider's URL, model and authentication, on real sockets."""

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import tieline
from tests.integration.recording import Asked, recording
from tests.integration.routed import MODEL, ORIGIN, WORKLOAD, pool_info, table
from tieline._tables.last_good import write_last_good
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
        assert await client.ready(60), client.status
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
