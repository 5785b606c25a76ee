"""What clients report now: the load of pools, and which table they use. From the demand rows alone."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from msgspec import Struct

from streams.rows import DemandRow, DemandSecond
from tieline.table import Generation

LOAD_WINDOW_MS = 5_000
LOAD_AGE_MAX_MS = 15_000  # older figures are no load of now
HEARD_WITHIN_MS = 15_000  # clients report once a second, or as the policy says, and at most so much later


class ReportingClients(Struct, frozen=True):
    """Clients that report. ``heard``: in the last seconds; ``silent``: they reported lately and no longer do.

    ``heard_ms`` is the newest second that any of them reported, None if there is none. ``generations``: how
    many use the table of each.
    """

    heard: int
    silent: int
    heard_ms: int | None
    generations: dict[str, int]


def pool_loads(demand: Sequence[DemandRow], now_ms: int) -> dict[str, float]:
    """Pool -> load in units/s over the last complete seconds; empty when no client reports now."""
    loads: dict[str, float] = defaultdict(float)
    for second in last_seconds(demand, now_ms):
        for pool in second.pools:
            loads[pool.pool] += pool.units * 1_000 / LOAD_WINDOW_MS
    return dict(loads)


def route_offers(demand: Sequence[DemandRow], now_ms: int) -> dict[str, float]:
    """Route -> offered load in units/s over the same seconds, what is shed included."""
    offered: dict[str, float] = defaultdict(float)
    for second in last_seconds(demand, now_ms):
        for flow in second.flows:
            offered[f"{flow.workload}/{flow.origin}"] += flow.offered_units * 1_000 / LOAD_WINDOW_MS
    return dict(offered)


def last_seconds(demand: Sequence[DemandRow], now_ms: int) -> Iterator[DemandSecond]:
    """The last complete seconds of all partitions; nothing when the newest is too old."""
    newest_ms = max((row.seconds[-1].second_ms for row in demand if row.seconds), default=0)
    if now_ms - newest_ms > LOAD_AGE_MAX_MS:
        return
    for row in demand:
        for second in row.seconds:
            if newest_ms - LOAD_WINDOW_MS <= second.second_ms < newest_ms:
                yield second


def reporting_clients(demand: Sequence[DemandRow], now_ms: int) -> ReportingClients:
    """What the rows say of the clients themselves."""
    heard_ms: int | None = None
    heard = recent = 0
    generations: Counter[str] = Counter()
    for row in demand:
        if not row.seconds:
            continue
        newest_ms = row.seconds[-1].second_ms
        heard_ms = max(heard_ms or 0, newest_ms)
        fresh = [second.clients for second in row.seconds if now_ms - second.second_ms <= HEARD_WITHIN_MS]
        heard += max(fresh, default=0)
        recent += max(second.clients for second in row.seconds)
        if fresh:
            generations.update(row.generations)
    return ReportingClients(heard, max(recent - heard, 0), heard_ms, generations=dict(generations))


def publications_behind(text: str, newest: Generation) -> int | None:
    """How many publications the generation that a client reports lies behind ``newest``; None if it is of
    another lineage or leadership, or can't be read."""
    lineage, _, place = text.partition(":") if text.count(":") == 2 else ("", "", "")
    epoch, _, seq = place.partition(":")
    if lineage != newest.lineage or epoch != str(newest.epoch) or not seq.isdigit():
        return None
    return max(newest.seq - int(seq), 0)


def uses_generation(name: str, generation: Generation) -> bool:
    """Whether a client that reports ``name`` uses this generation or a later one of its lineage.

    ``name``: ``lineage:epoch:seq``; empty for a client without a table.
    """
    if not name.startswith(f"{generation.lineage}:"):
        return False
    epoch, _, seq = name.removeprefix(f"{generation.lineage}:").partition(":")
    if not (epoch.isdecimal() and seq.isdecimal()):
        return False
    return (int(epoch), int(seq)) >= (generation.epoch, generation.seq)
