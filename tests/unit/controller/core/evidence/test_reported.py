"""What clients report now: load, offers and the tables that they use."""

from controller.core.evidence.reported import (
    LOAD_AGE_MAX_MS,
    pool_loads,
    publications_behind,
    reporting_clients,
    route_offers,
)
from streams.rows import DemandRow, DemandSecond, FlowSum, PoolSum, Position
from tieline.events import Outcomes
from tieline.table import Generation

NOW_MS = 1_800_000_000_000
NEWEST = Generation("multicloud-1", 4, 20)


def row(*ages_s: int, partition: int = 0, units: float = 100.0) -> DemandRow:
    """Seconds of these ages, in each of which two clients send that load to one pool."""
    seconds = tuple(
        DemandSecond(
            NOW_MS - age_s * 1_000,
            2,
            (FlowSum("chat", "eu", 9, units, 0, 0.0),),
            pools=(PoolSum("gcp/eu/d", Outcomes(ok=9), units, 2, Outcomes()),),
        )
        for age_s in ages_s
    )
    return DemandRow(Position("t", partition, 1), seconds, generations={"multicloud-1:4:20": 2})


def test_load_is_a_mean_of_complete_seconds() -> None:
    """The newest second may lack reports, so it is left out; partitions add up."""
    rows = (row(6, 5, 4, 3, 2, 1), row(5, 4, 3, 2, 1, partition=1, units=50.0))
    assert pool_loads(rows, NOW_MS) == {"gcp/eu/d": 140.0}
    assert route_offers(rows, NOW_MS) == {"chat/eu": 140.0}


def test_old_load_is_no_load_of_now() -> None:
    """After fifteen silent seconds nothing is said of load, and the clients count as silent."""
    rows = (row(5, 4, 3, 2, 1),)
    later_ms = NOW_MS + LOAD_AGE_MAX_MS
    assert pool_loads(rows, later_ms) == {}
    clients = reporting_clients(rows, later_ms)
    assert (clients.heard, clients.silent, clients.generations) == (0, 2, {})


def test_generations_are_compared_within_one_leadership() -> None:
    """Numbers of another lineage or epoch, and texts that are none, say nothing; newer ones are not
    behind."""
    texts = ("multicloud-1:4:20", "multicloud-1:4:17", "multicloud-1:4:25")
    assert [publications_behind(text, NEWEST) for text in texts] == [0, 3, 0]
    for odd in ("multicloud-1:3:20", "other:4:20", "", "nonsense", "a:b:c:d", "multicloud-1:4:x"):
        assert publications_behind(odd, NEWEST) is None
