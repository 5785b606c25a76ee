"""The last resort that a table leaves with: the policy's lawful list without what is withdrawn or faulty."""

from controller.core.assessment import assess
from controller.core.inspect.explain import explain
from controller.core.model.reasons import Reason
from controller.core.moves.draft import KEEPS, OUT
from controller.core.moves.eligible import Use
from controller.core.moves.held_table import HeldTable
from controller.core.moves.last_resort import last_resort_changes, last_resorts
from controller.core.policy.compiled import compile_policy
from controller.core.policy.policy import Origin
from controller.policy_file import load_policy
from tests.scenarios.language import HERE
from tests.scenarios.world import World
from tests.unit.controller.core.made import limits, policy, pool, workload
from tieline.events import Command

LONDON = "oci/london/oss"
RULES = compile_policy(
    policy(
        (pool("azure/a"), pool("gcp/b"), pool("oci/c", geography="us")),
        (
            workload("chat", last_resort=("oci/c/d", "gcp/b/d", "azure/a/d")),
            workload("api", exclusive="azure", last_resort=("azure/a/d", "gcp/b/d")),
            workload("none"),
        ),
        origins=(Origin("eu", ("eu",)), Origin("us")),
    )
)


def use(grades: dict[str, int], lost: dict[int, float] | None = None) -> Use:
    """What the pools may be used for."""
    return Use(limits(RULES, grades=grades), [100.0] * 3, lost or {}, False)


def test_each_route_has_the_lawful_part_of_the_policys_list_in_its_order() -> None:
    """What an origin's residency or a contract forbids is none of it."""
    named = {rule.name: rule.last_resort for rule in RULES.routes}
    assert (named["chat/eu"], named["chat/us"]) == ((1, 0), (2, 1, 0))
    assert (named["api/eu"], named["none/eu"]) == ((0,), ())
    assert last_resorts(RULES, use({})) == [rule.last_resort for rule in RULES.routes]


def test_withdrawn_and_faulty_pools_leave_it_and_those_that_are_down_stay() -> None:
    """A pool that is out and not for its health is not to be tried; one whose capacity is unknown may be."""
    names = [rule.name for rule in RULES.routes]
    eu = dict(zip(names, last_resorts(RULES, use({"gcp/b": OUT})), strict=True))["chat/eu"]
    assert eu == (0,)
    down = dict(zip(names, last_resorts(RULES, use({"gcp/b": OUT}, {1: 0.0})), strict=True))["chat/eu"]
    assert down == (1, 0)
    keeps = dict(zip(names, last_resorts(RULES, use({"gcp/b": KEEPS})), strict=True))["chat/eu"]
    assert keeps == (1, 0)


def drain(made: World, seconds: int) -> None:
    """London is drained for so long."""
    until_ms = made.now_ms + seconds * 1_000
    made.commands.append(Command(str(until_ms), "drain", "oci", "root", "patching", made.now_ms, until_ms))


def world() -> World:
    """The scenarios' world, at rest; london is known and carries nothing."""
    made = World(load_policy(HERE / "policies" / "resort.yaml"))
    made.decide()
    for one in made.policy.workloads:
        for origin in made.policy.origins:
            made.demand[one.id, origin.id] = one.expected_units_per_s[origin.id]
    list(made.run(60_000))
    drain(made, 10)
    list(made.run(120_000))
    return made


def test_what_changed_is_found_by_pool() -> None:
    """Nothing in a world at rest."""
    made = world()
    compiled = compile_policy(made.policy)
    assert made.table is not None
    before, known = HeldTable(compiled, made.table), assess(made.snapshot(), made.now_ms)
    now = last_resorts(compiled, known.use)
    assert last_resort_changes(before, now) == (set(), set())
    london = compiled.pool_index[LONDON]
    without = [tuple(pool for pool in pools if pool != london) for pools in now]
    assert last_resort_changes(before, without) == ({london}, set())
    assert last_resort_changes(before, [(london, *pools) for pools in without])[1] == {london}


def test_it_is_explained_by_route() -> None:
    """As the table in force has it."""
    made = world()
    routes = explain(made.snapshot(), made.now_ms).routes
    assert routes["chat/eu"].last_resort == (LONDON, "azure/sweden/gpt")
    assert routes["api/eu"].last_resort == ()


def test_a_drain_of_a_last_resort_without_weight_is_published_at_once_and_alone() -> None:
    """Urgent, once; untouched splits stay the very objects that they were; its end is not urgent."""
    made = world()
    assert made.table is not None
    before = made.table
    number = [info.pool for info in before.pools].index(LONDON)
    splits = [split for route in before.routes for split in (route.split, *route.on_loss.values())]
    assert all(number not in split.pools for split in splits)
    drain(made, 30)
    ready = made.decide()
    assert ready.table is not None
    assert ready.urgent
    assert [verdict.because for verdict in ready.decisions if verdict.reason is Reason.LAST_RESORT_LEFT] == [
        "drained"
    ]
    for was, now in zip(before.routes, ready.table.routes, strict=True):
        assert now.split is was.split
        assert now.on_loss is was.on_loss
        assert number not in now.last_resort
    assert all(one.table is None for one in made.run(29_000))
    (back,) = (one for one in made.run(3_000) if one.table is not None)
    assert not back.urgent
    assert back.table is not None
    assert [route.last_resort for route in back.table.routes] == [
        route.last_resort for route in before.routes
    ]
