"""A token endpoint that fails for a while: requests go elsewhere, the client says so, and the pool comes back
as soon as there are tokens."""

from pathlib import Path

import pytest

from tests.integration.connected import POOL, WAYS, always, answer, connected
from tests.integration.routed import ORIGIN, SETTINGS, WORKLOAD, pool_info, table
from tests.waiting import until
from tieline._tables.last_good import write_last_good
from tieline.credentials import Token
from tieline.table import slices

OTHER = "gcp/europe-west4/gpt"


class Endpoint:
    """Gives tokens, or fails."""

    def __init__(self) -> None:
        self.fails = True

    def __call__(self) -> Token:
        if self.fails:
            raise RuntimeError
        return Token("t0ken", 600_000)


@pytest.mark.parametrize("way", WAYS)
async def test_pools_are_back_seconds_after_tokens_are(way: str, tmp_path: Path) -> None:
    """Every request is served meanwhile, and ``status`` names what fails."""
    endpoint, path = Endpoint(), tmp_path / "routes.bin"
    async with connected(always(answer())) as pool, connected(always(answer())) as other:
        infos = (
            pool_info(POOL, f"http://127.0.0.1:{pool.port}/v1", credential="entra"),
            pool_info(OTHER, f"http://127.0.0.1:{other.port}/v1"),
        )
        wanted = table(infos, (500_000, 500_000), settings=SETTINGS)
        write_last_good(path, wanted.generation, {ORIGIN: slices(wanted)[f"{WORKLOAD}/{ORIGIN}"]})
        async with WAYS[way](path, credentials={"entra": endpoint}) as caller:
            replies = [await caller.ask() for _ in range(30)]
            assert {reply.status_code for reply in replies} == {200}
            assert {reply.headers["x-tieline-pool"] for reply in replies} == {OTHER}
            assert (
                caller.client.status.credential_error
                == "credential 'entra': its function raised RuntimeError"
            )
            assert pool.connections == 0
            endpoint.fails = False
            await until(lambda: not caller.client.status.credential_error, 15, "tokens come again")
            replies = [await caller.ask() for _ in range(10)]
            assert POOL in {reply.headers["x-tieline-pool"] for reply in replies}
