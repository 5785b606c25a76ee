"""One record as read from Kafka -> its event, or why there is none: the contract, then the policy. Pure."""

from typing import NamedTuple

from msgspec.structs import replace

from streams.every_record import UNREADABLE
from streams.fold import gap_ms
from streams.rows import IngestEvent, Position
from tieline.cloudevents import Poison, Rejection, decode, type_of
from tieline.events import Capacity, Demand, Report, Statement, stale_after_ms
from tieline.registration import Registry, unregistered, unsigned
from tieline.topics import Topics

FUTURE_MAX_MS = 60_000


class Record(NamedTuple):
    """A record as read from Kafka. ``append_ms`` is the broker's time."""

    topic: str
    topic_id: str
    partition: int
    offset: int
    append_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]

    @property
    def position(self) -> Position:
        """Its place in Kafka."""
        return Position(self.topic_id, self.partition, self.offset)

    @property
    def size_bytes(self) -> int:
        """Size of key, value and headers, as far as they are bytes."""
        headers = sum(len(name) + len(text or b"") for name, text in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers


class Judge:
    """Judges the records of one installation's topics by the contract and by ``registry``."""

    def __init__(self, topics: Topics, registry: Registry) -> None:
        self.registry = registry
        self._type_by_topic: dict[str, type[IngestEvent]] = {
            topics.reports.name: Report,
            topics.statements.name: Statement,
            topics.capacity.name: Capacity,
            topics.demand.name: Demand,
        }

    def event(self, record: Record) -> IngestEvent:
        """The event of a record. Raises ``Poison``, and nothing else, for whatever is wrong with it."""
        try:
            refuse_unreadable(record)
            event = decode(record.headers, record.value, record.key or b"")
            expected = self._type_by_topic[record.topic]
            if not isinstance(event, expected):
                place = f"{type_of(type(event))} does not belong on {record.topic}"
                raise Poison(Rejection.UNKNOWN_TYPE, place)
            if poison := unregistered(event, self.registry):
                raise poison
            if poison := unsigned(event, self.registry, record.topic, record):
                raise poison
            refuse_future(event, record.append_ms)
            event = self._bounded(event)
        except Poison:
            raise
        except Exception as error:  # no input, however odd, may stop an agent
            raise Poison(Rejection.INVALID, f"unexpected {type(error).__name__}: {error}"[:500]) from error
        return event

    def _bounded(self, event: IngestEvent) -> IngestEvent:
        """The event with no longer an interval than the policy allows its source."""
        if not isinstance(event, Report):
            return event
        most_ms = self.registry.sources[event.source].interval_max_ms
        if most_ms is None or event.interval_ms <= most_ms:
            return event
        return replace(event, interval_ms=most_ms)


def refuse_unreadable(record: Record) -> None:
    """Raises ``Poison`` for a record that stands for a batch which could not be read (``every_record``)."""
    for name, text in record.headers:
        if name == UNREADABLE:
            reason, _, why = (text or b"").decode("utf-8", "replace").partition(" ")
            too_large = reason == Rejection.TOO_LARGE
            raise Poison(Rejection.TOO_LARGE if too_large else Rejection.UNREADABLE, why)


def refuse_future(event: IngestEvent, append_ms: int) -> None:
    """Raises ``Poison`` when the event speaks of an instant more than 60 s after its append.

    Expiries, starts of maintenance and planned changes lie in the future by their nature and are not checked.
    """
    ahead_ms = -gap_ms(event, append_ms)
    if ahead_ms > FUTURE_MAX_MS:
        name = "window_end_ms" if isinstance(event, Report | Demand) else "issued_ms"
        ahead_s = ahead_ms // 1000
        raise Poison(Rejection.FUTURE, f"{name} lies {ahead_s} s after the record's append time")


def is_stale(event: IngestEvent, append_ms: int, now_ms: int) -> bool:
    """Whether a perishable report has lain in Kafka for longer than it counts: a backlog, not news.

    A report that was old already at its append is not stale by this rule: its evidence ages by itself, and
    its gap is worth an alarm.
    """
    if not isinstance(event, Report | Demand):
        return False
    return now_ms - append_ms > stale_after_ms(event.interval_ms)
