"""Events and records for the tests of ``streams``, with everything that does not matter filled in."""

from __future__ import annotations

from streams.contract_check import Record
from streams.rows import Position
from tieline.cloudevents import JSON, MSGPACK, encode
from tieline.events import (
    Capacity,
    Claim,
    Demand,
    Event,
    Flow,
    Outcomes,
    PoolCapacity,
    PoolObservation,
    Report,
    ResultClass,
    Statement,
)

T0_MS = 1_790_000_000_000
TOPIC_ID = "6f1d0c0e-0000-4000-8000-000000000001"


def at(offset: int, partition: int = 0, topic_id: str = TOPIC_ID) -> Position:
    """A position in the log of the tests."""
    return Position(topic_id, partition, offset)


def observation(
    pool: str = "azure/eu/a", *, ejected: ResultClass | None = None, **counts: int
) -> PoolObservation:
    """What a source saw of one pool: ``counts`` by result class."""
    return PoolObservation(pool, Outcomes(**counts), ejected=ejected)


def report(
    sequence: int = 1,
    *pools: PoolObservation,
    incarnation: str = "one",
    end_ms: int = T0_MS,
    source: str = "probe-1",
    provider: str = "azure",
    region: str = "eu",
    interval_ms: int = 1_000,
) -> Report:
    """A prober's report of one second."""
    return Report(
        source=source,
        provider=provider,
        region=region,
        incarnation=incarnation,
        sequence=sequence,
        window_start_ms=end_ms - 1_000,
        window_end_ms=end_ms,
        interval_ms=interval_ms,
        pools=pools,
    )


def statement(
    sequence: int = 1, *claims: Claim, issued_ms: int = T0_MS, incarnation: str = "one"
) -> Statement:
    """A status page's view of one region."""
    return Statement(
        source="status-1",
        provider="azure",
        region="eu",
        kind="status",
        incarnation=incarnation,
        sequence=sequence,
        issued_ms=issued_ms,
        claims=claims,
    )


def capacity(sequence: int = 1, limit: float = 100.0, *, in_use: float | None = None) -> Capacity:
    """Limits of one pool for a minute."""
    row = PoolCapacity("azure/eu/a", limit, in_use_units_per_s=in_use)
    return Capacity(
        source="fleet-1",
        provider="azure",
        region="eu",
        incarnation="one",
        sequence=sequence,
        issued_ms=T0_MS,
        expires_ms=T0_MS + 60_000,
        pools=(row,),
    )


def demand(
    client: str = "client-1",
    sequence: int = 1,
    *pools: PoolObservation,
    end_ms: int = T0_MS,
    units: float = 10.0,
    urgent: bool = False,
    incarnation: str = "one",
    generation: str = "lab:1:1",
) -> Demand:
    """A client's report of one second of chat from the EU."""
    flow = Flow("chat", "eu", requests=1, offered_units=units)
    return Demand(
        client=client,
        incarnation=incarnation,
        sequence=sequence,
        window_start_ms=end_ms - 1_000,
        window_end_ms=end_ms,
        interval_ms=1_000,
        generation=generation,
        urgent=urgent,
        flows=(flow,),
        pools=pools,
    )


def record(
    event: Event,
    topic: str,
    offset: int = 0,
    *,
    append_ms: int = T0_MS,
    json: bool = False,
    partition: int = 0,
) -> Record:
    """The event as the broker would hand it over."""
    encoded = encode(event, time_ms=append_ms, content_type=JSON if json else MSGPACK)
    return Record(
        topic=topic,
        topic_id=TOPIC_ID,
        partition=partition,
        offset=offset,
        append_ms=append_ms,
        key=encoded.key,
        value=encoded.value,
        headers=tuple(encoded.headers),
    )
