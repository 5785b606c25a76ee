"""How far clients have taken a table over, and what is still in flight at pools that were emptied. Pure.

Clients say in each report which generation they use, an urgent one at once; reports are summed by second into
rows of the demand table (``streams/demand.py``). A client that falls silent leaves the sum after 15 s, and is
counted as silent.
"""

from collections.abc import Collection, Iterator

from msgspec import Struct

from controller.core.evidence.reported import HEARD_WITHIN_MS, ReportingClients, uses_generation
from streams.rows import DemandRow, DemandSecond
from tieline.table import Generation

SHARE_MIN = 0.99  # of the reporting clients: the rest may be starting, ending, or cut off
SECOND_MS = 1_000


class Uptake(Struct, frozen=True):
    """``reached`` of ``reporting`` clients use the table or a later one; ``silent`` ones reported lately and
    no longer do. ``in_flight``: requests at the emptied pools by the newest whole reports; None if that is
    not asked or not reported yet."""

    reporting: int
    reached: int
    silent: int
    in_flight: int | None = None

    @property
    def share(self) -> float:
        """The share of the reporting clients that use the table; 1 without any."""
        return self.reached / self.reporting if self.reporting else 1.0

    @property
    def is_complete(self) -> bool:
        """Whether so many clients use the table that the rest is not waited for."""
        return self.share >= SHARE_MIN


def uptake(clients: ReportingClients, generation: Generation) -> Uptake:
    """How many of the clients use this generation or a later one of its lineage."""
    counts = clients.generations.items()
    reached = sum(count for name, count in counts if uses_generation(name, generation))
    return Uptake(sum(clients.generations.values()), reached, clients.silent)


def in_flight(
    rows: Collection[DemandRow], pools: Collection[str], *, since_ms: int, interval_ms: int, at_ms: int
) -> int | None:
    """Requests in flight at these pools, by what clients reported in one whole interval after ``since_ms``.

    None until all partitions whose clients are heard have reported so long. A client reports once in
    ``interval_ms``, so a shorter time would leave some out.
    """
    total = 0
    for row in rows:
        if not row.seconds or at_ms - row.seconds[-1].second_ms > HEARD_WITHIN_MS:
            continue
        newest_ms = row.seconds[-1].second_ms  # more may be added to it
        span_ms = max(interval_ms, SECOND_MS)
        if newest_ms - span_ms < since_ms:
            return None
        total += sum(_in_flight(second, pools) for second in _between(row, newest_ms - span_ms, newest_ms))
    return total


def _between(row: DemandRow, from_ms: int, to_ms: int) -> Iterator[DemandSecond]:
    return (second for second in row.seconds if from_ms <= second.second_ms < to_ms)


def _in_flight(second: DemandSecond, pools: Collection[str]) -> int:
    sums = (*second.pools, *second.newcomers)
    return sum(pool.in_flight for pool in sums if pool.pool in pools)
