"""A drill begins only when all is quiet, ends at the first sign of harm, and is measured."""

import msgspec
import pytest
from msgspec.structs import replace

from controller.core.drilling.rule import FORGOTTEN_AFTER_MS, objective_for
from controller.core.drilling.words import CAUSES, OUTCOMES, outcome_words, return_words
from controller.core.model.drill import DrillCause, DrillMemory, DrillOutcome, DrillPhase
from controller.core.model.memory import Memory
from controller.core.policy.check import faults
from controller.core.policy.policy import Policy, RecoveryObjective, Source, version_of
from tests.scenarios.world import World
from tests.unit.controller.core.made import policy, pool, workload
from tieline.events import Command, Verb

MINUTE_MS = 60_000
POLICY = replace(
    policy(
        (
            pool("azure/r", committed=300.0, limit=300.0),
            pool("gcp/r", committed=300.0, limit=300.0, latency_ms=100.0),
            pool("oci/r", committed=300.0, limit=300.0, latency_ms=100.0),
        ),
        (workload("chat"), workload("batch", "sheddable")),
        headroom=0.8,
    ),
    sources=(Source("fleet", "fleet"), Source("prober", "probe")),
)


def quiet_world(rules: Policy = POLICY, *, chat: float = 200.0, batch: float = 40.0) -> World:
    """Three providers, all healthy, and load that two of them can carry."""
    world = World(rules)
    world.demand = {("chat", "eu"): chat, ("batch", "eu"): batch}
    world.decide()
    list(world.run(40_000))
    return world


def give(world: World, verb: Verb, scope: str, *, minutes: int = 10) -> None:
    """An order by kim, in force from now on."""
    until_ms = world.now_ms + minutes * MINUTE_MS
    order = Command(f"{verb}-{world.now_ms}", verb, scope, "kim", "practice", world.now_ms, until_ms)
    world.commands.append(order)


def drilled(world: World, *, seconds: int = 6) -> DrillMemory:
    """The drill of azure after some seconds."""
    give(world, "drill", "azure")
    list(world.run(seconds * 1_000))
    return the_drill(world)


def the_drill(world: World) -> DrillMemory:
    """The newest drill that is remembered."""
    assert world.memory is not None
    return world.memory.drills[-1]


def azure_load(world: World) -> float:
    """Units/s that the table sends to azure."""
    return world.load()["azure/r/d"]


def test_a_drill_empties_its_pools_and_measures_how_long_that_took() -> None:
    """Three seconds here: a table, a second that clients report, and one in which nothing comes."""
    world = quiet_world()
    assert azure_load(world) > 0
    drill = drilled(world)
    assert (drill.phase, drill.outcome) == (DrillPhase.EMPTY, DrillOutcome.NONE)
    assert azure_load(world) == 0
    assert 0 < drill.recovery_ms <= 4_000


def test_clients_that_keep_the_old_table_are_waited_for() -> None:
    """The pools are empty once 99 % of the reporting clients use a table without them."""
    world = quiet_world()
    give(world, "drill", "azure")
    next(iter(world.run(1_000)))
    assert world.memory is not None
    world.memory = replace(world.memory, drills=(replace(the_drill(world), emptied="made:99:1"),))
    list(world.run(5_000))
    drill = the_drill(world)
    assert (drill.phase, drill.recovered_ms) == (DrillPhase.EMPTYING, 0)


def test_it_ends_by_itself_and_the_load_returns() -> None:
    """And it is forgotten once nobody asks any more."""
    world = quiet_world()
    drilled(world)
    list(world.run(10 * MINUTE_MS))
    drill = the_drill(world)
    assert drill.outcome is DrillOutcome.SUCCEEDED
    list(world.run(2 * MINUTE_MS))
    drill = the_drill(world)
    assert (drill.phase, drill.return_ms > 0) == (DrillPhase.OVER, True)
    assert azure_load(world) > 0
    list(world.run(FORGOTTEN_AFTER_MS))
    assert world.memory is not None
    assert world.memory.drills == ()


@pytest.mark.parametrize(
    ("objective_s", "outcome", "cause"),
    [(60, DrillOutcome.SUCCEEDED, DrillCause.NONE), (1, DrillOutcome.FAILED, DrillCause.TOO_SLOW)],
)
def test_the_recovery_time_is_held_against_the_objective(
    objective_s: int, outcome: DrillOutcome, cause: DrillCause
) -> None:
    """A drill that took longer has failed."""
    world = quiet_world(replace(POLICY, objectives=(RecoveryObjective("azure", objective_s),)))
    drilled(world)
    list(world.run(10 * MINUTE_MS))
    drill = the_drill(world)
    assert (drill.outcome, drill.cause, drill.objective_s) == (outcome, cause, objective_s)


def test_pools_that_are_not_empty_by_the_end_make_a_drill_fail() -> None:
    """As when clients never report that they use the table."""
    world = quiet_world()
    give(world, "drill", "azure", minutes=1)
    next(iter(world.run(1_000)))
    assert world.memory is not None
    stuck = replace(the_drill(world), emptied="made:99:1")  # a generation that nobody reaches
    world.memory = replace(world.memory, drills=(stuck,))
    list(world.run(MINUTE_MS))
    drill = the_drill(world)
    assert (drill.outcome, drill.cause) == (DrillOutcome.FAILED, DrillCause.NOT_EMPTIED)


def test_the_narrowest_objective_counts() -> None:
    """That of the whole table, of the provider or of the region."""
    table, azure, region = (
        RecoveryObjective("*", 300),
        RecoveryObjective("azure", 60),
        RecoveryObjective("azure/r", 20),
    )
    objectives = (azure, table, region)
    assert objective_for("azure/r", objectives) is region
    assert objective_for("azure", objectives) is azure
    assert objective_for("gcp", objectives) is table
    assert objective_for("gcp", (azure,)) is None


@pytest.mark.parametrize(("chat", "batch"), [(500.0, 100.0), (460.0, 240.0)])
def test_nothing_moves_when_the_others_have_no_room(chat: float, batch: float) -> None:
    """Neither where load would stay, nor where less critical load would be shed to make way."""
    world = quiet_world(chat=chat, batch=batch)
    before = world.table
    drill = drilled(world)
    assert drill.outcome is DrillOutcome.CAPACITY_CHECK_FAILED
    assert drill.phase is DrillPhase.OVER
    assert drill.value > 0
    assert before is not None
    assert world.table is not None
    assert [route.split for route in world.table.routes] == [route.split for route in before.routes]


@pytest.mark.parametrize("verb", ["freeze", "drain", "evacuate"])
def test_no_drill_begins_beside_an_order_that_holds_traffic_back(verb: Verb) -> None:
    """And such an order ends a drill that runs."""
    world = quiet_world()
    give(world, verb, "gcp")
    next(iter(world.run(1_000)))
    drill = drilled(world)
    assert (drill.outcome, drill.cause) == (DrillOutcome.NOT_STARTED, DrillCause.ORDER)
    assert drill.about == f"{verb} gcp, by kim"
    world = quiet_world()
    assert drilled(world).is_emptying
    give(world, verb, "gcp")
    next(iter(world.run(1_000)))
    assert the_drill(world).outcome is DrillOutcome.INTERRUPTED


def test_no_drill_begins_soon_after_a_pool_fell_ill() -> None:
    """Later it may, though the pool is still ill: the capacity check does not count on it."""
    world = quiet_world(chat=100.0)
    world.pools["oci/r/d"].errors = 1.0
    list(world.run(30_000))
    drill = drilled(world)
    assert (drill.outcome, drill.cause, drill.about) == (
        DrillOutcome.NOT_STARTED,
        DrillCause.POOL_ILL,
        "oci/r/d",
    )
    list(world.run(10 * MINUTE_MS))
    world.commands.clear()
    assert drilled(world).is_emptying


def test_one_drill_runs_at_a_time() -> None:
    """A second one begins only once the load of the first is back."""
    world = quiet_world()
    assert drilled(world).is_emptying
    give(world, "drill", "gcp")
    next(iter(world.run(1_000)))
    second = the_drill(world)
    assert (second.scope, second.cause) == ("gcp", DrillCause.OTHER_DRILL)
    assert world.memory is not None
    assert world.memory.drills[0].is_emptying


def test_no_drill_begins_without_load_to_move() -> None:
    """There would be nothing to measure."""
    world = quiet_world()
    give(world, "drain", "azure", minutes=1)
    list(world.run(MINUTE_MS - 1_000))
    drill = drilled(world, seconds=1)
    assert (drill.outcome, drill.cause) == (DrillOutcome.NOT_STARTED, DrillCause.NO_LOAD)


def test_a_drill_ends_in_the_decision_that_sees_harm() -> None:
    """The pools that it had emptied take part in that decision's moves."""
    world = quiet_world()
    drilled(world)
    world.pools["gcp/r/d"].errors = 1.0
    for _ in world.run(10_000):
        if the_drill(world).outcome:
            break
    drill = the_drill(world)
    assert (drill.outcome, drill.cause, drill.about) == (
        DrillOutcome.INTERRUPTED,
        DrillCause.POOL_ILL,
        "gcp/r/d",
    )
    assert azure_load(world) > 0


def test_what_was_ill_before_ends_no_drill() -> None:
    """Only what is new is a sign of harm."""
    world = quiet_world(chat=100.0)
    world.pools["oci/r/d"].errors = 1.0
    list(world.run(11 * MINUTE_MS))
    drill = drilled(world, seconds=60)
    assert (drill.phase, "oci/r/d down" in drill.faults_before) == (DrillPhase.EMPTY, True)


def test_load_is_not_shed_for_a_drill() -> None:
    """When demand grows beyond the room that is left, the drill ends before anything is shed."""
    world = quiet_world()
    drilled(world)
    world.demand["chat", "eu"] = 620.0
    list(world.run(15_000))
    assert the_drill(world).cause is DrillCause.WOULD_SHED
    assert world.table is not None
    assert not any(route.split.shed for route in world.table.routes)


def test_a_drill_ends_when_one_more_loss_would_shed_critical_load() -> None:
    """It was not so when the pools had become empty. No load is shed yet."""
    world = quiet_world(chat=150.0, batch=0.0)
    drill = drilled(world)
    assert drill.is_emptying
    world.demand["chat", "eu"] = 400.0
    list(world.run(2 * MINUTE_MS))
    drill = the_drill(world)
    assert (drill.cause, drill.outcome) == (DrillCause.NO_N_MINUS_1, DrillOutcome.INTERRUPTED)
    assert drill.about in ("gcp", "oci")


def test_another_policy_ends_a_drill() -> None:
    """What was checked was checked under the policy before."""
    world = quiet_world()
    drilled(world)
    world.policy = replace(world.policy, headroom=0.7)
    next(iter(world.run(1_000)))
    assert the_drill(world).cause is DrillCause.POLICY


def test_a_policy_without_objectives_keeps_its_version() -> None:
    """The new fields are left out of its encoding."""
    assert version_of(replace(POLICY, objectives=())) == version_of(POLICY)
    assert version_of(replace(POLICY, objectives=(RecoveryObjective("azure", 60),))) != version_of(POLICY)


def test_objectives_name_what_the_policy_has_and_each_once() -> None:
    """As every scope in a policy."""
    objectives = (RecoveryObjective("azure", 60), RecoveryObjective("azure", 30), RecoveryObjective("aws", 9))
    mistakes = faults(replace(POLICY, objectives=objectives))
    assert [(fault.path, fault.text) for fault in mistakes] == [
        (("objectives", 1, "scope"), "azure already has objectives[0]"),
        (("objectives", 2, "scope"), "no pool lies in aws; * stands for all"),
    ]


def test_memory_without_drills_is_written_as_before() -> None:
    """So recorded decisions keep their bytes."""
    assert b"drills" not in msgspec.msgpack.encode(Memory())


def test_every_outcome_and_cause_has_its_words() -> None:
    """For people; programs compare the codes."""
    assert set(CAUSES) == set(DrillCause) - {DrillCause.NONE}
    assert set(OUTCOMES) == set(DrillOutcome)
    drill = DrillMemory(
        "d1",
        "gcp",
        "kim",
        reason="practice",
        began_ms=1_000_000,
        until_ms=1_600_000,
        objective_s=60,
        recovered_ms=1_003_000,
        ended_ms=1_100_000,
        outcome=DrillOutcome.INTERRUPTED,
        cause=DrillCause.POOL_ILL,
        about="oci/r/d",
        returned_ms=1_141_000,
    )
    assert outcome_words(drill) == (
        "drill gcp was interrupted: oci/r/d is ill; its pools were empty after 3 s (objective 60 s)"
    )
    assert return_words(drill) == "after drill gcp the load was back after 41 s"
