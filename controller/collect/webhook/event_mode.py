"""From a request to Tieline's events, by CloudEvents over HTTP in its three modes. Pure.

Binary: the attributes are headers ``ce-*`` and the body is the event. Structured: ``content-type`` is
``application/cloudevents+json``. Batch: ``application/cloudevents-batch+json``, a list of structured events.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from controller.collect.collector import Collected, UnreadableError
from tieline.cloudevents import STRUCTURED, Poison, Rejection, decode
from tieline.errors import UNDECODABLE
from tieline.events import Capacity, Report, Statement

BATCH = "application/cloudevents-batch+json"
EVENTS_PER_BATCH_MAX = 1_000
_batch = msgspec.json.Decoder(list[msgspec.Raw])


class RefusedEvent(NamedTuple):
    """An event of a request that is not taken. ``number``: its place in the request, from 0."""

    number: int
    reason: str
    place: str


class TakenEvents(NamedTuple):
    """What a request holds: events with their places in it, and what is wrong with the others."""

    events: tuple[tuple[int, Collected], ...]
    refused: tuple[RefusedEvent, ...]


def events_in(headers: Mapping[str, str], body: bytes, sources: Sequence[str]) -> TakenEvents:
    """The events of a request whose sender may speak for ``sources``. ``headers``: with names in small
    letters. Raises ``UnreadableError`` for a batch that is none."""
    media_type = headers.get("content-type", "").split(";")[0].strip().lower()
    records = _records(body) if media_type == BATCH else [body]
    kafka_headers = [
        (f"ce_{name.removeprefix('ce-')}", value.encode())
        for name, value in headers.items()
        if name.startswith("ce-")
    ]
    content_type = STRUCTURED if media_type == BATCH else headers.get("content-type", "")
    kafka_headers.append(("content-type", content_type.encode()))
    events: list[tuple[int, Collected]] = []
    refused: list[RefusedEvent] = []
    for number, record in enumerate(records):
        try:
            events.append((number, _event(kafka_headers, record, sources)))
        except Poison as poison:
            refused.append(
                RefusedEvent(number, poison.reason, poison.place.replace("header ce_", "header ce-"))
            )
    return TakenEvents(tuple(events), tuple(refused))


def _records(body: bytes) -> list[bytes]:
    try:
        records = _batch.decode(body)
    except UNDECODABLE as error:
        raise UnreadableError(f"the body is no JSON list of events: {error}") from None
    if len(records) > EVENTS_PER_BATCH_MAX:
        raise UnreadableError(f"the batch has more than {EVENTS_PER_BATCH_MAX:,} events")
    return [bytes(record) for record in records]


def _event(headers: list[tuple[str, bytes]], body: bytes, sources: Sequence[str]) -> Collected:
    event = decode(headers, body)
    if not isinstance(event, Report | Statement | Capacity):
        raise Poison(
            Rejection.UNKNOWN_TYPE,
            "only tieline.report.v1, tieline.statement.v1 and tieline.capacity.v1 are taken here",
        )
    if event.source not in sources:
        raise Poison(
            Rejection.UNKNOWN_SOURCE,
            f"source {event.source}: this hook speaks only for {', '.join(sources[:10])}; "
            "correct the source, or add it to the hook's sources",
        )
    return event
