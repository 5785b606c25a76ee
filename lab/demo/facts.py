"""PURE: the facts at the end of a run, from the callers' notes and the stand-ins' logs.

A request is *lost* if it neither succeeded, nor was shed by policy, nor got a 4xx that a fault made a
stand-in answer. Contracts are checked at the stand-ins: a request that reached a pool which may not serve it
broke one.
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
TRICKLE_AFTER_MS = 30_000
UNUSABLE_STATES = ("stale", "last_good", "initializing")


class Fault(Struct, frozen=True):
    """Something that was done to stand-ins. ``until_ms`` None: it was never taken back. ``empties``: all
    traffic should leave the pools."""

    name: str
    pools: tuple[str, ...]
    at_ms: int
    until_ms: int | None = None
    empties: bool = True


class Departure(Struct, frozen=True):
    """When the last request left for the pools of a fault, in ms after it; None: no request did.

    ``later``: single requests more than ``TRICKLE_AFTER_MS`` after the fault, by which clients test the pool.
    """

    name: str
    last_ms: int | None
    later: int


class Latencies(Struct, frozen=True):
    """Quantiles of ``count`` values in ms."""

    count: int
    p50_ms: float
    p99_ms: float


class Facts(Struct, frozen=True):
    """Everything that a run ends with. ``shed``: requests by workload. ``stories``: what became of each
    request that was lost, in the order of ``lost``. ``ordered``: failures on order, see
    ``ledger.Reconciliation``. ``resent``: requests that their application sent more than once."""

    sent: int
    succeeded: int
    shed: dict[str, int]
    ordered: int
    lost: tuple[str, ...]
    stories: tuple[str, ...]
    resent: int
    departures: tuple[Departure, ...]
    reaction: Latencies | None
    generations: int
    overload: ledger.Overload | None
    stale: tuple[str, ...]
    broken_contracts: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Some requests succeeded, none was lost, no table was stale or empty, and no contract was broken."""
        return self.succeeded > 0 and not (self.lost or self.stale or self.broken_contracts)


def facts(
    policy: Policy,
    calls: Calls,
    logs: Sequence[ledger.LogLine],
    *,
    faults: Sequence[Fault],
    events_ms: Mapping[str, int],
    generations: int,
    probes: Collection[str] = (),
    stale_allowed: Sequence[tuple[int, int]] = (),
    since_ms: int = 0,
) -> Facts:
    """``events_ms``: generation -> append time of the newest event that it rests on. ``probes``: prefixes of
    request ids that belong to no caller. ``stale_allowed``: spans in which the stack was stopped on purpose.
    ``since_ms``: when all parts were running; reactions count from then on."""
    prefixes = tuple(probes) or ("\0",)  # an id never begins with a NUL character
    attempts = [attempt for attempt in ledger.attempts(logs) if not attempt.id.startswith(prefixes)]
    results = {request_id: _result(calls, request_id) for request_id in calls.starts}
    reconciliation = ledger.reconcile(results, attempts)
    shed = Counter(calls.starts[request_id].workload for request_id in reconciliation.shed)
    lost = tuple(sorted((*reconciliation.lost, *reconciliation.unproven)))
    timed_events = {generation: at_ms for generation, at_ms in events_ms.items() if at_ms >= since_ms}
    return Facts(
        sent=len(calls.starts),
        succeeded=len(reconciliation.succeeded),
        shed={workload.id: shed[workload.id] for workload in policy.workloads},
        ordered=len(reconciliation.ordered),
        lost=lost,
        stories=tuple(story(calls, request_id) for request_id in lost),
        resent=sum(end.sendings > 1 for end in calls.ends.values()),
        departures=tuple(departure(fault, calls) for fault in faults if fault.empties),
        reaction=latencies(reactions_ms(calls, timed_events)),
        generations=generations,
        overload=worst_overload(attempts, logs),
        stale=stale(calls, stale_allowed),
        broken_contracts=broken_contracts(policy, calls, attempts),
    )


def _result(calls: Calls, request_id: str) -> ledger.CallerResult:
    end = calls.ends.get(request_id)
    return ledger.CallerResult("failed") if end is None else ledger.CallerResult(end.outcome, end.status)


def story(calls: Calls, request_id: str) -> str:
    """What its application knows of a request that was lost."""
    start, end = calls.starts[request_id], calls.ends.get(request_id)
    kind = "stream" if start.stream else "whole answer"
    head = f"{request_id} ({start.workload}/{start.origin}, {kind}) "
    if end is None:
        return head + "never ended"
    attempts = f"{end.took_ms} ms, {end.attempts} attempts, sent {end.sendings} times"
    if end.outcome == "ok":
        return (
            head
            + f"succeeded at {end.pool or 'a pool'} ({attempts}), but no stand-in logged that it answered"
        )
    return head + f"got {end.status or 'no answer'} of {end.pool or 'no pool'} ({attempts}): {end.why}"


def departure(fault: Fault, calls: Calls) -> Departure:
    """The last request sent to the pools of a fault while it lasted.

    A client that has left a pool tests it with one request when its ejection ends. Such requests long after
    the fault are counted apart (``later``).
    """
    until_ms = fault.until_ms if fault.until_ms is not None else math.inf
    delays_ms = [
        attempt.at_ms - fault.at_ms
        for attempt in calls.attempts
        if attempt.pool in fault.pools and fault.at_ms <= attempt.at_ms < until_ms
    ]
    early_ms = [delay_ms for delay_ms in delays_ms if delay_ms < TRICKLE_AFTER_MS]
    return Departure(fault.name, max(early_ms, default=None), len(delays_ms) - len(early_ms))


def reactions_ms(calls: Calls, events_ms: Mapping[str, int]) -> list[int]:
    """For each urgent table and client: from the append time of the event to the table in force there.

    The broker sets the one time and a client the other. They run on one machine, so on one clock.
    """
    return [
        max(0, table.at_ms - events_ms[table.generation])
        for table in calls.applied
        if table.urgent and table.generation in events_ms
    ]


def latencies(values: Iterable[float]) -> Latencies | None:
    """How many values there are and their quantiles; None without values."""
    ordered = sorted(values)
    p50_ms, p99_ms = nearest_rank(ordered, 0.5), nearest_rank(ordered, 0.99)
    if p50_ms is None or p99_ms is None:
        return None
    return Latencies(len(ordered), p50_ms, p99_ms)


def worst_overload(
    attempts: Sequence[ledger.Attempt], logs: Sequence[ledger.LogLine]
) -> ledger.Overload | None:
    """The fullest five seconds of any pool, by all that came to it, admitted or not."""
    worst: ledger.Overload | None = None
    for pool, steps in ledger.capacities(logs).items():
        fullest = ledger.largest_overload(attempts, steps, pool, OVERLOAD_WINDOW_MS, admitted_only=False)
        if fullest is not None and (worst is None or fullest.ratio > worst.ratio):
            worst = fullest
    return worst


def stale(calls: Calls, allowed: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    """Workloads whose client ran on a stale table or on none, outside the spans ``allowed``; sorted."""
    complaints = set()
    for status in calls.statuses:
        excused = any(from_ms <= status.at_ms <= until_ms for from_ms, until_ms in allowed)
        if status.state in UNUSABLE_STATES and not excused:
            complaints.add(f"{status.workload}: {status.state}")
    complaints |= {
        f"{calls.starts[end.id].workload}: {end.why}"
        for end in calls.ends.values()
        if end.why in ("no_table", "no_route") and end.id in calls.starts
    }
    return tuple(sorted(complaints))


def broken_contracts(policy: Policy, calls: Calls, attempts: Iterable[ledger.Attempt]) -> tuple[str, ...]:
    """Requests that reached a pool which law or contract closes to their workload and origin; sorted."""
    pools = {pool.id: pool for pool in policy.pools}
    workloads = {workload.id: workload for workload in policy.workloads}
    origins = {origin.id: origin for origin in policy.origins}
    broken: Counter[str] = Counter()
    for attempt in attempts:
        start = calls.starts.get(attempt.id)
        if start is None or attempt.pool not in pools:
            continue
        if not may_serve(pools[attempt.pool], workloads[start.workload], origins[start.origin]):
            broken[f"{start.workload}/{start.origin} reached {attempt.pool}"] += 1
    return tuple(f"{breach} ({count} times)" for breach, count in sorted(broken.items()))
