"""Events and records for the tests of ``streams``, with everything that does not matter filled in."""

from __future__ import annotations

from streams.record import Record
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
    """A place in Kafka."""
    return Position(topic_id, partition, offset)


def seen(pool: str = "azure/eu/a", *, ejected: ResultClass | None = None, **counts: int) -> PoolObservation:
    """One pool, by result class."""
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
    """A probe's report of one second."""
    return Report(source, provider, region, incarnation, sequence, end_ms - 1_000, end_ms, interval_ms, pools)


def statement(
    sequence: int = 1, *claims: Claim, issued_ms: int = T0_MS, incarnation: str = "one"
) -> Statement:
    """A status page's view of one region."""
    return Statement("status-1", "azure", "eu", "status", incarnation, sequence, issued_ms, claims)


def capacity(sequence: int = 1, limit: float = 100.0, *, in_use: float | None = None) -> Capacity:
    """Limits of one pool for a minute."""
    row = PoolCapacity("azure/eu/a", limit, in_use_units_per_s=in_use)
    return Capacity("fleet-1", "azure", "eu", "one", sequence, T0_MS, T0_MS + 60_000, (row,))


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
        client,
        incarnation,
        sequence,
        end_ms - 1_000,
        end_ms,
        1_000,
        generation,
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
        topic,
        TOPIC_ID,
        partition,
        offset,
        append_ms,
        encoded.key,
        encoded.value,
        tuple(encoded.headers),
    )
