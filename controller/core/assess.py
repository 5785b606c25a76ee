"""The first half of a decision: snapshot -> what is known of every pool and route, and what to remember."""

from typing import NamedTuple

from msgspec.structs import replace

from controller.core.bounds import bound_by_mode
from controller.core.capacity import (
    Caps,
    capacities,
    is_news,
    limited_by_requests,
    note_lump,
    note_requests,
    note_throttling,
)
from controller.core.compiled import Compiled, with_declined, without_share_limits
from controller.core.eligible import Use, eligible
from controller.core.evidence import Evidence, Reach, gather, hearing
from controller.core.finding import SILENT, Finding, Kind, judge_all
from controller.core.health import Setting, advance, due_ms, is_settled
from controller.core.load import demand_of
from controller.core.memory import Memory, PoolMemory
from controller.core.model import Snapshot
from controller.core.orders import Orders, orders, outranked
from controller.core.reasons import Reason, State, Verdict
from controller.core.reflex import CRITICAL_RANK
from controller.core.reversal import Barred
from controller.core.siblings import refusing
from controller.core.stated import Stated, stated
from controller.core.statements import Claims, claims, refused
from controller.core.trust import unheard_share
from controller.core.usual import note_usual

NEW = PoolMemory()


class Assessment(NamedTuple):
    """All that a decision rests on; ``memory`` already is the new one.

    By route: ``demand`` in units/s, ``requests`` per second as clients report them, 0 where they don't.
    ``rules`` are the policy's but for share limits that an operator overrides. ``use`` keeps within the modes
    of providers; ``acting`` is what it would be with every provider in act: the same object if they are.
    ``barred``: what may not be moved back by choice yet.
    """

    rules: Compiled
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
    barred: Barred


def assess(snapshot: Snapshot, rules: Compiled, now_ms: int) -> Assessment:
    """Trust, health, capacity and eligibility as of now."""
    limits = snapshot.policy.thresholds
    reach = Reach(snapshot.progress, now_ms)
    heard = hearing(snapshot.reports, reach, limits, now_ms)
    evidence = gather(snapshot.reports, heard, snapshot.demand, reach, limits, now_ms)
    before = snapshot.memory or Memory()
    asked = demand_of(rules, snapshot.demand, reach, before.reported, limits.stale_min_ms, now_ms)
    given = orders(rules, snapshot.commands, now_ms)
    rules = without_share_limits(rules, given.providers_of("provider_share", rules))
    held = claims(rules, snapshot.statements, given, now_ms)
    rules = with_declined(rules, refused(rules, snapshot.statements, now_ms))
    said = stated(rules, snapshot.capacities, now_ms)
    remembered = _noted(snapshot, rules, evidence, said, now_ms)
    caps = _made_fresh(capacities(rules, said, remembered, now_ms), given)
    complete = any(seen.clients is not None and seen.clients.ok for seen in evidence.values())
    ill = {rules.pools[index] for index in held.ill}
    refuse = refusing(rules, evidence, snapshot.table, asked.units)
    found = judge_all(evidence, limits, remembered, ill, refuse, siblings_complete=complete)
    findings = outranked(rules, found, given.verdicts, now_ms)
    pools, changes, due = _health(snapshot, rules, remembered, findings, given, caps, now_ms)
    memory = _memory(before, rules, pools, asked.reported)
    acting = eligible(rules, pools, findings, caps, held, panic_allowed=not given.lifts("providers_lost"))
    return Assessment(
        rules,
        evidence,
        findings,
        held,
        caps,
        bound_by_mode(acting, rules, given),
        acting,
        asked.units,
        asked.requests,
        memory,
        changes,
        unheard_share(rules, snapshot.reports, heard),
        _earliest([*due, said.until_ms], held, given, caps, findings, now_ms),
        given,
        Barred(memory, limits, now_ms),
    )


def _noted(
    snapshot: Snapshot, rules: Compiled, evidence: dict[str, Evidence], said: Stated, now_ms: int
) -> dict[str, PoolMemory]:
    """Every pool's memory, with what throttling shows now, what is usual, what a request is where that limits
    the pool, and capacity that is new."""
    before = snapshot.memory.pools if snapshot.memory else {}
    limits = snapshot.policy.thresholds
    found = {}
    by_requests = limited_by_requests(rules, said)
    for index, name in enumerate(rules.pools):
        seen = evidence.get(name)
        held = before.get(name, NEW)
        if held.throttled_ms or (seen and seen.clients and seen.clients.throttled):
            held = note_throttling(held, seen.clients if seen else None, limits, now_ms)
        if seen and (not held.usual_p50_ms or now_ms - held.usual_ms >= limits.usual_period_ms):
            held = note_usual(held, seen.clients, limits, now_ms)
        if index in by_requests:
            held = note_requests(held, seen.clients if seen else None, limits)
        known = rules.policy.pools[index].limit_units_per_s
        if (one := said.pools.get(index)) is not None and is_news(held, one, known):
            held = note_lump(held, one, known, limits, now_ms)
        found[name] = held
    return found


def _health(
    snapshot: Snapshot,
    rules: Compiled,
    before: dict[str, PoolMemory],
    findings: dict[str, Finding],
    given: Orders,
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
        manual = policy.providers[rules.provider_of[index]].failback == "manual"
        manual = manual and not given.releases(index, was.down_since_ms)
        verdict = given.verdicts.get(index)
        vouched = verdict is not None and verdict.state == "healthy"
        fresh = caps.pools[index].fresh
        setting = plain
        if manual or vouched or not fresh or index in wanted:
            setting = plain._replace(
                fresh_capacity=fresh, wanted=index in wanted, manual=manual, vouched=vouched
            )
        now = pools[name] = advance(was, finding, setting)
        if now is not was and (now.state is not was.state or now.ramp_step != was.ramp_step):
            changes.append(_changed(name, was, now, finding))
        if (at := due_ms(now, setting)) is not None and at > now_ms:
            due.append(at)
    return pools, changes, due


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
    shifts = before.shifts if before.policy_version == rules.version else ()  # numbered by the policy
    return replace(before, policy_version=rules.version, pools=pools, reported=reported, shifts=shifts)


def _earliest(
    due: list[int], held: Claims, given: Orders, caps: Caps, findings: dict[str, Finding], now_ms: int
) -> int | None:
    """When something falls due without any event."""
    times = [*due, *(at for at in (held.due_ms, given.due_ms) if at is not None)]
    times += [cap.until_ms for cap in caps.pools if cap.until_ms is not None]
    times += [finding.until_ms for finding in findings.values() if finding.until_ms is not None]
    return min((at for at in times if at > now_ms), default=None)
