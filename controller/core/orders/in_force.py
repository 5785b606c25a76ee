"""Operators' orders in force: which order binds which pool, by whose word and until when."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from controller.core.evidence.finding import SILENT, Finding, Kind
from controller.core.model.memo import Memo
from controller.core.model.reasons import Reason, Verdict
from controller.core.policy.compiled import CompiledPolicy
from tieline.events import Command, in_scope

ByPool = Mapping[int, Command]
VERDICT_KINDS = {"healthy": Kind.GOOD, "degraded": Kind.WORD, "down": Kind.BAD}


class Orders(NamedTuple):
    """By pool index the order that counts; ``overridden`` by the name of a guard, and there by pool index.

    ``approved``: the pool's provider is in mode recommend and may be acted on. ``released``: a pool that
    waits for an operator may return. ``evacuated``: load leaves the pool as fast as there is room; also for a
    drill that runs (``with_drills``). ``modes``: its provider's mode is another than the policy's. By
    workload: ``pins``, the pools that it may use, and ``failovers``, the pool to which it moves.
    ``commands``: all orders in force, the oldest first. ``due_ms``: when the first of them ends; None
    without any.
    """

    drained: ByPool
    frozen: ByPool
    verdicts: ByPool
    approved: ByPool
    released: ByPool
    overridden: dict[str, ByPool]
    commands: tuple[Command, ...]
    due_ms: int | None
    evacuated: ByPool = MappingProxyType({})
    modes: ByPool = MappingProxyType({})
    pins: Mapping[str, frozenset[int]] = MappingProxyType({})
    failovers: Mapping[str, int] = MappingProxyType({})

    def with_drills(self, compiled: CompiledPolicy, running: frozenset[str]) -> "Orders":
        """With the drills of these ids as what they are while they run: evacuations."""
        drills = [order for order in self.commands if order.id in running]
        if not drills:
            return self
        emptied = {
            index: order
            for order in drills
            for index, pool in enumerate(compiled.pools)
            if in_scope(pool, order.scope)
        }
        return self._replace(evacuated={**emptied, **self.evacuated})

    def lifts(self, guard: str) -> bool:
        """Whether a guard of the whole table is overridden."""
        return guard in self.overridden

    def providers_of(self, guard: str, compiled: CompiledPolicy) -> frozenset[int]:
        """The providers for which a guard is overridden, by index."""
        return frozenset(compiled.provider_of[index] for index in self.overridden.get(guard, ()))

    def releases(self, index: int, down_since_ms: int) -> bool:
        """Whether an operator lets the pool return from this outage: an order given before it doesn't."""
        order = self.released.get(index)
        return order is not None and order.issued_ms >= down_since_ms


NO_ORDERS = Orders({}, {}, {}, approved={}, released={}, overridden={}, commands=(), due_ms=None)


class _LastOrders(NamedTuple):
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
    """The orders that hold now; the same object until one is new, taken back or over."""
    last = memo.last(_LastOrders)
    if last is not None and last.answers(compiled, commands, now_ms):
        return last.orders
    orders = _orders(compiled, commands, now_ms)
    memo.keep(_LastOrders(compiled, commands, now_ms, orders=orders))
    return orders


def _orders(compiled: CompiledPolicy, commands: tuple[Command, ...], now_ms: int) -> Orders:
    ranked = sorted((order for order in commands if (order.expires_ms or 0) > now_ms), key=_rank)
    if not ranked:
        return NO_ORDERS
    by_verb: dict[str, dict[int, Command]] = {}
    overridden: dict[str, dict[int, Command]] = {}
    for order in ranked:
        kind, name = (overridden, order.guard) if order.verb == "override" else (by_verb, order.verb)
        if order.workload:
            continue
        by_pool = kind.setdefault(name, {})
        by_pool.update(
            (index, order) for index, pool in enumerate(compiled.pools) if in_scope(pool, order.scope)
        )
    return Orders(
        drained=by_verb.get("drain", {}),
        frozen=by_verb.get("freeze", {}),
        verdicts=by_verb.get("verdict", {}),
        approved=by_verb.get("approve", {}),
        released=by_verb.get("failback", {}),
        overridden={**overridden},
        commands=tuple(sorted(ranked, key=lambda order: (order.issued_ms, order.id))),
        due_ms=min(order.expires_ms or 0 for order in ranked),
        evacuated=by_verb.get("evacuate", {}),
        modes=by_verb.get("mode", {}),
        pins=_pins(compiled, ranked),
        failovers={
            order.workload: compiled.pool_index[order.scope]
            for order in ranked
            if order.verb == "failover" and order.scope in compiled.pool_index
        },
    )


def _pins(compiled: CompiledPolicy, orders: list[Command]) -> dict[str, frozenset[int]]:
    """Workload -> all pools that it is pinned to."""
    pins: dict[str, frozenset[int]] = {}
    for order in orders:
        if order.verb == "pin" and order.scope in compiled.pool_index:
            pool = frozenset({compiled.pool_index[order.scope]})
            pins[order.workload] = pins.get(order.workload, frozenset()) | pool
    return pins


def _rank(order: Command) -> tuple[int, int, str]:
    """Narrower scopes later, then later orders: what comes later counts."""
    width = 0 if order.scope == "*" else 1 + order.scope.count("/")
    return width, order.issued_ms, order.id


def with_verdicts(
    compiled: CompiledPolicy, findings: dict[str, Finding], verdicts: ByPool, now_ms: int
) -> dict[str, Finding]:
    """The findings by pool name, with an operator's verdict in the place of each that one speaks of.

    The share of attempts that succeed stays as measured. The same object without verdicts.
    """
    if not verdicts:
        return findings
    outranked = dict(findings)
    for index, order in verdicts.items():
        name = compiled.pools[index]
        # An outage by verdict is prolonged in steps, or every decision would have something to remember.
        step_ms = compiled.policy.thresholds.verdict_step_ms if order.state == "down" else 1
        outranked[name] = Finding(
            VERDICT_KINDS[order.state],
            Reason.OPERATOR_VERDICT,
            success=findings.get(name, SILENT).success,
            evidence_ms=max(order.issued_ms, now_ms - now_ms % step_ms),
            until_ms=order.expires_ms,
        )
    return outranked


def order_verdict(subject: str, reason: Reason, order: Command, value: float | None = None) -> Verdict:
    """That something is so because of an order: who gave it and why, since when and until when."""
    because = f"{order.actor}: {order.reason}"
    return Verdict(subject, reason, order.issued_ms, until_ms=order.expires_ms, value=value, because=because)
