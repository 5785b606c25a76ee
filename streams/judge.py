"""One record -> its event, or why not: the contract, then what the policy knows. Pure."""

from typing import TypeAlias

from streams.fold import gap_ms
from streams.record import Record
from streams.settings import Registered
from tieline.cloudevents import Poison, Rejection, decode, type_of
from tieline.events import Capacity, Demand, Report, Statement, stale_after_ms
from tieline.topics import Topics

FUTURE_MAX_MS = 60_000

Taken: TypeAlias = Report | Statement | Capacity | Demand


class Judge:
    """Decides over records of one installation's topics."""

    def __init__(self, topics: Topics, registered: Registered) -> None:
        self.registered = registered
        self._type_by_topic: dict[str, type[Taken]] = {
            topics.reports.name: Report,
            topics.statements.name: Statement,
            topics.capacity.name: Capacity,
            topics.demand.name: Demand,
        }

    def event(self, record: Record) -> Taken:
        """The event of a record, or ``Poison``. Whatever goes wrong in here is the record's fault."""
        try:
            event = decode(record.headers, record.value, record.key or b"")
            expected = self._type_by_topic[record.topic]
            if not isinstance(event, expected):
                place = f"{type_of(type(event))} does not belong on {record.topic}"
                raise Poison(Rejection.UNKNOWN_TYPE, place)
            self._check_known(event)
            refuse_future(event, record.append_ms)
        except Poison:
            raise
        except Exception as error:  # no input, however odd, may stop an agent
            raise Poison(Rejection.INVALID, f"unexpected {type(error).__name__}: {error}"[:500]) from error
        return event

    def _check_known(self, event: Taken) -> None:
        """Providers, sources and pools must be in the policy. Clients need no entry, and what they say of
        pools that the policy no longer knows is left out later: they may hold an older table."""
        if isinstance(event, Demand):
            return
        if event.provider not in self.registered.providers:
            raise Poison(Rejection.UNKNOWN_PROVIDER, f"provider {event.provider} is not in the policy")
        if event.source not in self.registered.sources:
            raise Poison(Rejection.UNKNOWN_SOURCE, f"source {event.source} is not in the policy")
        named = _pools_of(event)
        if not self.registered.pools.issuperset(named):
            unknown = next(pool for pool in named if pool not in self.registered.pools)
            raise Poison(Rejection.UNKNOWN_POOL, f"pool {unknown} is not in the policy")


def refuse_future(event: Taken, append_ms: int) -> None:
    """Raises ``Poison`` when the event speaks of an instant more than 60 s after the broker took it.

    Expiries, starts of maintenance and planned changes lie in the future by their nature and are not asked.
    """
    ahead_ms = -gap_ms(event, append_ms)
    if ahead_ms > FUTURE_MAX_MS:
        name = "window_end_ms" if isinstance(event, Report | Demand) else "issued_ms"
        ahead_s = ahead_ms // 1000
        raise Poison(Rejection.FUTURE, f"{name} lies {ahead_s} s after the record's append time")


def is_stale(event: Taken, append_ms: int, now_ms: int) -> bool:
    """Whether a perishable report has lain in Kafka for longer than its staleness: a backlog, not news.

    One that was old when the broker took it is kept: it ages by itself, and its gap is worth an alarm.
    """
    if not isinstance(event, Report | Demand):
        return False
    return now_ms - append_ms > stale_after_ms(event.interval_ms)


def _pools_of(event: Report | Statement | Capacity) -> list[str]:
    match event:
        case Report():
            return [seen.pool for seen in event.pools]
        case Statement():
            return [pool for claim in event.claims for pool in claim.pools]
        case _:
            return [row.pool for row in event.pools] + [row.pool for row in event.planned]
