"""The real Envoy that asks `tieline envoy --listen` for its resources, over TLS and with a token."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from lab.standins.process import StandinProcess
from tests.integration.enveloped import EnvoyRun, ask, ask_often, following, new_served_run, until_only
from tests.integration.routed import infos, standins, table
from tests.waiting import until

A, B, C = "azure/uksouth/gpt", "gcp/europe-west4/gpt", "oci/london/gpt"


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[dict[str, StandinProcess]]:
    """Three pools of three providers."""
    async with standins(tmp_path / "standins", *(pool.rsplit("/", 1)[0] for pool in (A, B, C))) as processes:
        yield processes


async def test_an_envoy_that_asks_follows_the_table_and_goes_on_without_tieline(
    tmp_path: Path, running: dict[str, StandinProcess]
) -> None:
    """Weights, a drain, a pool that is new to the table and one that leaves it. When Tieline is gone Envoy
    goes on, also without a pool that is killed; when it is back Envoy follows it again."""
    pools = infos(running)
    run = new_served_run(tmp_path / "envoy")
    run.publish(table(pools[:2], (600_000, 400_000)))
    try:
        async with following(run):
            await run.start()
            await until_only(run, {A: None, B: None})
            counts = await ask_often(run, 200)
            assert counts.keys() == {A, B}
            assert abs(counts[A] / 200 - 0.6) <= 0.02
            await until(lambda: run.reported("ok").total() >= 200, what="every outcome in a report")

            run.publish(table(pools[:2], (0, 1_000_000), seq=2))
            await until_only(run, {B: None})
            run.publish(table(pools[1:], (500_000, 500_000), seq=3))
            await until(lambda: _are_asked(run, B, C), what="requests at both pools of the table")
        await running[B].kill()
        assert set(await ask_often(run, 60)) == {C}
        run.publish(table(pools, (1_000_000, 0, 0), seq=4))
        async with following(run):
            await until_only(run, {A: None})
    finally:
        if run.child is not None:
            await run.child.stop()


async def _are_asked(run: EnvoyRun, *pools: str) -> bool:
    """Whether these pools and no others answer."""
    return set(await ask_often(run, 20)) == set(pools)


async def test_an_envoy_with_a_wrong_token_is_told_nothing(
    tmp_path: Path, running: dict[str, StandinProcess]
) -> None:
    """It has no routes, and says so to its callers."""
    run = new_served_run(tmp_path / "envoy", "a token that nobody knows")
    run.publish(table(infos(running), (600_000, 400_000, 0)))
    try:
        async with following(run), httpx2.AsyncClient() as http:
            await run.start()
            answer = await ask(http, run)
            assert answer.status_code == 404
    finally:
        if run.child is not None:
            await run.child.stop()
