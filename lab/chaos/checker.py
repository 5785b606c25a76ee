"""PURE: what must hold of everything that was recorded while a fault was in force, whatever the fault.

The rules on single tables are those that the simulator has (``lab.sim.invariants``); this file looks at what
only real processes show: order, take-overs, Redis, clients and requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import msgspec

from controller.core.policy.policy import Policy
from controller.routes.record import RoutesRecord
from lab.chaos.facts import ClientLife, Publication, RedisView, generation_of
from lab.demo.continuity import take_over_faults
from lab.demo.facts import broken_contracts
from lab.demo.records import Calls, RequestEnd, collect
from lab.sim.contracts import Contracts, contracts_of, provider_of
from lab.sim.facts import NEVER_S, PoolFacts, TickFacts
from lab.sim.invariants import CHECKS, Watch
from lab.standins import ledger
from tieline.table import Generation, RouteTable, checksum, slices

TABLE_RULES = ("only lawful pools", "a whole table", "on_loss names no pool that is down")
STORIES_MAX = 3
NEVER_MS = 2**53


@dataclass(frozen=True)
class Evidence:
    """What was recorded. ``publications``: all of the run, ``first``: the index of the fault's own first one.

    ``redis_views``: of the fault's time. Requests count that were sent from ``began_ms`` to ``until_ms``.
    ``attempts``: arrivals at stand-ins. ``redis_may_go_back``: the
    fault itself takes Redis back to an older copy.
    """

    policy: Policy
    publications: Sequence[Publication]
    first: int
    redis_views: Sequence[RedisView]
    lives: Sequence[ClientLife]
    attempts: Sequence[ledger.Attempt] = ()
    began_ms: int = 0
    until_ms: int = NEVER_MS
    redis_may_go_back: bool = False

    @property
    def counting(self) -> list[RoutesRecord]:
        """Every publication of the run that counts and has a table, in order."""
        return [
            item.record for item in self.publications if item.counts and item.record and item.record.table
        ]


@dataclass
class Finding:
    """What came of the check. ``breaches``: what did not hold, a sentence each."""

    breaches: list[str] = field(default_factory=list)
    sent: int = 0
    succeeded: int = 0
    shed: int = 0
    lost: tuple[str, ...] = ()
    applied: int = 0
    published: int = 0


def check(evidence: Evidence) -> Finding:
    """Looks at everything."""
    finding = Finding(published=sum(item.counts for item in evidence.publications[evidence.first :]))
    for rule in RULES:
        stories = list(rule(evidence))
        finding.breaches += stories[:STORIES_MAX]
        if len(stories) > STORIES_MAX:
            finding.breaches.append(f"and {len(stories) - STORIES_MAX} more like this")
    finding.applied = sum(len(tables) for life in evidence.lives for tables in life.applied().values())
    _count_requests(evidence, finding)
    return finding


def _generations_rise(evidence: Evidence) -> Iterator[str]:
    """A client never goes back within a lineage, nor from one lineage to one that it had left."""
    for life in evidence.lives:
        for workload, tables in life.applied().items():
            generations = [generation_of(table.generation) for table in tables]
            for before, after in pairwise(generations):
                if before.lineage == after.lineage and not after.newer_than(before):
                    yield f"{life.name} {workload} went from {before} to {after}"
            lineages = [generation.lineage for generation in generations]
            turns = [name for name, follower in pairwise(lineages) if name != follower]
            if len(turns) != len(set(turns)) or set(turns) & set(lineages[-1:]):
                yield f"{life.name} {workload} went back to a lineage that it had left: {lineages}"


def _applied_counts(evidence: Evidence) -> Iterator[str]:
    """What a client puts in force is a publication that counts."""
    published = {str(record.generation) for record in evidence.counting}
    for life in evidence.lives:
        for workload, tables in life.applied().items():
            for table in tables:
                if table.generation not in published:
                    yield f"{life.name} {workload} applied {table.generation}, which does not count"


def _tables_are_right(evidence: Evidence) -> Iterator[str]:
    """Each table is whole and lawful. The first one of a take-over is unchanged, so it was judged before."""
    watch = Watch(contracts_of(msgspec.to_builtins(evidence.policy)))
    for item in evidence.publications[evidence.first :]:
        if not item.counts or item.record is None or item.record.table is None:
            continue
        if item.record.generation.seq == 1:
            continue
        facts = _facts(item.record, item.record.table, watch.contracts)
        for name in TABLE_RULES:
            rule, _ = CHECKS[name]
            if (story := rule(watch, facts)) is not None:
                yield f"{item.record.generation}: {name}: {story}"


def _facts(record: RoutesRecord, table: RouteTable, contracts: Contracts) -> TickFacts:
    """The moment of a publication, as far as the rules on single tables ask for it."""
    memories = record.memory.pools if record.memory is not None else {}
    pools = {}
    for name in contracts.pools:
        memory = memories.get(name)
        state_s = (record.published_ms - memory.since_ms) // 1_000 if memory is not None else 0
        pools[name] = PoolFacts(
            memory.state.value if memory is not None else "unknown",
            state_s,
            0.0,
            usable=0.0,
            limit=0.0,
            clean=False,
            untried=False,
            withdrawn_s=-1,
        )
    return TickFacts(
        0,
        table,
        table,
        urgent=False,
        demand={},
        pools=pools,
        group_usable={},
        frozen=frozenset(),
        shares_lifted=frozenset(),
        calm_s=0,
        silent_s=-1,
        took_office_s=NEVER_S,
        lied_s=NEVER_S,
        clients_heard=True,
        steady=True,
        noisy=False,
        panic=_is_panic(pools),
        doubted=frozenset(),
    )


def _is_panic(pools: Mapping[str, PoolFacts]) -> bool:
    """Whether more than half of the providers have all their pools down."""
    providers = {provider_of(name) for name in pools}
    alive = {provider_of(name) for name, pool in pools.items() if pool.state != "down"}
    return 2 * len(providers - alive) > len(providers)


def _take_overs_change_nothing(evidence: Evidence) -> Iterator[str]:
    """The first table of an epoch is the newest that counted before it, with the same memory."""
    before: Publication | None = None
    for index, item in enumerate(evidence.publications):
        if not item.counts or item.generation is None:
            continue
        assert item.record is not None
        is_take_over = before is not None and before.history == item.history and item.epoch > before.epoch
        if is_take_over and index >= evidence.first:
            assert before is not None
            assert before.record is not None
            for fault in take_over_faults(before.record, item.record):
                yield f"{before.generation} -> {item.generation}: {fault}"
        before = item


def _epochs_rise(evidence: Evidence) -> Iterator[str]:
    """Within one history of the log and one epoch, each table that counts is one after the one before."""
    before: Publication | None = None
    for item in evidence.publications:
        if not item.counts or item.generation is None:
            continue
        if before is not None and before.history == item.history and before.generation is not None:
            same_epoch = before.epoch == item.epoch
            if same_epoch and item.generation.seq != before.generation.seq + 1:
                yield f"{item.generation} follows {before.generation}"
        before = item


def _redis_rises(evidence: Evidence) -> Iterator[str]:
    """Redis holds what counts, and goes back only where the fault itself takes it back."""
    published = {str(record.generation) for record in evidence.counting}
    before: Generation | None = None
    for view in evidence.redis_views:
        generation = view.generation
        if generation is None:
            continue
        if str(generation) not in published:
            yield f"Redis held {generation}, which does not count"
        went_back = before is not None and before.newer_than(generation)
        if went_back and not evidence.redis_may_go_back:
            yield f"Redis went from {before} to {generation}"
        before = generation


def _redis_has_the_newest(evidence: Evidence) -> Iterator[str]:
    """In the end Redis holds the newest publication that counts, byte for byte."""
    counting = evidence.counting
    if not counting or not evidence.redis_views:
        yield "nothing was published, or Redis was never looked at"
        return
    newest, view = counting[-1], evidence.redis_views[-1]
    if view.generation != newest.generation:
        yield f"Redis ends with {view.generation or view.trouble}, and {newest.generation} is the newest"
        return
    assert newest.table is not None
    sums = {name: checksum(part) for name, part in slices(newest.table).items()}
    if dict(view.slices) != sums:
        yield f"the slices in Redis are not those of {newest.generation}"


RULES: tuple[Callable[[Evidence], Iterator[str]], ...] = (
    _generations_rise,
    _applied_counts,
    _tables_are_right,
    _take_overs_change_nothing,
    _epochs_rise,
    _redis_rises,
    _redis_has_the_newest,
)


def _count_requests(evidence: Evidence, finding: Finding) -> None:
    """The fate of each request that was sent since the fault began, by its caller and by the stand-ins."""
    calls = _calls_since(evidence)
    results = {name: _result(calls.ends.get(name)) for name in calls.starts}
    reconciliation = ledger.reconcile(results, evidence.attempts)
    finding.sent = len(results)
    finding.succeeded, finding.shed = len(reconciliation.succeeded), len(reconciliation.shed)
    finding.lost = tuple(sorted((*reconciliation.lost, *reconciliation.unproven)))
    for name in finding.lost[:STORIES_MAX]:
        end = calls.ends.get(name)
        why = "it never ended" if end is None else f"{end.status} {end.why}"
        finding.breaches.append(f"request {name} was lost: {why}")
    if len(finding.lost) > STORIES_MAX:
        finding.breaches.append(f"and {len(finding.lost) - STORIES_MAX} more requests were lost")
    if not reconciliation.succeeded:
        finding.breaches.append("no request succeeded while the fault lasted")
    finding.breaches += broken_contracts(evidence.policy, calls, evidence.attempts)


def _calls_since(evidence: Evidence) -> Calls:
    """The requests since the fault began, without those that a killed caller had under way."""
    calls = collect(note for life in evidence.lives for note in life.notes)
    orphans = {
        start.id
        for life in evidence.lives
        if life.killed
        for start in life.starts()
        if start.id not in calls.ends
    }
    starts = {
        name: start
        for name, start in calls.starts.items()
        if evidence.began_ms <= start.at_ms <= evidence.until_ms and name not in orphans
    }
    return msgspec.structs.replace(calls, starts=starts)


def _result(end: RequestEnd | None) -> ledger.CallerResult:
    return ledger.CallerResult("failed") if end is None else ledger.CallerResult(end.outcome, end.status)
