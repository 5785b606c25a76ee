"""One decision: ``step(snapshot, now_ms) -> Ready``. Pure: the same snapshot gives the same bytes."""

from controller.core.compiled import Compiled, compiled
from controller.core.draft import GAINS, Draft, Limits
from controller.core.memory import Memory
from controller.core.model import Ready, Snapshot
from controller.core.reasons import Reason, Verdict
from tieline.table import MILLION, Generation, Route, RouteTable, Split


def step(snapshot: Snapshot, now_ms: int) -> Ready:
    """What to do now, given everything that is known."""
    memory = snapshot.memory or Memory()
    rules = compiled(snapshot.policy)
    if snapshot.table is not None or not snapshot.office.settled:
        return Ready(memory, None, ())
    draft = _first(rules)
    table = _table(rules, draft, snapshot, now_ms)
    said = Verdict("table", Reason.FIRST_TABLE, now_ms)
    return Ready(Memory(rules.version), table, (said,), urgent=True, memory_changed=True)


def _first(rules: Compiled) -> Draft:
    policy = rules.policy
    share = policy.thresholds.first_table_share
    usable = [pool.committed_units_per_s * share for pool in policy.pools]
    groups = [group.limit_units_per_s * share for group in policy.quota_groups]
    demand = [route.expected_units_per_s for route in rules.routes]
    draft = Draft(rules, demand, [{} for _ in rules.routes], [0 for _ in rules.routes])
    limits = Limits(usable, usable, [GAINS] * len(usable), groups)
    for route in rules.by_rank:
        draft.shed_parts(route, draft.place(route, MILLION, limits))
    return draft


def _table(rules: Compiled, draft: Draft, snapshot: Snapshot, now_ms: int) -> RouteTable:
    office = snapshot.office
    routes = []
    for index, route in enumerate(rules.routes):
        held = sorted(draft.weights[index].items())
        split = Split(tuple(p for p, _ in held), tuple(w for _, w in held), draft.shed[index])
        why = Reason.SHED_NO_ROOM.value if split.shed else ""
        routes.append(Route(route.workload, route.origin, route.criticality, split, why))
    generation = Generation(office.lineage, office.epoch, office.next_seq)
    return RouteTable(generation, now_ms, rules.infos, tuple(routes), rules.policy.clients)
