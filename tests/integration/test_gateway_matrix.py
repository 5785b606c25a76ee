"""The openai SDKs of Python and npm, curl and a plain client, through a gateway, against the faults of
outcomes.md: what they get is what the client library gives.

A sample by default. ``MATRIX=whole script/test tests/integration/test_gateway_matrix.py`` tries every driver
in every cell, some 5,100 cases, and writes what came of them into docs/gateway-outcomes.md. Each case has a
gateway of its own, in this process, so that what one case does to a pool is nothing to the next. Lists of
models are not tried here: a gateway answers them itself.
"""

import asyncio
import itertools
import json
import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from controller.process.settings import Settings
from gateway.configuration import GatewayFile, parse_gateway
from gateway.worker import Post, Worker, serving
from lab.standins.process import StandinProcess
from tests.integration.gateway_page import COLUMNS, PAGE, Cell, allowed, page
from tests.integration.gateways import settings_of
from tests.integration.matrix_calls import Call
from tests.integration.matrix_drivers import FAULTY, OTHER, Ask, all_drivers, askings, set_faults
from tests.integration.matrix_table import FILE, Row, rows
from tests.integration.routed import MODEL, ORIGIN, SETTINGS, WORKLOAD, infos, standins, table
from tests.integration.sdk_matrix import SECOND
from tests.waiting import SAFETY_NET_S
from tieline._tables.last_good import write_last_good
from tieline.table import ModelOffer, Split, slices

IS_WHOLE = os.environ.get("MATRIX") == "whole"
SILENCE_MAX_MS = 2_000  # as outcomes.md says
ROWS_APART = 9  # of the sample
AT_A_TIME = 4
CALL_MAX_S = 90  # a safety net
REVOKED = "token_revoked"


@dataclass(frozen=True, eq=False)
class GatewayCase:
    """One cell of the table by one driver."""

    row: Row
    call: Call
    driver: str

    @property
    def kind(self) -> str:
        """Of its fault, "" without one."""
        return str(self.row.order["kind"]) if self.row.order else ""

    @property
    def calls(self) -> int:
        """How many are made; the outcome is that of the last."""
        return 2 if self.kind in SECOND or self.kind == REVOKED else 1

    @property
    def fault_from(self) -> int:
        """The number of the call before which the fault is switched on. A token is revoked after it was
        used."""
        return 1 if self.kind == REVOKED else 0

    @property
    def expected(self) -> frozenset[str]:
        """What outcomes.md says, in the words of a gateway."""
        return allowed(self.row, self.call.column, self.driver)


def cases() -> Iterator[GatewayCase]:
    """The cases, fault by fault; of the sample each by one API and one driver in turn."""
    turn = itertools.count()
    for number, row in enumerate(rows(FILE.read_text())):
        is_revoked = row.order is not None and row.order["kind"] == REVOKED
        if not IS_WHOLE and number % ROWS_APART and not is_revoked:
            continue
        for column in COLUMNS[:2] if is_revoked and not IS_WHOLE else COLUMNS:
            if row.outcomes[column] == "-":
                continue
            for call, driver in askings(column, turn, whole=IS_WHOLE):
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


async def outcome_of(case: GatewayCase, ask: Ask, lab: "Lab", folder: Path) -> str:
    """What became of a case, whether the pool is out afterwards, and whether an SDK asked again by itself."""
    async with fresh_gateway(lab.file, folder) as (worker, url):
        for number in range(case.calls):
            if case.calls > 1 and number == case.fault_from:
                await lab.set_faults(case.row)
            async with asyncio.timeout(CALL_MAX_S):
                result = await ask(url, case.call)
        pools = worker.clients[WORKLOAD].explain()["pools"]
        result += " out" if any(row["out"] or row["models_out"] for row in pools) else ""
        asked = worker.figures.requests + len(worker.drain)
    return result if asked == case.calls else f"{result}, asked {asked} times"


class Lab(NamedTuple):
    """The stand-ins, and the file of a gateway before them. ``token``: the file with the secret of both."""

    running: dict[str, StandinProcess]
    file: GatewayFile
    token: Path

    async def set_faults(self, row: Row) -> None:
        """Switch on the fault of this row and no other. Before a token is revoked, there is another one."""
        if row.order is not None and row.order["kind"] == REVOKED:
            self.token.write_text(f"{self.token.read_text()}-next")
        await set_faults(row, self.running)


@pytest.fixture
async def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    """All weight is on the faulty pool; what is lost there goes to the other."""
    settings = msgspec.structs.replace(
        SETTINGS, first_token_timeout_ms=SILENCE_MAX_MS, idle_timeout_ms=SILENCE_MAX_MS
    )
    offer = ModelOffer(MODEL, "big", 128_000, ("tools",), whole_answer_timeout_ms=SILENCE_MAX_MS)
    tables, token = tmp_path / "routes.bin", tmp_path / "token"
    token.write_text("a-token-of-the-pools")
    async with standins(tmp_path, *(pool.rsplit("/", 1)[0] for pool in (FAULTY, OTHER))) as running:
        pools = tuple(
            msgspec.structs.replace(pool, models=(offer,), credential="key") for pool in infos(running)
        )
        lost = {"azure": Split((1,), (1_000_000,))}
        wanted = table(pools, (1_000_000, 0), settings=settings, on_loss=lost)
        write_last_good(tables, wanted.generation, {ORIGIN: slices(wanted)[f"{WORKLOAD}/{ORIGIN}"]})
        monkeypatch.setenv("TIELINE_CREDENTIAL_KEY_FILE", str(token))
        text = json.dumps(settings_of(str(tables), access_log=""))
        yield Lab(running, parse_gateway(text), token)


class Trial:
    """Tries cases, some at a time, each in a folder of its own. ``outcomes``: of each case, the last."""

    def __init__(self, lab: Lab, asks: Mapping[str, Ask], folder: Path) -> None:
        self.outcomes: dict[GatewayCase, str] = {}
        self._lab = lab
        self._asks = asks
        self._folder = folder
        self._numbers = itertools.count()
        self._slots = asyncio.Semaphore(AT_A_TIME)

    async def of_row(self, of_row: list[GatewayCase]) -> None:
        """Cases whose fault remembers earlier requests run one by one.

        On a machine that stands still for two seconds each pool seems silent, and a pool that is out for a
        second is back before it is looked at: cases with an unexpected outcome are tried once more, alone."""
        for together in [[case] for case in of_row] if of_row[0].calls > 1 else [of_row]:
            if of_row[0].calls == 1:
                await self._lab.set_faults(of_row[0].row)
            await asyncio.gather(*map(self._tried, together))
            for case in [case for case in together if self.outcomes[case] not in case.expected]:
                await self._tried(case)

    @property
    def wrong(self) -> list[tuple[object, ...]]:
        """The cases whose outcome is not the one expected."""
        return [
            (case.row.order, case.row.everywhere, case.call.path, case.driver, outcome)
            for case, outcome in self.outcomes.items()
            if outcome not in case.expected
        ]

    async def _tried(self, case: GatewayCase) -> None:
        async with self._slots:
            folder = self._folder / f"case-{next(self._numbers)}"
            try:
                self.outcomes[case] = await outcome_of(case, self._asks[case.driver], self._lab, folder)
            except TimeoutError:
                self.outcomes[case] = "nothing in time"


@pytest.mark.timeout(7_200 if IS_WHOLE else 600)
async def test_every_fault_has_its_outcome(tmp_path: Path, lab: Lab) -> None:
    """For each driver and each API, after as many attempts, and no SDK asks a second time."""
    async with all_drivers() as asks:
        trial = Trial(lab, asks, tmp_path)
        for _, group in itertools.groupby(cases(), lambda case: id(case.row)):
            await trial.of_row(list(group))
    assert not trial.wrong, "\n".join(map(repr, trial.wrong))
    if IS_WHOLE:
        PAGE.write_text(page(rows(FILE.read_text()), cells_of(trial.outcomes)))


def cells_of(outcomes: dict[GatewayCase, str]) -> dict[Cell, dict[str, set[str]]]:
    """What each driver got in each cell: (order as JSON, everywhere, column)."""
    cells: dict[Cell, dict[str, set[str]]] = {}
    for case, outcome in outcomes.items():
        place = Cell.of(case.row, case.call.column)
        cells.setdefault(place, {}).setdefault(case.driver, set()).add(outcome)
    return cells
