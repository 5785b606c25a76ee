"""How long a change takes from the event in Kafka to the table in Redis, and from there to the clients. Pure.

Only a table that an event caused counts, and only if it is urgent: what moves by choice waits on purpose.
That clients have applied a table is known from their reports, which come about once a second.
"""

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from controller.core.evidence.reported import publications_behind
from tieline.table import Generation

PENDING_MAX = 32
FORGET_AFTER_MS = 60_000
APPLIED_SHARE = 0.9  # of the clients that report; a client that has just died never applies a table


class _Pending(NamedTuple):
    """A table on its way: when the event that caused it was appended, by the brokers' clock."""

    generation: Generation
    event_ms: int


class EventDelays:
    """The tables on their way. Each method returns delays in seconds that have just become known."""

    def __init__(self) -> None:
        self._to_redis: deque[_Pending] = deque(maxlen=PENDING_MAX)
        self._to_clients: deque[_Pending] = deque(maxlen=PENDING_MAX)

    @property
    def awaits_clients(self) -> bool:
        """Whether a table is not known to be with the clients yet."""
        return bool(self._to_clients)

    def published(self, generation: Generation, event_ms: int) -> None:
        """An urgent table was published because of an event of that instant."""
        self._to_redis.append(_Pending(generation, event_ms))
        self._to_clients.append(_Pending(generation, event_ms))

    def projected(self, generation: Generation, now_ms: int) -> list[float]:
        """Redis has this table: so it has every one before it of the same leadership."""
        arrived = [pending for pending in self._to_redis if not pending.generation.newer_than(generation)]
        return _ended(self._to_redis, arrived, now_ms)

    def applied(self, clients: Mapping[str, int], now_ms: int) -> list[float]:
        """Clients report these generations; the values say how many clients use each."""
        arrived = [pending for pending in self._to_clients if _have(clients, pending.generation)]
        return _ended(self._to_clients, arrived, now_ms)

    def clear(self) -> None:
        """This controller leads no more."""
        self._to_redis.clear()
        self._to_clients.clear()


def _have(clients: Mapping[str, int], generation: Generation) -> bool:
    """Whether nearly all clients use this table or a newer one."""
    behind = {text: publications_behind(text, generation) for text in clients}
    use = sum(count for text, count in clients.items() if behind[text] == 0)
    return use > 0 and use >= APPLIED_SHARE * sum(clients.values())


def _ended(queue: deque[_Pending], arrived: list[_Pending], now_ms: int) -> list[float]:
    """Takes those that have arrived, or that nobody waits for any more, off the queue."""
    waiting = [
        pending for pending in queue if pending not in arrived and now_ms - pending.event_ms < FORGET_AFTER_MS
    ]
    queue.clear()
    queue.extend(waiting)
    return [max(now_ms - pending.event_ms, 0) / 1_000 for pending in arrived]
