"""Which operators' orders are in force, read off the command log: a pure fold.

An order holds for exactly its scope until it expires or is taken back by its counterpart (``TAKES_BACK``) for
the same scope and guard; a verdict also until another one for the same scope. An id counts once: a repeated
record changes nothing. ``next_offset`` is what a publication names to say which commands it has taken into
account.
"""

from dataclasses import dataclass, replace

import msgspec

from controller.core.orders.overridable import override_fault
from tieline.events import TAKES_BACK, Command, misfit
from tieline.topics import DAY_MS

OVERRIDE_MAX_MS = 30 * DAY_MS
ORDERS_MAX = 1_000
IDS_KEPT_MAX = 1_000


@dataclass(frozen=True, slots=True)
class CommandLog:
    """What the records before ``next_offset`` say. ``orders`` are in the order they were given; each was
    ``issued_ms`` when the log took it, whatever its sender's clock said."""

    next_offset: int = 0
    orders: tuple[Command, ...] = ()
    seen: tuple[str, ...] = ()  # the last ids, newest last
    refused: str = ""  # why the last record was not taken, empty if it was

    def apply(
        self, offset: int, append_ms: int, command: Command | None, *, unsigned_allowed: bool
    ) -> "CommandLog":
        """The log after one more record; ``command`` None is a record that can't be read.

        Append time judges a command, never the sender's clock: its expiry is at most 30 days after it.
        """
        if offset < self.next_offset:
            return self
        read = replace(self, next_offset=offset + 1, refused="")
        if command is None:
            return replace(read, refused="it is not a command")
        if command.id in self.seen:
            return read
        read = replace(read, seen=(*read.seen[-IDS_KEPT_MAX + 1 :], command.id))
        if refused := _refusal(command, append_ms, unsigned_allowed=unsigned_allowed):
            return replace(read, refused=refused)
        lasting = (order for order in read.orders if _lasts(order, append_ms))
        others = tuple(order for order in lasting if not _ends(command, order))
        if command.verb in TAKES_BACK:
            return replace(read, orders=others)
        if len(others) >= ORDERS_MAX:
            return replace(read, orders=others, refused=f"{ORDERS_MAX} orders are in force already")
        return replace(read, orders=(*others, msgspec.structs.replace(command, issued_ms=append_ms)))

    def in_force(self, now_ms: int) -> tuple[Command, ...]:
        """The orders that hold at ``now_ms``, sorted by scope and id."""
        held = [order for order in self.orders if _lasts(order, now_ms)]
        return tuple(sorted(held, key=lambda order: (order.scope, order.id)))

    def next_expiry_ms(self, now_ms: int) -> int | None:
        """When the next order ends by itself, or None."""
        return min((order.expires_ms or 0 for order in self.in_force(now_ms)), default=None)


def _lasts(order: Command, at_ms: int) -> bool:
    return (order.expires_ms or 0) > at_ms


def _ends(command: Command, order: Command) -> bool:
    """Whether the newer command puts an end to the order."""
    ended = TAKES_BACK.get(command.verb, "verdict" if command.verb == "verdict" else "")
    return (order.verb, order.scope, order.guard) == (ended, command.scope, command.guard)


def _refusal(command: Command, append_ms: int, *, unsigned_allowed: bool) -> str:
    if command.signature:
        return "its signature can't be checked: no keys are configured"
    if not unsigned_allowed:
        return "it is unsigned, which only the unsigned development mode accepts"
    if fault := misfit(command):
        return fault
    if command.verb == "override" and (fault := override_fault(command.guard, command.scope)):
        return fault
    if command.verb in TAKES_BACK or command.expires_ms is None:
        return ""
    if command.expires_ms <= append_ms:
        return "it had expired before it arrived"
    if command.expires_ms > append_ms + OVERRIDE_MAX_MS:
        return "it expires more than 30 days ahead"
    return ""
