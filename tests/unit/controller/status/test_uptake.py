"""How far clients have taken a table over, by the rows of the demand table."""

import pytest

from controller.core.evidence.reported import ReportingClients
from controller.status.uptake import in_flight, uptake
from streams.rows import DemandRow, DemandSecond, PoolSum, Position
from tests.unit.controller.core.made import NOW_MS
from tieline.events import Outcomes
from tieline.table import Generation

GENERATION = Generation("multi:cloud", 3, 7)
POOL = "oci/r/d"


def seen(**generations: int) -> ReportingClients:
    """Clients by ``epoch_seq`` of the lineage."""
    names = {f"multi:cloud:{name[1:].replace('_', ':')}": count for name, count in generations.items()}
    return ReportingClients(sum(generations.values()), 2, NOW_MS, generations=names)


def row(*flights: int, pool: str = POOL) -> DemandRow:
    """A second each, the newest of them now."""
    seconds = [
        DemandSecond(
            NOW_MS - 1_000 * age,
            1,
            (),
            (PoolSum(pool, Outcomes(), 0.0, 1, Outcomes(), in_flight=count),),
        )
        for age, count in reversed(list(enumerate(reversed(flights))))
    ]
    return DemandRow(Position("demand", 0, 1), tuple(seconds))


def test_later_generations_count() -> None:
    """Of the same epoch or a higher one; not older ones, those of another lineage, or none."""
    progress = uptake(seen(g3_7=1, g3_8=2, g4_1=3, g3_6=4, g2_9=5), GENERATION)
    assert (progress.reporting, progress.reached, progress.silent) == (15, 6, 2)
    others = ReportingClients(2, 0, NOW_MS, generations={"": 1, "other:3:7": 1})
    assert uptake(others, GENERATION).reached == 0


@pytest.mark.parametrize(("old", "complete"), [(0, True), (1, True), (2, False)])
def test_complete_at_ninety_nine_percent(old: int, complete: bool) -> None:
    """Of the clients that report. None to report is none to wait for."""
    assert uptake(seen(g3_7=100 - old, g3_6=old), GENERATION).is_complete is complete
    assert uptake(seen(), GENERATION).is_complete


def test_in_flight_is_not_known_before_every_client_could_report() -> None:
    """A whole interval after the table was taken over; the newest second may still grow."""
    rows = (row(4, 3, 9),)
    times = {"since_ms": NOW_MS - 1_000, "at_ms": NOW_MS}
    assert in_flight(rows, {POOL}, interval_ms=1_000, **times) == 3
    assert in_flight(rows, {POOL}, interval_ms=2_000, **times) is None
    assert in_flight(rows, {POOL}, interval_ms=2_000, since_ms=NOW_MS - 2_000, at_ms=NOW_MS) == 7


def test_in_flight_counts_all_partitions_and_only_the_emptied_pools() -> None:
    """A partition of which nobody is heard any more is not waited for."""
    silent = row(5, 5, 5)
    late_ms = NOW_MS + 60_000
    assert in_flight((row(1, 1, 1), row(2, 2, 2)), {POOL}, since_ms=0, interval_ms=1_000, at_ms=NOW_MS) == 3
    other = row(8, 8, 8, pool="gcp/r/d")
    assert in_flight((row(0, 0, 0), other), {POOL}, since_ms=0, interval_ms=1_000, at_ms=NOW_MS) == 0
    assert in_flight((silent,), {POOL}, since_ms=0, interval_ms=1_000, at_ms=late_ms) == 0
