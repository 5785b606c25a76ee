"""The openai SDKs of Python and npm, curl and a plain client, through the real Envoy, against the faults of
outcomes.md: what they get is what the table in docs/envoy.md says.

A sample by default; ``MATRIX=whole`` tries every driver in every cell. One Envoy has a lane for each case,
see ``envoy_matrix``.
"""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest

from lab.standins.process import StandinProcess
from tests.integration.envoy_matrix import EnvoyCase, MatrixEnvoy, matrix_envoy
from tests.integration.matrix_drivers import FAULTY, OTHER, Ask, all_drivers, askings, set_faults
from tests.integration.matrix_table import FILE, Row, rows
from tests.integration.routed import standins
from tests.places import ROOT

PAGE = ROOT / "docs" / "envoy.md"
IS_WHOLE = os.environ.get("MATRIX") == "whole"
ROWS_APART = 9  # of the sample
AT_A_TIME = 4
CASES_OF_AN_ENVOY = 300
REASON = "why"  # the column of the page that says why Envoy differs
DIFFERENT = "**"  # around an outcome that is not the client library's


def cases(table: list[Row], *, whole: bool) -> Iterator[EnvoyCase]:
    """The cases, fault by fault; of the sample each by one API and one driver in turn."""
    turn, numbers = itertools.count(), itertools.count()
    for row in table if whole else table[::ROWS_APART]:
        for column, outcome in row.outcomes.items():
            if outcome == "-" or column == REASON:
                continue
            for call, driver in askings(column, turn, whole=whole):
                yield EnvoyCase(row, call, driver, origin=f"case-{next(numbers)}")


def expected(case: EnvoyCase) -> frozenset[str]:
    """What the page says; where the drivers see one end differently, it names both."""
    text = case.row.outcomes[case.call.column].replace(DIFFERENT, "")
    return frozenset(text.split(" / "))


def batches(every: list[EnvoyCase]) -> Iterator[list[EnvoyCase]]:
    """The cases of one Envoy each; those of a fault are together."""
    batch: list[EnvoyCase] = []
    for _, of_row in itertools.groupby(every, lambda case: id(case.row)):
        group = list(of_row)
        if batch and len(batch) + len(group) > CASES_OF_AN_ENVOY:
            yield batch
            batch = []
        batch += group
    yield batch


async def failures(
    envoy: MatrixEnvoy, group: list[EnvoyCase], asks: Mapping[str, Ask], running: dict[str, StandinProcess]
) -> list[str]:
    """The cases of one fault that do not end as the page says: some at a time, or one by one where the fault
    remembers earlier requests. On a machine that stands still for two seconds each pool seems silent: cases
    in doubt are tried once more, one by one."""
    slots = asyncio.Semaphore(AT_A_TIME)

    async def outcome(case: EnvoyCase) -> str:
        async with slots:
            try:
                return await envoy.outcome_of(case, asks)
            except TimeoutError:
                return "nothing in time"

    async def doubtful(cases_now: list[EnvoyCase]) -> list[tuple[EnvoyCase, str]]:
        await set_faults(cases_now[0].row, running)
        results = zip(cases_now, await asyncio.gather(*map(outcome, cases_now)), strict=True)
        return [(case, result) for case, result in results if result not in expected(case)]

    rounds = [[case] for case in group] if group[0].calls > 1 else [group]
    doubts = [case for each in rounds for case, _ in await doubtful(each)]
    return [
        f"{case.row.order} {case.row.everywhere} {case.call.path} {case.driver}: {result}"
        for again in doubts
        for case, result in await doubtful([again._replace(origin=again.spare_origin)])
    ]


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[dict[str, StandinProcess]]:
    """The two pools."""
    async with standins(tmp_path, *(pool.rsplit("/", 1)[0] for pool in (FAULTY, OTHER))) as processes:
        yield processes


@pytest.mark.timeout(7_200 if IS_WHOLE else 600)
async def test_every_fault_has_its_outcome(tmp_path: Path, running: dict[str, StandinProcess]) -> None:
    """For each driver and each API, after as many attempts, and no SDK asks a second time."""
    wrong: list[str] = []
    every = list(cases(rows(PAGE.read_text("utf-8")), whole=IS_WHOLE))
    async with all_drivers() as asks:
        for number, batch in enumerate(batches(every)):
            origins = [origin for case in batch for origin in (case.origin, case.spare_origin)]
            async with matrix_envoy(running, origins, tmp_path / f"envoy-{number}") as envoy:
                for _, of_row in itertools.groupby(batch, lambda case: id(case.row)):
                    wrong += await failures(envoy, list(of_row), asks, running)
    assert not wrong, "\n".join(wrong)


def test_the_page_has_every_fault_and_marks_what_differs() -> None:
    """Each row of outcomes.md; an outcome is marked exactly where it is another one than the client
    library's, and a row with such an outcome says why."""
    own, wanted = rows(PAGE.read_text("utf-8")), rows(FILE.read_text("utf-8"))
    assert [(row.order, row.everywhere) for row in own] == [(row.order, row.everywhere) for row in wanted]
    for row, original in zip(own, wanted, strict=True):
        differs = False
        for column, outcome in original.outcomes.items():
            cell = row.outcomes[column]
            is_marked = cell.startswith(DIFFERENT)
            assert is_marked is (cell.replace(DIFFERENT, "") != outcome), (row.order, column)
            differs |= is_marked
        assert differs is (row.outcomes[REASON] != ""), row.order
