"""PURE: the facts at the end of a run, out of the callers' own notes and the stand-ins' own logs.

*Lost* is a request that is neither a success, nor shed by policy, nor answered with a 4xx that a stand-in was
told to give. Contracts are counted at the stand-ins: what reached a pool that might not serve it broke one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from controller.core.policy.lawful import may_serve
from controller.core.policy.policy import Policy
from lab.demo.records import Calls
from lab.standins import ledger
from tieline.quantiles import nearest_rank

OVERLOAD_WINDOW_MS = 5_000
LOST_SHOWN_MAX = 5


class Fault(Struct, frozen=True):
    """Something that was done to the stand-ins, and when; ``until_ms`` None: it was never taken back."""

    name: str
    pools: tuple[str, ...]
    at_ms: int
    until_ms: int | None = None
    empties: bool = True  # whether all traffic should leave the pools


class Departure(Struct, frozen=True):
    """How long requests still went to the pools of a fault; None: none did after it."""

    name: str
    last_ms: int | None
    later: int  # requests sent there more than ``TRICKLE_AFTER_MS`` after the fault, as probes of the pool


class Latencies(Struct, frozen=True):
    """Of ``count`` values in ms."""

    count: int
    p50_ms: float
    p99_ms: float


class Facts(Struct, frozen=True):
    """Everything that the run ends with."""

    sent: int
    succeeded: int
    shed: dict[str, int]
    told: int
    lost: tuple[str, ...]
    asked_again: int
    departures: tuple[Departure, ...]
    reaction: Latencies | None
    generations: int
    overload: ledger.Overload | None
    stale: tuple[str, ...]
    broken_contracts: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Nothing lost, no table stale or empty, no contract broken, and something was done at all."""
        return self.succeeded > 0 and not (self.lost or self.stale or self.broken_contracts)


def facts(
    policy: Policy,
    calls: Calls,
    logs: Sequence[ledger.Line],
    faults: Sequence[Fault],
    *,
    events_ms: Mapping[str, int],
    generations: int,
    probes: Collection[str] = (),
    stale_allowed: Sequence[tuple[int, int]] = (),
    since_ms: int = 0,
) -> Facts:
    """``events_ms``: generation -> append time of the newest event it rests on. ``stale_allowed``: spans in
    which the stack was stopped on purpose. ``probes``: prefixes of ids that are no caller's. ``since_ms``:
    when the parts were up; reactions are counted from then on."""
    attempts = [one for one in ledger.attempts(logs) if not one.id.startswith(tuple(probes) or ("\0",))]
    results = {id_: _result(calls, id_) for id_ in calls.began}
    reconciled = ledger.reconcile(results, attempts)
    shed = Counter(calls.began[id_].workload for id_ in reconciled.shed)
    return Facts(
        sent=len(calls.began),
        succeeded=len(reconciled.succeeded),
        shed={workload.id: shed[workload.id] for workload in policy.workloads},
        told=len(reconciled.told),
        lost=tuple(sorted((*reconciled.lost, *reconciled.unproven))),
        asked_again=sum(one.asked > 1 for one in calls.ended.values()),
        departures=tuple(departure(fault, calls) for fault in faults if fault.empties),
        reaction=latencies(reactions_ms(calls, {g: at for g, at in events_ms.items() if at >= since_ms})),
        generations=generations,
        overload=worst_overload(attempts, logs),
        stale=stale(calls, stale_allowed),
        broken_contracts=broken_contracts(policy, calls, attempts),
    )


def _result(calls: Calls, request_id: str) -> ledger.CallerResult:
    ended = calls.ended.get(request_id)
    if ended is None:
        return ledger.CallerResult("failed")
    return ledger.CallerResult(ended.outcome, ended.status)


TRICKLE_AFTER_MS = 30_000


def departure(fault: Fault, calls: Calls) -> Departure:
    """The last request sent to the pools of a fault while it lasted.

    A client that has left a pool tries it again with one request when its ejection ends; those are told
    apart (``later``) where they come long after.
    """
    until_ms = fault.until_ms if fault.until_ms is not None else math.inf
    sent = [
        one.at_ms - fault.at_ms
        for one in calls.tried
        if one.pool in fault.pools and fault.at_ms <= one.at_ms < until_ms
    ]
    early = [after_ms for after_ms in sent if after_ms < TRICKLE_AFTER_MS]
    return Departure(fault.name, max(early, default=None), len(sent) - len(early))


def reactions_ms(calls: Calls, events_ms: Mapping[str, int]) -> list[int]:
    """For each urgent generation and client: from the broker's time of the event to the table in force there.

    The last word comes from two processes on one machine, so their clocks are one.
    """
    return [
        max(0, one.at_ms - events_ms[one.generation])
        for one in calls.applied
        if one.urgent and one.generation in events_ms
    ]


def latencies(values: Iterable[float]) -> Latencies | None:
    """How many values there are and their quantiles; None without values."""
    ordered = sorted(values)
    p50_ms, p99_ms = nearest_rank(ordered, 0.5), nearest_rank(ordered, 0.99)
    if p50_ms is None or p99_ms is None:
        return None
    return Latencies(len(ordered), p50_ms, p99_ms)


def worst_overload(attempts: Sequence[ledger.Attempt], logs: Sequence[ledger.Line]) -> ledger.Overload | None:
    """The fullest five seconds of any pool, of what came, let in or not."""
    worst: ledger.Overload | None = None
    for pool, steps in ledger.capacities(logs).items():
        found = ledger.largest_overload(attempts, steps, pool, OVERLOAD_WINDOW_MS, admitted_only=False)
        if found is not None and (worst is None or found.ratio > worst.ratio):
            worst = found
    return worst


def stale(calls: Calls, allowed: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    """Clients that ran on a stale table or on none, outside the spans in which they had to; sorted."""
    found = set()
    for line in calls.statuses:
        excused = any(from_ms <= line.at_ms <= until_ms for from_ms, until_ms in allowed)
        if line.state in ("stale", "last_good", "initializing") and not excused:
            found.add(f"{line.workload}: {line.state}")
    found |= {
        f"{calls.began[one.id].workload}: {one.why}"
        for one in calls.ended.values()
        if one.why in ("no_table", "no_route") and one.id in calls.began
    }
    return tuple(sorted(found))


def broken_contracts(policy: Policy, calls: Calls, attempts: Iterable[ledger.Attempt]) -> tuple[str, ...]:
    """Every request that reached a pool which law or contract closes to its (workload, origin); sorted."""
    pools = {pool.id: pool for pool in policy.pools}
    workloads = {one.id: one for one in policy.workloads}
    origins = {one.id: one for one in policy.origins}
    broken: Counter[str] = Counter()
    for attempt in attempts:
        call = calls.began.get(attempt.id)
        if call is None or attempt.pool not in pools:
            continue
        if not may_serve(pools[attempt.pool], workloads[call.workload], origins[call.origin]):
            broken[f"{call.workload}/{call.origin} reached {attempt.pool}"] += 1
    return tuple(f"{what} ({count} times)" for what, count in sorted(broken.items()))
