"""The state of every pool after this decision: the table of evidence/health.py, asked pool by pool.

What else the table asks of a pool comes from the chapters between: whether its capacity is fresh, whether an
operator vouches for it or must release it, and whether critical load is shed that it could serve.
"""

from typing import NamedTuple

from controller.core.capacity.usable import Caps
from controller.core.evidence.finding import SILENT, Finding, Kind
from controller.core.evidence.health import Conditions, advance, due_ms, is_settled
from controller.core.model.memo import Memo, changed_keys
from controller.core.model.memory import PoolMemory
from controller.core.model.reasons import State, Verdict
from controller.core.orders.in_force import Orders
from controller.core.policy.compiled import CRITICAL_RANK, CompiledPolicy
from controller.core.snapshot import Snapshot


class PoolStates(NamedTuple):
    """Every pool's memory by name, the same object if none changed; the changes of state as verdicts.

    ``due_ms``: when states may change by time alone.
    """

    memories: dict[str, PoolMemory]
    changes: list[Verdict]
    due_ms: list[int]


class _LastStates(NamedTuple):
    """What the last states rest on. ``restless``: pools that did not simply stay as they were."""

    compiled: CompiledPolicy
    before: dict[str, PoolMemory]
    findings: dict[str, Finding]
    restless: frozenset[str]

    def pools_to_look_at(
        self, compiled: CompiledPolicy, before: dict[str, PoolMemory], findings: dict[str, Finding]
    ) -> list[int]:
        """The pools whose state may change now, by index."""
        if compiled.policy is not self.compiled.policy:
            return list(range(len(compiled.pools)))
        news = changed_keys(self.before, before) | changed_keys(self.findings, findings) | self.restless
        return sorted(compiled.pool_index[name] for name in news if name in compiled.pool_index)


class _ConditionsOf:
    """The conditions of each pool. Those of most pools are the same and are made once."""

    def __init__(
        self, snapshot: Snapshot, compiled: CompiledPolicy, orders: Orders, *, caps: Caps, now_ms: int
    ) -> None:
        self._policy = snapshot.policy
        self._compiled = compiled
        self._orders = orders
        self._caps = caps
        self._wanted = _wanted_pools(snapshot, compiled)
        self._usual = Conditions(now_ms, snapshot.policy.thresholds, snapshot.office.took_office_ms)

    def __call__(self, index: int, memory: PoolMemory) -> Conditions:
        """The conditions of one pool now."""
        manual = self._policy.providers[self._compiled.provider_of[index]].failback == "manual"
        manual = manual and not self._orders.releases(index, memory.down_since_ms)
        verdict = self._orders.verdicts.get(index)
        vouched = verdict is not None and verdict.state == "healthy"
        fresh, wanted = self._caps.pools[index].fresh, index in self._wanted
        if fresh and not (manual or vouched or wanted):
            return self._usual
        return self._usual._replace(fresh_capacity=fresh, wanted=wanted, manual=manual, vouched=vouched)


def next_states(
    snapshot: Snapshot,
    compiled: CompiledPolicy,
    before: dict[str, PoolMemory],
    findings: dict[str, Finding],
    orders: Orders,
    caps: Caps,
    now_ms: int,
    memo: Memo,
) -> PoolStates:
    """What the findings make of every pool. Pools of which nothing is new are not looked at."""
    conditions_of = _ConditionsOf(snapshot, compiled, orders, caps=caps, now_ms=now_ms)
    changed: dict[str, PoolMemory] = {}
    states = PoolStates(before, [], [])
    restless: set[str] = set()
    last = memo.last(_LastStates)
    pools = last.pools_to_look_at(compiled, before, findings) if last else range(len(compiled.pools))
    for index in pools:
        name = compiled.pools[index]
        was, finding = before[name], findings.get(name, SILENT)
        if _stays(was, finding):
            continue
        restless.add(name)
        conditions = conditions_of(index, was)
        now = advance(was, finding, conditions)
        if now is not was:
            changed[name] = now
            if now.state is not was.state or now.ramp_step != was.ramp_step:
                states.changes.append(_change(name, was, now, finding))
        if (at := due_ms(now, conditions)) is not None and at > now_ms:
            states.due_ms.append(at)
    memo.keep(_LastStates(compiled, before, findings, restless=frozenset(restless)))
    return states._replace(memories={**before, **changed}) if changed else states


def _stays(memory: PoolMemory, finding: Finding) -> bool:
    """Whether nothing can happen to the pool: the quick answer for most of them."""
    if finding is SILENT and is_settled(memory):
        return True
    return memory.state is State.HEALTHY and finding.kind in (Kind.GOOD, Kind.FAIR)


def _wanted_pools(snapshot: Snapshot, compiled: CompiledPolicy) -> set[int]:
    """Pools that could serve critical load which the table in force sheds."""
    pools: set[int] = set()
    for route in snapshot.table.routes if snapshot.table else ():
        if not route.split.shed:
            continue
        index = compiled.route_index.get((route.workload, route.origin))
        if index is not None and compiled.routes[index].rank <= CRITICAL_RANK:
            pools.update(compiled.routes[index].lawful)
    return pools


def _change(name: str, was: PoolMemory, now: PoolMemory, finding: Finding) -> Verdict:
    return Verdict(
        name,
        now.reason,
        now.since_ms,
        until_ms=now.hold_until_ms if now.hold_until_ms > now.since_ms else None,
        before=was.state.value,
        after=now.state.value,
        value=finding.value,
        limit=finding.limit,
    )
