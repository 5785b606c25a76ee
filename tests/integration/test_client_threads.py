"""One synchronous client shared by many threads: nothing is lost or counted twice, stalls are left early."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

import tieline
from lab.standins.process import StandinProcess
from tests.integration.routed import MODEL, ORIGIN, SETTINGS, WORKLOAD, Reports, infos, standins, table
from tests.waiting import until_sync
from tieline._tables.last_good import write_last_good
from tieline.table import ClientSettings, slices

A, B = "azure/uksouth/gpt", "gcp/europe-west4/gpt"
THREADS = 12


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[dict[str, StandinProcess]]:
    async with standins(tmp_path, *(pool.rsplit("/", 1)[0] for pool in (A, B))) as processes:
        yield processes


def file_of(
    path: Path, running: dict[str, StandinProcess], weights: tuple[int, ...], settings: ClientSettings
) -> Path:
    """A table as a last good file."""
    made = table(infos(running), weights, settings=settings)
    write_last_good(path, made.generation, {ORIGIN: slices(made)[f"{WORKLOAD}/{ORIGIN}"]})
    return path


def ask(http: Any, stream: bool) -> str:
    """One request; the pool that answered it."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "?"}], "max_tokens": 8, "stream": stream}
    answer = http.post("/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.headers["x-tieline-pool"])


async def test_threads_share_a_client(tmp_path: Path, running: dict[str, StandinProcess]) -> None:
    """While a pool fails half of its requests, every call of every thread is answered, and reports tell of
    each exactly once."""
    patient = msgspec.structs.replace(SETTINGS, first_token_timeout_ms=10_000)
    path = file_of(tmp_path / "routes.bin", running, (300_000, 700_000), patient)
    await running[A].fault("503", share=0.5)
    reports = Reports()

    def use() -> Counter[str]:
        with (
            tieline.Client(path, workload=WORKLOAD, origin=ORIGIN, kafka=reports) as client,
            client.http_client(base_url=client.base_url, timeout=30) as http,
            ThreadPoolExecutor(THREADS) as pool,
        ):
            assert client.ready(60)
            return Counter(pool.map(lambda number: ask(http, number % 2 == 0), range(25 * THREADS)))

    pools = await asyncio.to_thread(use)
    assert pools.total() == 25 * THREADS
    assert sum(flow.requests for report in reports.kept for flow in report.flows) == 25 * THREADS
    assert sum(row.outcomes.ok for report in reports.kept for row in report.pools) == 25 * THREADS
    assert all(row.in_flight == 0 for row in reports.kept[-1].pools)


async def test_threads_are_called_back_from_a_stall(
    tmp_path: Path, running: dict[str, StandinProcess]
) -> None:
    """A pool is stopped dead while threads begin to wait for it one after the other: when the first few have
    waited long enough the rest leave it too, long before their own time is over."""
    limit_s = 3.0
    settings = msgspec.structs.replace(SETTINGS, first_token_timeout_ms=round(limit_s * 1_000))
    path = file_of(tmp_path / "routes.bin", running, (1_000_000 - 1, 1), settings)

    def use() -> list[tuple[str, float]]:
        with (
            tieline.Client(path, workload=WORKLOAD, origin=ORIGIN) as client,
            client.http_client(base_url=client.base_url, timeout=60) as http,
            ThreadPoolExecutor(THREADS) as pool,
        ):
            assert client.ready(60)
            assert {ask(http, True) for _ in range(3)} == {A}
            os.kill(running[A].pid, signal.SIGSTOP)

            def timed(_number: int) -> tuple[str, float]:
                began_s = time.monotonic()
                return ask(http, True), time.monotonic() - began_s

            first = [pool.submit(timed, number) for number in range(5)]
            half_s = time.monotonic() + limit_s / 2
            until_sync(lambda: time.monotonic() >= half_s)
            late = [pool.submit(timed, number) for number in range(5, THREADS)]
            try:
                return [one.result() for one in (*first, *late)]
            finally:
                os.kill(running[A].pid, signal.SIGCONT)

    answered = await asyncio.to_thread(use)
    assert {pool for pool, _ in answered} == {B}
    assert all(seconds >= limit_s * 0.9 for _, seconds in answered[:5])
    assert min(seconds for _, seconds in answered[5:]) < limit_s
