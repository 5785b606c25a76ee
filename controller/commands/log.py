"""Which operators' orders are in force, read off the command log: a pure fold. The rules: ``commands``."""

from dataclasses import dataclass, replace

import msgspec

from controller.commands.authority import ISSUED_WITHIN_MS, OrderRules, form_fault, verb_and_scope
from controller.routes.record import (
    LoggedChange,
    OrderAnswer,
    OrdersTaken,
    PendingOrder,
    RoutesRecord,
)
from tieline.events import Command, PolicyChange, taken_back
from tieline.order_signing import fingerprint

ORDERS_MAX = 1_000
PENDING_MAX = 100
PENDING_MAX_MS = 15 * 60_000
ANSWERS_KEPT_MAX = 50
REPEATABLE_MS = 2 * ISSUED_WITHIN_MS  # a copy that is appended later than this is too old to count
RECENT_MAX = 2_000
CHANGES_WAITING_MAX = 20
REPLACED_BY_THE_NEXT = ("verdict", "mode")  # of the same scope; a failover by any other of its workload


@dataclass(frozen=True, slots=True)
class CommandLog:
    """The orders that the records before ``next_offset`` leave, oldest first.

    Their ``issued_ms`` is the append time, whatever the sender's clock said. ``pending`` wait for the
    signatures of more people. ``refused``: why the last record was not taken, empty if it was.

    ``answers``: what became of orders that somebody was entitled to give, newest last: the last
    ``ANSWERS_KEPT_MAX``, and all of the last ``REPEATABLE_MS``, because their ids must not count twice.
    ``rejections``: the last ``ANSWERS_KEPT_MAX`` answers to all others, so that rubbish pushes out no answer
    that somebody waits for. ``answered_offset`` and ``rejected_offset``: one above the last record of each
    kind. What is no order at all moves neither. ``topic_id``: the topic of these offsets. ``changes``: the
    policy changes that no publication is known to take into account, oldest first; what becomes of them, the
    leader says (``policies``).
    """

    next_offset: int = 0
    orders: tuple[Command, ...] = ()
    refused: str = ""
    answers: tuple[OrderAnswer, ...] = ()
    answered_offset: int = 0
    topic_id: str = ""
    pending: tuple[PendingOrder, ...] = ()
    rejections: tuple[OrderAnswer, ...] = ()
    rejected_offset: int = 0
    changes: tuple[LoggedChange, ...] = ()

    @classmethod
    def after(cls, record: RoutesRecord, *, rules: OrderRules) -> "CommandLog":
        """The log up to where a publication took it into account, with the orders that it found in force or
        pending, as far as these rules keep them."""
        log = cls(
            next_offset=record.commands_next_offset,
            orders=tuple(sorted(record.orders, key=lambda order: order.issued_ms)),
            answers=record.answers,
            answered_offset=record.commands_next_offset,
            topic_id=record.commands_topic_id,
            pending=record.pending,
            rejections=record.rejections,
            rejected_offset=record.commands_next_offset,
        )
        return log.under(rules)

    def under(self, rules: OrderRules) -> "CommandLog":
        """The log where these rules begin: without the orders that they don't keep (``OrderRules.keeps``)."""
        orders = tuple(filter(rules.keeps, self.orders))
        pending = tuple(item for item in self.pending if rules.keeps(item.order))
        if len(orders) == len(self.orders) and len(pending) == len(self.pending):
            return self
        return replace(self, orders=orders, pending=pending)

    def apply(
        self, offset: int, append_ms: int, command: Command | PolicyChange | None, *, rules: OrderRules
    ) -> "CommandLog":
        """The log after one more record; ``command`` None is a record that can't be read."""
        if offset < self.next_offset:
            return self
        read = replace(self, next_offset=offset + 1, refused="")
        if command is None:
            return replace(read, refused="the record is not an order")
        if read._knows(command.id):
            return replace(read, refused="an order with this id was given before")
        if refused := rules.refusal(command, append_ms):
            return read._rejected(command, append_ms, refused)
        if isinstance(command, PolicyChange):
            return read._after_change(LoggedChange(offset, append_ms, command), rules)
        read = replace(read, answers=read._recent_answers(append_ms))
        if len(read.answers) >= RECENT_MAX:
            return read._rejected(command, append_ms, f"{RECENT_MAX} orders were given just before it")
        return replace(read._after(command, append_ms, rules), answered_offset=offset + 1)

    def taken(self, now_ms: int) -> OrdersTaken:
        """What a decision at ``now_ms`` takes into account."""
        return OrdersTaken(
            self.next_offset,
            self.answered_offset,
            self.topic_id,
            answers=self.answers,
            orders=self.in_force(now_ms),
            pending=self.waiting(now_ms),
            rejections=self.rejections,
            rejected_offset=self.rejected_offset,
            changes=self.changes,
        )

    def without_changes(self, before_offset: int) -> "CommandLog":
        """The log without the policy changes that a publication took into account."""
        waiting = tuple(logged for logged in self.changes if logged.offset >= before_offset)
        return self if len(waiting) == len(self.changes) else replace(self, changes=waiting)

    def in_force(self, now_ms: int) -> tuple[Command, ...]:
        """The orders in force at ``now_ms``, sorted by scope and id."""
        lasting = [order for order in self.orders if _lasts(order, now_ms)]
        return tuple(sorted(lasting, key=lambda order: (order.scope, order.id)))

    def waiting(self, now_ms: int) -> tuple[PendingOrder, ...]:
        """The orders that wait for more signatures at ``now_ms``, the oldest first."""
        return tuple(item for item in self.pending if item.until_ms > now_ms)

    def next_expiry_ms(self, now_ms: int) -> int | None:
        """When the next of the orders in force expires, or None."""
        return min((order.expires_ms or 0 for order in self.in_force(now_ms)), default=None)

    def _knows(self, order_id: str) -> bool:
        return (
            any(answer.id == order_id for answer in self.answers)
            or any(order.id == order_id for order in self.orders)
            or any(item.order.id == order_id for item in self.pending)
            or any(logged.change.id == order_id for logged in self.changes)
        )

    def _recent_answers(self, at_ms: int) -> tuple[OrderAnswer, ...]:
        """The answers that are still needed, with room for one more."""
        older = len(self.answers) - ANSWERS_KEPT_MAX + 1
        return tuple(
            answer
            for place, answer in enumerate(self.answers)
            if place >= older or answer.append_ms > at_ms - REPEATABLE_MS
        )

    def _after_change(self, logged: LoggedChange, rules: OrderRules) -> "CommandLog":
        """The log after a policy change by somebody who may give it."""
        needed = rules.approvals_needed(logged.change)
        if needed <= 1:
            return self._with_change(logged)
        read = replace(self, answers=self._recent_answers(logged.append_ms), answered_offset=self.next_offset)
        return read._pending_too(logged.change, logged.append_ms, needed)

    def _with_change(self, logged: LoggedChange) -> "CommandLog":
        if len(self.changes) >= CHANGES_WAITING_MAX:
            refused = f"{CHANGES_WAITING_MAX} policy changes wait already"
            return self._rejected(logged.change, logged.append_ms, refused)
        return replace(self, changes=(*self.changes, logged), answered_offset=self.next_offset)

    def _rejected(self, command: Command | PolicyChange, append_ms: int, refused: str) -> "CommandLog":
        """The log after an order that nobody was entitled to give, or that nobody can carry out."""
        answer = OrderAnswer(command.id, append_ms, refused, actor=command.actor)
        return replace(
            self,
            refused=refused,
            rejections=(*self.rejections[-ANSWERS_KEPT_MAX + 1 :], answer),
            rejected_offset=self.next_offset,
        )

    def _answered(self, command: Command | PolicyChange, append_ms: int, refused: str = "") -> "CommandLog":
        """With an answer to this order in the place of any earlier one."""
        others = tuple(answer for answer in self.answers if answer.id != command.id)
        answer = OrderAnswer(command.id, append_ms, refused, actor=command.actor)
        return replace(self, refused=refused, answers=(*others, answer))

    def _after(self, command: Command, append_ms: int, rules: OrderRules) -> "CommandLog":
        """The log after an order by somebody who may give it."""
        lasting = replace(
            self,
            orders=tuple(order for order in self.orders if _lasts(order, append_ms)),
            pending=self.waiting(append_ms),
        )
        if command.verb == "countersign":
            return lasting._countersigned(command, append_ms, rules)
        needed = rules.approvals_needed(command)
        if needed > 1:
            return lasting._pending_too(command, append_ms, needed)
        return lasting._in_force_too(command, append_ms)

    def _in_force_too(self, command: Command, append_ms: int) -> "CommandLog":
        """With this order in force from ``append_ms``, or with what it takes back ended."""
        others = tuple(order for order in self.orders if not _ends(command, order))
        pending = tuple(item for item in self.pending if not _ends(command, item.order))
        ended = replace(self, orders=others, pending=pending)
        if taken_back(command):
            return ended._answered(command, append_ms)
        if len(others) >= ORDERS_MAX:
            refused = f"{ORDERS_MAX} orders are in force already: take some back"
            return ended._answered(command, append_ms, refused)
        order = msgspec.structs.replace(command, issued_ms=append_ms)
        return replace(ended._answered(command, append_ms), orders=(*others, order))

    def _pending_too(self, command: Command | PolicyChange, append_ms: int, needed: int) -> "CommandLog":
        """With this order waiting for the signatures of more people."""
        if len(self.pending) >= PENDING_MAX:
            refused = f"{PENDING_MAX} orders wait for another person already"
            return self._answered(command, append_ms, refused)
        until_ms = append_ms + PENDING_MAX_MS
        if isinstance(command, Command) and command.expires_ms is not None:
            until_ms = min(until_ms, command.expires_ms)
        item = PendingOrder(command, append_ms, until_ms, signers=(command.actor,), approvals=needed)
        return replace(self._answered(command, append_ms), pending=(*self.pending, item))

    def _countersigned(self, command: Command, append_ms: int, rules: OrderRules) -> "CommandLog":
        """After one more person agreed to a pending order: it is in force once they are enough."""
        order_id, _, mark = command.countersigns.partition("#")
        item = next((item for item in self.pending if item.order.id == order_id), None)
        if item is None:
            return self._answered(command, append_ms, f"no order {order_id} waits for a signature")
        if refused := _countersign_fault(command, mark, item, append_ms, rules):
            return self._answered(command, append_ms, refused)
        signers = (*item.signers, command.actor)
        needed = rules.approvals_needed(item.order)
        others = tuple(other for other in self.pending if other is not item)
        answered = replace(self._answered(command, append_ms), pending=others)
        if len(signers) >= needed:
            if isinstance(item.order, PolicyChange):
                # Its place in the log is that of the last signature.
                return answered._with_change(LoggedChange(self.next_offset - 1, append_ms, item.order))
            return answered._in_force_too(item.order, append_ms)
        waiting = msgspec.structs.replace(item, signers=signers, approvals=needed)
        return replace(answered, pending=(*others, waiting))


def _countersign_fault(
    command: Command, mark: str, item: PendingOrder, append_ms: int, rules: OrderRules
) -> str:
    """Why this countersignature doesn't count for this pending order. Everybody who signed must still be
    entitled to, because the order takes effect only now."""
    order = item.order
    if mark != fingerprint(order.signature) or command.scope != verb_and_scope(order)[1]:
        return "it agrees to another order than the one that has this id now"
    if command.actor in item.signers:
        return f"{command.actor} has signed {order.id} already: it needs another person"
    for actor in (*item.signers, command.actor):
        if fault := rules.not_allowed(actor, order):
            return fault
    return form_fault(order, append_ms)


def _lasts(order: Command, at_ms: int) -> bool:
    return (order.expires_ms or 0) > at_ms


def _ends(command: Command, order: Command | PolicyChange) -> bool:
    """Whether the newer command ends the order."""
    if isinstance(order, PolicyChange):
        return False
    ended = taken_back(command) or ((command.verb,) if command.verb in REPLACED_BY_THE_NEXT else ())
    if command.verb == "failover" and order.verb == "failover":
        return order.workload == command.workload
    target = (command.scope, command.guard, command.workload)
    return order.verb in ended and (order.scope, order.guard, order.workload) == target
