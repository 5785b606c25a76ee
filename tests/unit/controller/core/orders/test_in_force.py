"""What orders mean to a decision: whose word counts, what it releases, what is said of it."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from controller.core.assessment import assess
from controller.core.evidence.finding import SILENT, Finding, Kind
from controller.core.guards.last_look import GUARDS
from controller.core.inspect.explain import explain
from controller.core.inspect.what_if import WhatIfQuestion, what_if
from controller.core.lp.problem import problem_of
from controller.core.lp.solve import solve
from controller.core.model.memo import Memo
from controller.core.model.reasons import Reason, State, Verdict
from controller.core.model.words import sentence
from controller.core.moves.draft import GAINS, KEEPS
from controller.core.orders.in_force import NO_ORDERS, orders_in_force, with_verdicts
from controller.core.orders.overridable import NEVER, OVERRIDABLE
from controller.core.planner import step
from controller.core.policy.compiled import compile_policy, rules_in_force
from controller.core.policy.policy import Policy, Provider, QuotaGroup, Source
from tests.scenarios.world import START_MS, World
from tests.unit.controller.core.made import NOW_MS, policy, pool, workload
from tieline.events import Command, Verb
from tieline.table import MILLION

HOUR_MS = 3_600_000
AZURE, GCP = "azure/r/d", "gcp/r/d"
TWO = policy((pool("azure/r"), pool("gcp/r")))


def order(verb: Verb, scope: str = "*", at_ms: int = NOW_MS, **more: str) -> Command:
    """Kim's, for an hour."""
    made = Command(f"{verb}-{scope}-{at_ms}", verb, scope, "kim", "why", at_ms, at_ms + HOUR_MS)
    return replace(made, **more)


def world_of(given: Policy, **demand: float) -> World:
    """Settled, with capacity stated, probers that look everywhere, and load as given for eu."""
    world = World(replace(given, sources=(Source("fleet", "fleet"), Source("prober", "probe"))))
    world.demand = {(name, "eu"): units for name, units in demand.items()}
    world.voluntary_after_ms = START_MS + 5_000  # a prober has spoken of every pool by then
    world.decide()
    list(world.run(40_000))
    world.said.clear()
    return world


def of(world: World, *reasons: Reason) -> list[Verdict]:
    """What was said for these reasons."""
    return [verdict for verdict in world.said if verdict.reason in reasons]


def share(world: World, name: str, route: int = 0) -> float:
    """A pool's share of a route."""
    assert world.table is not None
    split = world.table.routes[route].split
    parts = dict(zip(split.pools, split.weights, strict=True))
    return parts.get([info.pool for info in world.table.pools].index(name), 0) / MILLION


def test_every_guard_says_whether_it_can_be_overridden() -> None:
    """A guard that is added needs a name here: overridable, or never."""
    assert {guard.__name__ for guard in GUARDS} <= {*OVERRIDABLE, *NEVER}
    assert not OVERRIDABLE.keys() & NEVER.keys()


def test_the_narrowest_scope_counts_then_the_last_word() -> None:
    """A pool's own order before its provider's, before the whole table's; later before earlier."""
    compiled = compile_policy(TWO)
    given = (
        order("verdict", GCP, state="healthy"),
        order("verdict", "gcp", NOW_MS + 5, state="down"),
        order("freeze", "*"),
        order("freeze", "gcp"),
        order("freeze", "gcp", NOW_MS + 1),
    )
    found = orders_in_force(compiled, given, NOW_MS + 10, Memo())
    assert {index: one.state for index, one in found.verdicts.items()} == {1: "healthy"}
    assert {index: one.id for index, one in found.frozen.items()} == {0: given[2].id, 1: given[4].id}


def test_an_order_ends_by_itself_and_says_when() -> None:
    """To the millisecond; the decision wakes for it."""
    compiled = compile_policy(TWO)
    given = (order("freeze"),)
    assert orders_in_force(compiled, given, NOW_MS, Memo()).due_ms == NOW_MS + HOUR_MS
    assert orders_in_force(compiled, given, NOW_MS + HOUR_MS, Memo()) is NO_ORDERS
    world = world_of(TWO, chat=50.0)
    world.commands = [order("freeze", at_ms=world.now_ms)]
    world.commands[0] = replace(world.commands[0], expires_ms=world.now_ms + 1_700)
    assert (step(world.snapshot(), world.now_ms).wake_ms or 0) <= world.now_ms + 1_700


def test_a_verdict_outranks_the_finding_but_not_what_was_measured() -> None:
    """Kind and reason are the operator's; the share of attempts that succeed stays as clients saw it."""
    compiled = compile_policy(TWO)
    seen = Finding(Kind.BAD, Reason.CLIENTS_FAILING, 0.7, 0.5, success=0.3, evidence_ms=NOW_MS)
    findings = {AZURE: seen, GCP: seen}
    verdicts = orders_in_force(
        compiled, (order("verdict", "azure", state="healthy"),), NOW_MS, Memo()
    ).verdicts
    found = with_verdicts(compiled, findings, verdicts, NOW_MS)
    assert (found[AZURE].kind, found[AZURE].reason) == (Kind.GOOD, Reason.OPERATOR_VERDICT)
    assert (found[AZURE].success, found[AZURE].until_ms) == (0.3, NOW_MS + HOUR_MS)
    assert found[GCP] is seen
    assert with_verdicts(compiled, findings, {}, NOW_MS) is findings
    assert with_verdicts(compiled, {}, verdicts, NOW_MS)[AZURE].success is SILENT.success


def test_a_lasting_verdict_gives_nothing_new_to_remember_each_second() -> None:
    """An outage by verdict grows in steps, so that a drill of a day is not a day of publications."""
    world = world_of(TWO, chat=50.0)
    world.commands = [order("verdict", GCP, world.now_ms, state="down")]
    list(world.run(60_000))
    changed = sum(ready.memory_changed for ready in world.run(60_000))
    assert changed <= 60_000 // TWO.thresholds.verdict_step_ms + 1


def test_failback_lets_a_pool_return_from_this_outage_alone() -> None:
    """An order given before a pool went down says nothing of that outage."""
    compiled = compile_policy(TWO)
    found = orders_in_force(compiled, (order("failback", "gcp"),), NOW_MS, Memo())
    assert found.releases(1, NOW_MS)
    assert not found.releases(1, NOW_MS + 1)
    assert not found.releases(0, NOW_MS)


@pytest.mark.parametrize("mode", ["observe", "recommend"])
def test_shared_quota_is_made_room_in_by_others(mode: str) -> None:
    """Over a quota group's limit, load leaves the pools that may be acted on and no other."""
    given = policy(
        (pool("azure/a", group="g"), pool("gcp/a", group="g"), pool("oci/a")),
        groups=(QuotaGroup("g", 200.0),),
    )
    providers = tuple(replace(one, mode=mode) if one.id == "azure" else one for one in given.providers)
    world = world_of(replace(given, providers=providers), chat=240.0)
    before = share(world, "azure/a/d")
    assert before > 0
    world.policy = replace(world.policy, quota_groups=(QuotaGroup("g", 100.0),))
    list(world.run(3_000))
    assert share(world, "azure/a/d") == before
    assert share(world, "gcp/a/d") == pytest.approx(20 / 240, abs=0.001)


def test_no_trickle_is_taken_off_a_pool_that_may_not_be_touched() -> None:
    """A standby that nobody probes is kept warm at the expense of others, or not at all."""
    given = policy((pool("azure/a", limit=200.0, committed=200.0), pool("gcp/a", committed=0.0, price=9.0)))
    for frozen in (True, False):
        world = world_of(given, chat=50.0)
        world.pools["gcp/a/d"].probed = False
        world.reporting.reports.clear()
        if frozen:
            world.commands = [order("freeze", "azure", world.now_ms)]
        list(world.run(30_000))
        assert (share(world, "gcp/a/d") == 0) == frozen


def test_what_a_mode_holds_back_names_the_move_and_its_reason() -> None:
    """From which share to which and why, and nothing comes of it; approved, it is done and no longer said."""
    providers = (Provider("azure"), Provider("gcp", "recommend"))
    world = world_of(replace(TWO, providers=providers), chat=60.0)
    before = share(world, GCP)
    assert before > 0
    world.pools[GCP].errors = 1.0
    list(world.run(6_000))
    assert share(world, GCP) == before
    last = of(world, Reason.MODE_RECOMMEND)[-1]
    assert (last.subject, last.before, last.after) == (GCP, f"{before:.1%}", "0.0%")
    assert last.because == Reason.CLIENTS_AND_PROBES_FAILING
    assert "until an operator approves" in sentence(last, world.now_ms)
    world.commands = [order("approve", "gcp", world.now_ms)]
    world.said.clear()
    list(world.run(2_000))
    assert share(world, GCP) == 0
    assert not of(world, Reason.MODE_RECOMMEND)


def test_nobody_approves_a_provider_that_is_only_observed() -> None:
    """Observe says what would be done; an approval, wherever it comes from, changes nothing."""
    world = world_of(replace(TWO, providers=(Provider("azure"), Provider("gcp", "observe"))), chat=60.0)
    before = share(world, GCP)
    world.pools[GCP].errors = 1.0
    world.commands = [order("approve", "gcp", world.now_ms)]
    list(world.run(6_000))
    assert share(world, GCP) == before > 0


def _stale(world: World) -> None:
    world.silent_sources = {"fleet"}
    list(world.run(40_000))
    world.pools[AZURE].errors = 1.0


def _unheard(world: World) -> None:
    world.commands.append(replace(order("drain", "gcp", world.now_ms), expires_ms=world.now_ms + 2_000))
    list(world.run(1_000))
    world.silent_sources = {"prober"}
    list(world.run(30_000))


@pytest.mark.parametrize(
    ("guard", "happens", "subject"),
    [("fresh_capacity", _stale, GCP), ("sources_unheard", _unheard, "table")],
)
def test_an_override_that_lets_a_move_pass_says_so(
    guard: str, happens: Callable[[World], None], subject: str
) -> None:
    """The guard's name, who, why and until when, in the decision."""
    world = world_of(TWO, chat=60.0)
    happens(world)
    held = world.now_ms
    world.commands = [order("override", at_ms=held, guard=guard)]
    before = share(world, GCP)
    list(world.run(12_000))
    assert share(world, GCP) > before
    said = of(world, Reason.GUARD_OVERRIDDEN)[0]
    assert (said.subject, said.after, said.because) == (subject, guard, "kim: why")
    assert (said.since_ms, said.until_ms) == (held, held + HOUR_MS)


def test_share_limits_are_lifted_for_the_named_provider_alone() -> None:
    """In what is decided at once and in what the solver is asked."""
    work = workload("chat", provider_share_max={"azure": 0.2, "gcp": 0.3})
    given = policy((pool("azure/r"), pool("gcp/r"), pool("oci/r", limit=20.0, committed=20.0)), (work,))
    compiled = compile_policy(given)
    memo = Memo()
    lifted = rules_in_force(compiled, frozenset({1}), frozenset(), {}, memo)
    assert lifted.routes[0].share_max == {0: 0.2}
    assert rules_in_force(compiled, frozenset({1}), frozenset(), {}, memo) is lifted
    assert rules_in_force(compiled, frozenset(), frozenset(), {}, memo) is compiled
    world = world_of(given, chat=80.0)
    world.commands = [order("override", "gcp", world.now_ms, guard="provider_share")]
    asked = problem_of(world.snapshot(), world.now_ms)
    assert asked.unshared == (1,)
    plan = solve(compile_policy(world.policy), asked).plan
    bound = solve(compile_policy(world.policy), replace(asked, unshared=())).plan
    shares = [
        dict(zip(found.targets[0].pools, found.targets[0].weights, strict=True)) for found in (plan, bound)
    ]
    assert [found[1] <= 0.3 * MILLION for found in shares] == [False, True]


def test_a_plan_leaves_what_is_frozen_where_it_is() -> None:
    """The dispatch is asked to move neither onto nor off a frozen pool."""
    world = world_of(TWO, chat=80.0)
    world.commands = [order("freeze", "gcp", world.now_ms)]
    assert problem_of(world.snapshot(), world.now_ms).grade == (GAINS, KEEPS)


def test_a_mode_holds_nothing_back_that_a_freeze_forbids() -> None:
    """What would not be done anyway is not recommended."""
    dear = policy((pool("azure/r"), pool("gcp/r", committed=0.0, price=9.0)))
    world = world_of(dear, chat=80.0)
    drain = replace(order("drain", "azure", world.now_ms), expires_ms=world.now_ms + 2_000)
    world.commands = [drain]
    providers = (Provider("azure", "recommend"), Provider("gcp"))
    world.policy = replace(world.policy, providers=providers)
    list(world.run(4_000))
    assert of(world, Reason.MODE_RECOMMEND)
    world.said.clear()
    world.commands = [order("freeze", "azure", world.now_ms)]
    list(world.run(2_000))
    assert not of(world, Reason.MODE_RECOMMEND)


def test_explain_names_every_order_that_speaks_of_a_pool() -> None:
    """Whose, why, since and until when, beside what the mode forbids."""
    world = world_of(replace(TWO, providers=(Provider("azure"), Provider("gcp", "recommend"))), chat=60.0)
    at_ms = world.now_ms
    world.commands = [
        order("freeze", at_ms=at_ms),
        order("verdict", GCP, at_ms, state="degraded"),
        order("override", "gcp", at_ms, guard="fresh_capacity"),
    ]
    compiled = explain(world.snapshot(), at_ms).pools[GCP].rules
    named = {(verdict.reason, verdict.because) for verdict in compiled}
    assert named >= {
        (Reason.MODE_RECOMMEND, ""),
        (Reason.FROZEN, "kim: why"),
        (Reason.OPERATOR_VERDICT, "kim: why"),
        (Reason.GUARD_OVERRIDDEN, "kim: why"),
    }
    world.commands.append(order("approve", "gcp", at_ms))
    approved = {verdict.reason for verdict in explain(world.snapshot(), at_ms).pools[GCP].rules}
    assert Reason.APPROVED in approved
    assert Reason.MODE_RECOMMEND not in approved


def test_a_freeze_is_why_a_pool_gets_nothing() -> None:
    """Load would come to it by choice; the freeze and its giver are named."""
    world = world_of(policy((pool("azure/r"), pool("gcp/r", committed=0.0, price=9.0))), chat=50.0)
    at_ms = world.now_ms
    drain = replace(order("drain", "azure", at_ms), expires_ms=at_ms + 2_000)
    world.commands = [drain, order("freeze", "gcp", at_ms)]
    list(world.run(5_000))
    found = explain(world.snapshot(), world.now_ms).routes["chat/eu"].nothing[AZURE]
    assert (found.verdict.reason, found.verdict.because) == (Reason.FROZEN, "kim: why")


def test_what_if_keeps_within_the_modes() -> None:
    """A loss elsewhere leaves an observed provider's load where it is, and brings it none."""
    world = world_of(replace(TWO, providers=(Provider("azure"), Provider("gcp", "observe"))), chat=60.0)
    loads = {row.pool: row for row in what_if(world.snapshot(), world.now_ms, WhatIfQuestion((AZURE,))).pools}
    assert loads[GCP].after == loads[GCP].before > 0


def test_a_verdict_down_leaves_do_no_harm_in_force() -> None:
    """Without an alternative a pool that clients succeed at goes on serving; a drain is what empties it."""
    world = world_of(policy((pool("azure/r"),)), chat=60.0)
    world.commands = [order("verdict", AZURE, world.now_ms, state="down")]
    list(world.run(5_000))
    assert world.memory is not None
    assert world.memory.pools[AZURE].state is State.DOWN
    assert share(world, AZURE) == 1.0
    known = assess(world.snapshot(), world.now_ms)
    assert known.use.lost == {0: 1.0}
    assert world.now_ms > START_MS
