"""The openai SDKs of Python and npm, curl and a plain client, through a gateway, against the faults of
outcomes.md: what they get is what the client library gives.

A sample by default; ``MATRIX=whole`` tries every driver in every cell. Each case has a gateway of its own, in
this process, so that what one case does to a pool is nothing to the next. Not tried here: lists of models,
which a gateway answers itself, and a token that is replaced, as the pools of a gateway have fixed secrets.
"""

import asyncio
import itertools
import json
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from controller.process.settings import Settings
from gateway.configuration import GatewayFile, parse_gateway
from gateway.worker import Post, Worker, serving
from lab.standins.process import StandinProcess
from tests.integration.gateways import settings_of
from tests.integration.matrix_calls import CALLS, TIMED_OUT, Call
from tests.integration.matrix_drivers import DRIVERS, FAULTY, OTHER, Ask, all_drivers, can_ask, set_faults
from tests.integration.matrix_table import FILE, Row, rows
from tests.integration.routed import MODEL, ORIGIN, SETTINGS, WORKLOAD, infos, standins, table
from tests.integration.sdk_matrix import SECOND, STEP
from tests.waiting import SAFETY_NET_S
from tieline._tables.last_good import write_last_good
from tieline.table import ModelOffer, Split, slices

IS_WHOLE = os.environ.get("MATRIX") == "whole"
SILENCE_MAX_MS = 2_000  # as outcomes.md says
ROWS_APART = 9  # of the sample
AT_A_TIME = 4
CALL_MAX_S = 90  # a safety net


class GatewayCase(NamedTuple):
    """One cell of the table by one driver."""

    row: Row
    call: Call
    driver: str

    @property
    def calls(self) -> int:
        """How many are made; the outcome is that of the last."""
        return 2 if self.row.order and self.row.order["kind"] in SECOND else 1

    @property
    def expected(self) -> frozenset[str]:
        """What outcomes.md says. Where the client library raises the time-out of the HTTP library, a gateway
        answers 504, or breaks what it has begun to hand on."""
        outcome = self.row.outcomes[self.call.column]
        if outcome == TIMED_OUT:
            return frozenset({"504 faulty 1", "broken"})
        is_flat = (self.row.order or {}).get("shape") == "flat"
        if is_flat and self.driver == "npm sdk":
            return frozenset({outcome, outcome.replace("error", "broken")})  # it raises APIConnectionError
        return frozenset({outcome})


def cases() -> Iterator[GatewayCase]:
    """The cases, fault by fault; of the sample each by one API and one driver in turn."""
    turn = itertools.count()
    for number, row in enumerate(rows(FILE.read_text())):
        if row.order is not None and row.order["kind"] == "token_revoked":
            continue
        if not IS_WHOLE and number % ROWS_APART:
            continue
        for column, outcome in row.outcomes.items():
            if column == "look up" or outcome == "-":
                continue
            pairs = [
                (call, driver)
                for call in CALLS
                for driver in DRIVERS
                if call.column == column and can_ask(driver, call)
            ]
            for call, driver in pairs if IS_WHOLE else [pairs[next(turn) * STEP % len(pairs)]]:
                yield GatewayCase(row, call, driver)


@asynccontextmanager
async def fresh_gateway(file: GatewayFile, folder: Path) -> AsyncIterator[tuple[Worker, str]]:
    """A gateway that has seen no request, and its URL."""
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with serving(file, Settings(kafka=""), listening, Post(0, 1, folder)) as worker:
            for job in worker.jobs.values():
                job.close()
            client = worker.clients[WORKLOAD]
            assert await client.ready(SAFETY_NET_S), client.status
            yield worker, f"http://127.0.0.1:{listening.getsockname()[1]}/v1"


async def outcome_of(case: GatewayCase, asks: Mapping[str, Ask], file: GatewayFile, folder: Path) -> str:
    """What became of a case, whether the pool is out afterwards, and whether an SDK asked again by itself."""
    async with fresh_gateway(file, folder) as (worker, url):
        for _ in range(case.calls):
            async with asyncio.timeout(CALL_MAX_S):
                result = await asks[case.driver](url, case.call)
        pools = worker.clients[WORKLOAD].explain()["pools"]
        result += " out" if any(row["out"] or row["models_out"] for row in pools) else ""
        asked = worker.figures.requests + len(worker.drain)
    return result if asked == case.calls else f"{result}, asked {asked} times"


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[dict[str, StandinProcess]]:
    async with standins(tmp_path, *(pool.rsplit("/", 1)[0] for pool in (FAULTY, OTHER))) as processes:
        yield processes


@pytest.fixture
def file(tmp_path: Path, running: dict[str, StandinProcess], monkeypatch: pytest.MonkeyPatch) -> GatewayFile:
    """All weight is on the faulty pool; what is lost there goes to the other."""
    monkeypatch.setenv("TIELINE_CREDENTIAL_KEY", "a-key-of-the-pools")
    settings = msgspec.structs.replace(
        SETTINGS, first_token_timeout_ms=SILENCE_MAX_MS, idle_timeout_ms=SILENCE_MAX_MS
    )
    offer = ModelOffer(MODEL, "big", 128_000, ("tools",), whole_answer_timeout_ms=SILENCE_MAX_MS)
    pools = tuple(msgspec.structs.replace(pool, models=(offer,), credential="key") for pool in infos(running))
    lost = {"azure": Split((1,), (1_000_000,))}
    wanted = table(pools, (1_000_000, 0), settings=settings, on_loss=lost)
    path = tmp_path / "routes.bin"
    write_last_good(path, wanted.generation, {ORIGIN: slices(wanted)[f"{WORKLOAD}/{ORIGIN}"]})
    return parse_gateway(json.dumps(settings_of(str(path), access_log="")))


@pytest.mark.timeout(3_600 if IS_WHOLE else 600)
async def test_every_fault_has_its_outcome(
    tmp_path: Path, running: dict[str, StandinProcess], file: GatewayFile
) -> None:
    """For each driver and each API, after as many attempts, and no SDK asks a second time."""
    wrong, numbers = [], itertools.count()
    doubtful: list[GatewayCase] = []
    async with all_drivers() as asks:
        slots = asyncio.Semaphore(AT_A_TIME)

        async def ended(case: GatewayCase) -> str:
            async with slots:
                try:
                    return await outcome_of(case, asks, file, tmp_path / f"case-{next(numbers)}")
                except TimeoutError:
                    return "nothing in time"

        async def tried(case: GatewayCase) -> None:
            if await ended(case) not in case.expected:
                doubtful.append(case)

        for _, group in itertools.groupby(cases(), lambda case: case.row):
            of_row = list(group)
            for alone in [[case] for case in of_row] if of_row[0].calls > 1 else [of_row]:
                await set_faults(alone[0].row, running)
                await asyncio.gather(*(tried(case) for case in alone))
                # On a machine that stands still for two seconds each pool seems silent: such cases are tried
                # once more, one by one.
                for case in doubtful:
                    await set_faults(case.row, running)
                    if (result := await ended(case)) not in case.expected:
                        wrong.append(
                            (case.row.order, case.row.everywhere, case.call.path, case.driver, result)
                        )
                doubtful.clear()
    assert not wrong, "\n".join(map(repr, wrong))
