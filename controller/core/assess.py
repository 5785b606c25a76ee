"""The first half of a decision: snapshot -> what is known of every pool and route, and what to remember."""

from typing import NamedTuple

from msgspec.structs import replace

from controller.core.capacity import Caps, capacities, note_throttling
from controller.core.compiled import Compiled
from controller.core.eligible import Use, eligible
from controller.core.evidence import Evidence, Reach, gather, hearing
from controller.core.finding import SILENT, Finding, Kind, judge_all
from controller.core.health import Setting, advance, due_ms, is_settled
from controller.core.load import demand_of
from controller.core.memory import Memory, PoolMemory
from controller.core.model import Snapshot
from controller.core.reasons import State, Verdict
from controller.core.reflex import CRITICAL_RANK
from controller.core.statements import Claims, claims
from controller.core.trust import unheard_share

NEW = PoolMemory()


class Assessment(NamedTuple):
    """All that a decision rests on. ``demand`` is in units/s by route; ``memory`` already is the new one."""

    rules: Compiled
    evidence: dict[str, Evidence]
    findings: dict[str, Finding]
    claims: Claims
    caps: Caps
    use: Use
    demand: list[float]
    memory: Memory
    changes: list[Verdict]
    unheard: float
    due_ms: int | None


def assess(snapshot: Snapshot, rules: Compiled, now_ms: int) -> Assessment:
    """Trust, health, capacity and eligibility as of now."""
    limits = snapshot.policy.thresholds
    reach = Reach(snapshot.progress, now_ms)
    heard = hearing(snapshot.reports, reach, limits, now_ms)
    evidence = gather(snapshot.reports, heard, snapshot.demand, reach, limits, now_ms)
    held = claims(rules, snapshot.statements, snapshot.commands, now_ms)
    remembered = _throttling(snapshot, rules, evidence, now_ms)
    caps = capacities(rules, snapshot.capacities, remembered, now_ms)
    complete = any(seen.clients is not None and seen.clients.ok for seen in evidence.values())
    ill = {rules.pools[index] for index in held.ill}
    findings = judge_all(evidence, limits, rules.pool_index.keys(), ill, siblings_complete=complete)
    before = snapshot.memory or Memory()
    pools, changes, due = _health(snapshot, rules, remembered, findings, held, caps, now_ms)
    demand, reported = demand_of(rules, snapshot.demand, reach, before.reported, limits.stale_min_ms, now_ms)
    memory = _memory(before, rules, pools, reported)
    return Assessment(
        rules,
        evidence,
        findings,
        held,
        caps,
        eligible(rules, pools, findings, caps, held),
        demand,
        memory,
        changes,
        unheard_share(snapshot.reports, heard),
        _earliest(due, held, caps, findings, now_ms),
    )


def _throttling(
    snapshot: Snapshot, rules: Compiled, evidence: dict[str, Evidence], now_ms: int
) -> dict[str, PoolMemory]:
    """Every pool's memory, with what throttling shows now."""
    before = snapshot.memory.pools if snapshot.memory else {}
    limits = snapshot.policy.thresholds
    found = {}
    for name in rules.pools:
        seen = evidence.get(name)
        held = before.get(name, NEW)
        if held.throttled_ms or (seen and seen.clients and seen.clients.throttled):
            held = note_throttling(held, seen.clients if seen else None, limits, now_ms)
        found[name] = held
    return found


def _health(
    snapshot: Snapshot,
    rules: Compiled,
    before: dict[str, PoolMemory],
    findings: dict[str, Finding],
    held: Claims,
    caps: Caps,
    now_ms: int,
) -> tuple[dict[str, PoolMemory], list[Verdict], list[int]]:
    policy = snapshot.policy
    wanted = _wanted(snapshot, rules)
    pools: dict[str, PoolMemory] = {}
    changes: list[Verdict] = []
    due: list[int] = []
    plain = Setting(now_ms, policy.thresholds, snapshot.office.took_office_ms)
    for index, name in enumerate(rules.pools):
        was = before[name]
        finding = findings.get(name, SILENT)
        if (finding is SILENT and is_settled(was)) or (
            was.state is State.HEALTHY and finding.kind in (Kind.GOOD, Kind.FAIR)
        ):
            pools[name] = was
            continue
        drained = index in held.withdrawn
        manual = policy.providers[rules.provider_of[index]].failback == "manual"
        fresh = caps.pools[index].fresh
        setting = plain
        if drained or manual or not fresh or index in wanted:
            setting = plain._replace(
                fresh_capacity=fresh, wanted=index in wanted, manual=manual, drained=drained
            )
        now = pools[name] = advance(was, finding, setting)
        if now is not was and (now.state is not was.state or now.ramp_step != was.ramp_step):
            changes.append(_changed(name, was, now, finding))
        if (at := due_ms(now, setting)) is not None and at > now_ms:
            due.append(at)
    return pools, changes, due


def _wanted(snapshot: Snapshot, rules: Compiled) -> set[int]:
    """Pools that could serve critical load which the table in force sheds."""
    found: set[int] = set()
    for route in snapshot.table.routes if snapshot.table else ():
        index = rules.route_index.get((route.workload, route.origin))
        if route.split.shed and index is not None and rules.routes[index].rank <= CRITICAL_RANK:
            found.update(rules.routes[index].lawful)
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
    before: Memory, rules: Compiled, pools: dict[str, PoolMemory], reported: tuple[str, ...]
) -> Memory:
    """The same object if nothing is new."""
    if (
        before.policy_version == rules.version
        and before.reported == reported
        and len(before.pools) == len(pools)
        and all(before.pools.get(name) is pool for name, pool in pools.items())
    ):
        return before
    return replace(before, policy_version=rules.version, pools=pools, reported=reported)


def _earliest(
    due: list[int], held: Claims, caps: Caps, findings: dict[str, Finding], now_ms: int
) -> int | None:
    """When something falls due without any event."""
    times = [*due, *([held.due_ms] if held.due_ms is not None else [])]
    times += [cap.until_ms for cap in caps.pools if cap.until_ms is not None]
    times += [finding.until_ms for finding in findings.values() if finding.until_ms is not None]
    return min((at for at in times if at > now_ms), default=None)
