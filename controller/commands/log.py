"""Which operators' orders are in force, read off the command log: a pure fold. The rules: ``commands``."""

from dataclasses import dataclass, replace

import msgspec

from controller.core.orders.overridable import override_fault
from controller.routes.record import LoggedChange, OrderAnswer, OrdersTaken, RoutesRecord
from tieline.events import TAKES_BACK, Command, PolicyChange
from tieline.misfits import misfit
from tieline.topics import DAY_MS

OVERRIDE_MAX_MS = 30 * DAY_MS
ORDERS_MAX = 1_000
IDS_KEPT_MAX = 1_000
ANSWERS_KEPT_MAX = 50
CHANGES_WAITING_MAX = 20


@dataclass(frozen=True, slots=True)
class CommandLog:
    """The orders that the records before ``next_offset`` leave, oldest first.

    Their ``issued_ms`` is the append time, whatever the sender's clock said. ``recent_ids``: the ids of the
    last ``IDS_KEPT_MAX`` orders, newest last. ``refused``: why the last record was not taken, empty if it
    was. ``answers``: what became of the last ``ANSWERS_KEPT_MAX`` orders, newest last. ``answered_offset``:
    one above the last record that is an order or a policy change; what lies after it is rubbish, and no
    reason to decide or publish. ``topic_id``: the topic of these offsets. ``changes``: the policy changes
    that no publication is known to take into account, oldest first; what becomes of them, the leader says
    (``policies``).
    """

    next_offset: int = 0
    orders: tuple[Command, ...] = ()
    recent_ids: tuple[str, ...] = ()
    refused: str = ""
    answers: tuple[OrderAnswer, ...] = ()
    answered_offset: int = 0
    topic_id: str = ""
    changes: tuple[LoggedChange, ...] = ()

    @classmethod
    def after(cls, record: RoutesRecord, *, unsigned_allowed: bool) -> "CommandLog":
        """The log up to where a publication took it into account, with the orders that it found in force.

        An order that this process would refuse is left out.
        """
        orders = tuple(
            order
            for order in record.orders
            if not _refusal(order, order.issued_ms, unsigned_allowed=unsigned_allowed)
        )
        return cls(
            next_offset=record.commands_next_offset,
            orders=tuple(sorted(orders, key=lambda order: order.issued_ms)),
            recent_ids=tuple(answer.id for answer in record.answers),
            answers=record.answers,
            answered_offset=record.commands_next_offset,
            topic_id=record.commands_topic_id,
        )

    def apply(
        self, offset: int, append_ms: int, command: Command | PolicyChange | None, *, unsigned_allowed: bool
    ) -> "CommandLog":
        """The log after one more record; ``command`` None is a record that can't be read."""
        if offset < self.next_offset:
            return self
        read = replace(self, next_offset=offset + 1, refused="")
        if command is None:
            return replace(read, refused="the record is not an order")
        read = replace(read, answered_offset=offset + 1)
        if command.id in self.recent_ids:
            return read
        read = replace(read, recent_ids=(*read.recent_ids[-IDS_KEPT_MAX + 1 :], command.id))
        if isinstance(command, PolicyChange):
            return read._with_change(LoggedChange(offset, append_ms, command))
        taken = read._after(command, append_ms, unsigned_allowed=unsigned_allowed)
        answer = OrderAnswer(command.id, append_ms, taken.refused)
        return replace(taken, answers=(*read.answers[-ANSWERS_KEPT_MAX + 1 :], answer))

    def without_changes(self, before_offset: int) -> "CommandLog":
        """The log without the policy changes that a publication took into account."""
        waiting = tuple(logged for logged in self.changes if logged.offset >= before_offset)
        return self if len(waiting) == len(self.changes) else replace(self, changes=waiting)

    def _with_change(self, logged: LoggedChange) -> "CommandLog":
        if len(self.changes) >= CHANGES_WAITING_MAX:
            return replace(self, refused=f"{CHANGES_WAITING_MAX} policy changes wait already")
        return replace(self, changes=(*self.changes, logged))

    def _after(self, command: Command, append_ms: int, *, unsigned_allowed: bool) -> "CommandLog":
        """The log after an order that is new, or why it is refused."""
        if refused := _refusal(command, append_ms, unsigned_allowed=unsigned_allowed):
            return replace(self, refused=refused)
        lasting = (order for order in self.orders if _lasts(order, append_ms))
        others = tuple(order for order in lasting if not _ends(command, order))
        if command.verb in TAKES_BACK:
            return replace(self, orders=others)
        if len(others) >= ORDERS_MAX:
            return replace(
                self, orders=others, refused=f"{ORDERS_MAX} orders are in force already: take some back"
            )
        return replace(self, orders=(*others, msgspec.structs.replace(command, issued_ms=append_ms)))

    def taken(self, now_ms: int) -> OrdersTaken:
        """What a decision at ``now_ms`` takes into account."""
        return OrdersTaken(
            self.next_offset,
            self.answered_offset,
            self.topic_id,
            answers=self.answers,
            orders=self.in_force(now_ms),
            changes=self.changes,
        )

    def in_force(self, now_ms: int) -> tuple[Command, ...]:
        """The orders in force at ``now_ms``, sorted by scope and id."""
        lasting = [order for order in self.orders if _lasts(order, now_ms)]
        return tuple(sorted(lasting, key=lambda order: (order.scope, order.id)))

    def next_expiry_ms(self, now_ms: int) -> int | None:
        """When the next of the orders in force expires, or None."""
        return min((order.expires_ms or 0 for order in self.in_force(now_ms)), default=None)


def _lasts(order: Command, at_ms: int) -> bool:
    return (order.expires_ms or 0) > at_ms


def _ends(command: Command, order: Command) -> bool:
    """Whether the newer command ends the order."""
    ended = TAKES_BACK.get(command.verb, "verdict" if command.verb == "verdict" else "")
    return (order.verb, order.scope, order.guard) == (ended, command.scope, command.guard)


def _refusal(command: Command, append_ms: int, *, unsigned_allowed: bool) -> str:
    if command.signature:
        return "its signature can't be checked, as there are no keys to check it with"
    if not unsigned_allowed:
        return "it is unsigned, and only the unsigned development mode (--unsigned-dev-mode) accepts that"
    if fault := misfit(command):
        return fault
    if command.verb == "override" and (fault := override_fault(command.guard, command.scope)):
        return fault
    if command.verb in TAKES_BACK or command.expires_ms is None:
        return ""
    if command.expires_ms <= append_ms:
        return "it had expired before it was appended"
    if command.expires_ms > append_ms + OVERRIDE_MAX_MS:
        return "it expires more than 30 days after it was appended"
    return ""
