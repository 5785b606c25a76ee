"""Operators' orders in force, by pool index: what binds which pool, by whose word and until when.

Where several orders of a kind speak of a pool the narrowest scope counts, then the one given last.
"""

from typing import NamedTuple

from controller.core.evidence.finding import SILENT, Finding, Kind
from controller.core.model.memo import Memo
from controller.core.model.reasons import Reason, Verdict
from controller.core.policy.compiled import CompiledPolicy
from tieline.events import Command, in_scope

ByPool = dict[int, Command]
KINDS = {"healthy": Kind.GOOD, "degraded": Kind.WORD, "down": Kind.BAD}


class Orders(NamedTuple):
    """By pool index the order that counts; ``overridden`` by guard, and there by pool index.

    ``approved``: its provider, in mode recommend, may be acted on. ``released``: a pool that waits for an
    operator may return. ``given``: all orders in force, in the order they were given. ``due_ms``: when the
    first of them ends.
    """

    drained: ByPool
    frozen: ByPool
    verdicts: ByPool
    approved: ByPool
    released: ByPool
    overridden: dict[str, ByPool]
    given: tuple[Command, ...]
    due_ms: int | None

    def lifts(self, guard: str) -> bool:
        """Whether a guard of the whole table is overridden."""
        return guard in self.overridden

    def providers_of(self, guard: str, compiled: CompiledPolicy) -> frozenset[int]:
        """The providers for which a guard is overridden."""
        return frozenset(compiled.provider_of[index] for index in self.overridden.get(guard, ()))

    def releases(self, index: int, down_since_ms: int) -> bool:
        """Whether an operator lets the pool return from this outage: an order given before it doesn't."""
        order = self.released.get(index)
        return order is not None and order.issued_ms >= down_since_ms


NO_ORDERS = Orders({}, {}, {}, {}, {}, {}, (), None)


class _KeptOrders(NamedTuple):
    """The last answer, and what it was the answer to."""

    compiled: CompiledPolicy
    commands: tuple[Command, ...]
    from_ms: int
    orders: Orders

    def answers(self, compiled: CompiledPolicy, commands: tuple[Command, ...], now_ms: int) -> bool:
        """Whether no order is new, taken back or over."""
        in_time = self.from_ms <= now_ms < (self.orders.due_ms or now_ms + 1)
        return compiled is self.compiled and in_time and commands == self.commands


def orders_in_force(
    compiled: CompiledPolicy, commands: tuple[Command, ...], now_ms: int, memo: Memo
) -> Orders:
    """What holds now; the same object until an order is new, taken back or over."""
    kept = memo.last(_KeptOrders)
    if kept is None or not kept.answers(compiled, commands, now_ms):
        kept = _KeptOrders(compiled, commands, now_ms, _orders(compiled, commands, now_ms))
        memo.keep(kept)
    return kept.orders


def _orders(compiled: CompiledPolicy, commands: tuple[Command, ...], now_ms: int) -> Orders:
    given = sorted((one for one in commands if (one.expires_ms or 0) > now_ms), key=_rank)
    if not given:
        return NO_ORDERS
    by_verb: dict[str, ByPool] = {}
    overridden: dict[str, ByPool] = {}
    for order in given:
        if order.verb == "override":
            held = overridden.setdefault(order.guard, {})
        else:
            held = by_verb.setdefault(order.verb, {})
        held.update(
            (index, order) for index, pool in enumerate(compiled.pools) if in_scope(pool, order.scope)
        )
    return Orders(
        by_verb.get("drain", {}),
        by_verb.get("freeze", {}),
        by_verb.get("verdict", {}),
        by_verb.get("approve", {}),
        by_verb.get("failback", {}),
        overridden,
        tuple(sorted(given, key=lambda order: (order.issued_ms, order.id))),
        min(order.expires_ms or 0 for order in given),
    )


def outranked(
    compiled: CompiledPolicy, findings: dict[str, Finding], verdicts: ByPool, now_ms: int
) -> dict[str, Finding]:
    """The findings, with an operator's verdict in the place of each that one speaks of. The share of attempts
    that succeed stays as measured; the same object without verdicts."""
    if not verdicts:
        return findings
    found = dict(findings)
    for index, order in verdicts.items():
        name = compiled.pools[index]
        # An outage by verdict is prolonged in steps, or every decision would have something to remember.
        step_ms = compiled.policy.thresholds.verdict_step_ms if order.state == "down" else 1
        found[name] = Finding(
            KINDS[order.state],
            Reason.OPERATOR_VERDICT,
            success=findings.get(name, SILENT).success,
            evidence_ms=max(order.issued_ms, now_ms - now_ms % step_ms),
            until_ms=order.expires_ms,
        )
    return found


def told(subject: str, reason: Reason, order: Command, value: float | None = None) -> Verdict:
    """That an order is why, with who gave it, since when and until when."""
    because = f"{order.actor}: {order.reason}"
    return Verdict(subject, reason, order.issued_ms, order.expires_ms, value=value, because=because)


def _rank(order: Command) -> tuple[int, int, str]:
    """Narrower scopes later, then later orders."""
    width = 0 if order.scope == "*" else 1 + order.scope.count("/")
    return width, order.issued_ms, order.id
