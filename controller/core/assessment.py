"""The first half of a decision: snapshot -> what is known of every pool and route, and what to remember."""

from typing import NamedTuple

from msgspec.structs import replace

from controller.core.capacity.demand import demand_of
from controller.core.capacity.remember import remember
from controller.core.capacity.stated import stated_capacity
from controller.core.capacity.usable import Caps, capacities
from controller.core.evidence.finding import SILENT, Finding, Kind
from controller.core.evidence.gather import Evidence, gather
from controller.core.evidence.health import Conditions, advance, due_ms, is_settled
from controller.core.evidence.hearing import Reach, hear, unheard_share
from controller.core.evidence.judge import judge_all
from controller.core.evidence.siblings import refusing_pools
from controller.core.model.memo import Memo, changed_keys
from controller.core.model.memory import Memory, PoolMemory
from controller.core.model.reasons import Reason, State, Verdict
from controller.core.moves.eligible import Use, eligible
from controller.core.moves.modes import within_modes
from controller.core.moves.reversal import ReversalLimits
from controller.core.orders.claims import Claims, claims_in_force, declined_pools
from controller.core.orders.in_force import Orders, orders_in_force, with_verdicts
from controller.core.policy.compiled import CRITICAL_RANK, CompiledPolicy, compile_policy, rules_in_force
from controller.core.snapshot import Snapshot


class Assessment(NamedTuple):
    """All that a decision rests on; ``memory`` already is the new one.

    By route: ``demand`` in units/s, ``requests`` per second as clients report them, 0 where they don't.
    ``written`` is the policy as it is written, ``compiled`` the same with the exceptions that hold now: share
    limits that an operator overrides, burst that its holder has declined. ``use`` keeps within the modes
    of providers; ``acting`` is what it would be with every provider in act: the same object if they are.
    ``barred``: what may not be moved back by choice yet.
    """

    written: CompiledPolicy
    compiled: CompiledPolicy
    evidence: dict[str, Evidence]
    findings: dict[str, Finding]
    claims: Claims
    caps: Caps
    use: Use
    acting: Use
    demand: list[float]
    requests: list[float]
    memory: Memory
    changes: list[Verdict]
    unheard: float
    due_ms: int | None
    orders: Orders
    barred: ReversalLimits


def assess(snapshot: Snapshot, now_ms: int, memo: Memo | None = None) -> Assessment:
    """Trust, health, capacity and eligibility as of now. Without a ``memo`` nothing is kept."""
    memo = memo or Memo()
    limits = snapshot.policy.thresholds
    written = memo.once(compile_policy, snapshot.policy)
    reach = Reach(snapshot.progress, limits, now_ms)
    heard = hear(snapshot.reports, reach, limits, now_ms, memo)
    evidence = gather(snapshot.reports, heard, snapshot.demand, reach, limits, now_ms, memo)
    before = snapshot.memory or Memory()
    asked = demand_of(written, snapshot.demand, reach, before.reported, now_ms, memo)
    given = orders_in_force(written, snapshot.commands, now_ms, memo)
    held = claims_in_force(written, snapshot.statements, given, now_ms)
    unshared = given.providers_of("provider_share", written)
    declined = declined_pools(written, snapshot.statements, now_ms)
    compiled = rules_in_force(written, unshared, declined, memo)
    said = stated_capacity(compiled, snapshot.capacities, reach, now_ms, memo)
    remembered = remember(compiled, before.pools, evidence, said, now_ms, memo)
    caps = _made_fresh(capacities(compiled, said, remembered, now_ms, memo), given)
    complete = any(seen.clients is not None and seen.clients.ok for seen in evidence.values())
    ill = {compiled.pools[index] for index in held.ill}
    refuse = refusing_pools(compiled, evidence, snapshot.table, asked.units)
    found = judge_all(evidence, limits, remembered, ill, refuse, memo, siblings_complete=complete)
    findings = with_verdicts(compiled, found, given.verdicts, now_ms)
    pools, changes, due = _health(snapshot, compiled, remembered, findings, given, caps, now_ms, memo)
    memory = _memory(before, compiled, pools, asked.reported)
    panic_allowed = not given.lifts("providers_lost")
    acting = eligible(compiled, pools, findings, caps, held, memo, panic_allowed=panic_allowed)
    return Assessment(
        written,
        compiled,
        evidence,
        findings,
        held,
        caps,
        within_modes(acting, compiled, given),
        acting,
        asked.units,
        asked.requests,
        memory,
        changes,
        unheard_share(compiled, snapshot.reports, heard),
        _earliest([*due, said.until_ms], held, given, findings, now_ms),
        given,
        ReversalLimits(memory, limits, now_ms),
    )


class _Advanced(NamedTuple):
    """What the last states rest on. ``restless``: pools that were not simply left as they were."""

    compiled: CompiledPolicy
    before: dict[str, PoolMemory]
    findings: dict[str, Finding]
    restless: frozenset[str]

    def again(
        self, compiled: CompiledPolicy, before: dict[str, PoolMemory], findings: dict[str, Finding]
    ) -> list[int]:
        """The pools to look at."""
        if compiled.policy is not self.compiled.policy:
            return list(range(len(compiled.pools)))
        news = changed_keys(self.before, before) | changed_keys(self.findings, findings) | self.restless
        return sorted(compiled.pool_index[name] for name in news if name in compiled.pool_index)


def _health(
    snapshot: Snapshot,
    compiled: CompiledPolicy,
    before: dict[str, PoolMemory],
    findings: dict[str, Finding],
    given: Orders,
    caps: Caps,
    now_ms: int,
    memo: Memo,
) -> tuple[dict[str, PoolMemory], list[Verdict], list[int]]:
    policy = snapshot.policy
    wanted = _wanted(snapshot, compiled)
    new: dict[str, PoolMemory] = {}
    restless: set[str] = set()
    changes: list[Verdict] = []
    due: list[int] = []
    plain = Conditions(now_ms, policy.thresholds, snapshot.office.took_office_ms)
    kept = memo.last(_Advanced)
    again = kept.again(compiled, before, findings) if kept else range(len(compiled.pools))
    for index in again:
        name = compiled.pools[index]
        was = before[name]
        finding = findings.get(name, SILENT)
        if (finding is SILENT and is_settled(was)) or (
            was.state is State.HEALTHY and finding.kind in (Kind.GOOD, Kind.FAIR)
        ):
            continue
        restless.add(name)
        manual = policy.providers[compiled.provider_of[index]].failback == "manual"
        manual = manual and not given.releases(index, was.down_since_ms)
        verdict = given.verdicts.get(index)
        vouched = verdict is not None and verdict.state == "healthy"
        fresh = caps.pools[index].fresh
        setting = plain
        if manual or vouched or not fresh or index in wanted:
            setting = plain._replace(
                fresh_capacity=fresh, wanted=index in wanted, manual=manual, vouched=vouched
            )
        now = advance(was, finding, setting)
        if now is not was:
            new[name] = now
        if now is not was and (now.state is not was.state or now.ramp_step != was.ramp_step):
            changes.append(_changed(name, was, now, finding))
        if (at := due_ms(now, setting)) is not None and at > now_ms:
            due.append(at)
    memo.keep(_Advanced(compiled, before, findings, frozenset(restless)))
    return {**before, **new} if new else before, changes, due


def _made_fresh(caps: Caps, given: Orders) -> Caps:
    """The same capacities; those whose freshness an operator does not ask for count as fresh."""
    lifted = given.overridden.get("fresh_capacity", {})
    stale = [index for index in lifted if not caps.pools[index].fresh]
    if not stale:
        return caps
    pools = list(caps.pools)
    for index in stale:
        pools[index] = pools[index]._replace(fresh=True, reason=Reason.GUARD_OVERRIDDEN)
    return caps._replace(pools=pools)


def _wanted(snapshot: Snapshot, compiled: CompiledPolicy) -> set[int]:
    """Pools that could serve critical load which the table in force sheds."""
    found: set[int] = set()
    for route in snapshot.table.routes if snapshot.table else ():
        index = compiled.route_index.get((route.workload, route.origin))
        if route.split.shed and index is not None and compiled.routes[index].rank <= CRITICAL_RANK:
            found.update(compiled.routes[index].lawful)
    return found


def _changed(name: str, was: PoolMemory, now: PoolMemory, finding: Finding) -> Verdict:
    return Verdict(
        name,
        now.reason,
        now.since_ms,
        now.hold_until_ms if now.hold_until_ms > now.since_ms else None,
        was.state.value,
        now.state.value,
        finding.value,
        finding.limit,
    )


def _memory(
    before: Memory, compiled: CompiledPolicy, pools: dict[str, PoolMemory], reported: tuple[str, ...]
) -> Memory:
    """The same object if nothing is new."""
    same = before.policy_version == compiled.version and before.reported == reported
    if same and not changed_keys(before.pools, pools):
        return before
    shifts = before.shifts if before.policy_version == compiled.version else ()  # numbered by the policy
    return replace(before, policy_version=compiled.version, pools=pools, reported=reported, shifts=shifts)


def _earliest(
    due: list[int | None], held: Claims, given: Orders, findings: dict[str, Finding], now_ms: int
) -> int | None:
    """When something falls due without any event."""
    times = {held.due_ms, given.due_ms, *due, *{finding.until_ms for finding in findings.values()}}
    return min((at for at in times if at is not None and at > now_ms), default=None)
