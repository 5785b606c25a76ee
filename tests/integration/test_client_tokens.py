"""A token endpoint that fails for a while: requests go elsewhere, the client says so, and the pool comes back
as soon as there are tokens."""

from pathlib import Path

import pytest

from tests.integration.connected import POOL, WAYS, ConnectedPool, always, answer, connected
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


class Revoked:
    """A pool whose first token has been revoked, and the function that gives its tokens."""

    def __init__(self) -> None:
        self.calls = 0
        self.refusals = 0
        self.pool: ConnectedPool | None = None

    def __call__(self) -> Token:
        self.calls += 1
        return Token(f"t0ken-{self.calls}", 600_000)

    def script(self, _connection: int, _request: int) -> bytes:
        """Refuses all tokens but the second."""
        assert self.pool is not None
        if b"Bearer t0ken-2" in self.pool.heads[-1]:
            return answer()
        self.refusals += 1
        return b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"


@pytest.mark.parametrize("way", WAYS)
async def test_a_burst_of_refusals_renews_the_token_once(way: str, tmp_path: Path) -> None:
    """Twenty requests at once are sent with a token that has been revoked: each is served, by one new call of
    the function."""
    revoked = Revoked()
    async with connected(revoked.script) as pool:
        revoked.pool, path = pool, tmp_path / "routes.bin"
        info = pool_info(POOL, f"http://127.0.0.1:{pool.port}/v1", credential="entra")
        wanted = table((info,), (1_000_000,), settings=SETTINGS)
        write_last_good(path, wanted.generation, {ORIGIN: slices(wanted)[f"{WORKLOAD}/{ORIGIN}"]})
        async with WAYS[way](path, credentials={"entra": revoked}) as caller:
            replies = await caller.ask_at_once(20)
    assert [reply.status_code for reply in replies] == [200] * 20
    assert revoked.refusals >= 1
    assert revoked.calls == 2


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
            await until(lambda: not caller.client.status.credential_error, what="tokens come again")
            replies = [await caller.ask() for _ in range(10)]
            assert POOL in {reply.headers["x-tieline-pool"] for reply in replies}
