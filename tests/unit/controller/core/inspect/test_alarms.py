"""Alarms: which faults raise one, and for how long it stands."""

from typing import Any

from msgspec.structs import replace

from controller.core.inspect.alarms import alarms
from controller.core.model.memory import Memory, PoolMemory
from controller.core.model.reasons import Reason, State, Verdict
from controller.core.model.words import sentence
from controller.policy_file import load_policy
from streams.rows import Progress
from tests.scenarios.language import HERE
from tests.scenarios.world import World

GAP_MS = 40_000


def steady_world() -> World:
    """A small installation in steady state."""
    world = World(load_policy(HERE / "policies" / "small.yaml"))
    world.decide()
    for _ in world.run(5_000):
        pass
    return world


def standing(world: World, memory: Memory | None = None) -> list[tuple[str, Reason]]:
    """Subject and reason of each alarm that stands now."""
    verdicts = alarms(world.snapshot(), memory or world.memory or Memory(), world.now_ms)
    return [(alarm.subject, alarm.reason) for alarm in verdicts]


def test_an_installation_without_faults_has_no_alarm() -> None:
    """Nothing stands in steady state."""
    assert standing(steady_world()) == []


def test_a_source_with_a_wrong_clock_has_one_alarm_for_as_long_as_its_reports_count() -> None:
    """However many regions it reports on, it is named once, with its largest gap."""
    world = steady_world()
    world.reporting.of("prober").skew_ms = -GAP_MS
    for _ in world.run(2_000):
        pass
    (alarm,) = alarms(world.snapshot(), Memory(), world.now_ms)
    assert (alarm.subject, alarm.reason, alarm.value) == ("prober", Reason.CLOCK_OR_DELAY, GAP_MS)
    world.now_ms += 13_000
    assert standing(world) == [("prober", Reason.CLOCK_OR_DELAY)]
    world.now_ms += 1_000
    assert standing(world) == []


def test_a_configuration_fault_is_an_alarm_as_long_as_the_pool_is_down() -> None:
    """A pool that is down for another reason has no alarm, nor has one that recovers."""
    world = steady_world()
    down = PoolMemory(State.DOWN, Reason.CONFIGURATION_AUTH)
    pool = "gcp/iowa/gem"
    assert standing(world, Memory(pools={pool: down})) == [(pool, Reason.CONFIGURATION_AUTH)]
    assert standing(world, Memory(pools={pool: replace(down, reason=Reason.CLIENTS_FAILING)})) == []
    assert standing(world, Memory(pools={pool: replace(down, state=State.RECOVERING)})) == []


def test_a_prober_is_to_blame_only_where_clients_are_let_in() -> None:
    """Where clients are refused as well it is not, even before the pool is down, nor while it is down."""
    world = steady_world()
    world.demand["chat", "us"] = 300.0
    for _ in world.run(20_000):
        pass
    pool = world.pools["gcp/iowa/gem"]
    pool.result, pool.errors, pool.probe_errors = "auth", 0.0, 1.0
    for _ in world.run(6_000):
        pass
    reasons = [reason for _, reason in standing(world, Memory())]
    assert set(reasons) == {Reason.SOURCE_REFUSED}
    out = Memory(pools={"gcp/iowa/gem": PoolMemory(State.DOWN, Reason.CONFIGURATION_AUTH)})
    assert standing(world, out) == [("gcp/iowa/gem", Reason.CONFIGURATION_AUTH)]
    pool.errors = 1.0
    for _ in world.run(3_000):
        pass
    assert standing(world, Memory()) == []


def test_a_clock_that_jumped_is_an_alarm() -> None:
    """It concerns the whole table, which is held meanwhile."""
    world = steady_world()
    world.clock_trusted = False
    assert standing(world) == [("table", Reason.CLOCK_JUMPED)]


PARTITION = Progress("tieline.reports", 3, next_offset=5, end_offset=9, at_ms=0)


def reading(**fields: Any) -> list[Verdict]:
    """The alarms of a world in which one partition is read as these fields say; ``at_ms`` and
    ``behind_since_ms`` count from now."""
    world = steady_world()
    times = {name: world.now_ms + fields.pop(name) for name in ("at_ms", "behind_since_ms") if name in fields}
    row = replace(replace(PARTITION, at_ms=world.now_ms), **fields, **times)
    snapshot = replace(world.snapshot(), progress=(row,))
    return list(alarms(snapshot, world.memory or Memory(), world.now_ms))


def test_a_partition_that_is_not_read_to_its_end_is_named_with_its_cause() -> None:
    """After 15 s, with the number of records that nobody has seen; not while it is only a moment behind."""
    assert reading(behind_since_ms=-14_000) == []
    [alarm] = reading(behind_since_ms=-16_000, trouble="Redis is away")
    assert (alarm.subject, alarm.reason) == ("tieline.reports/3", Reason.NOT_READ)
    assert (alarm.value, alarm.because) == (4.0, "Redis is away")
    assert "(4) (Redis is away), for 16 s" in sentence(alarm, alarm.since_ms + 16_000)


def test_a_partition_of_which_nobody_speaks_is_named() -> None:
    """However well it was read when somebody last spoke of it."""
    assert [alarm.reason for alarm in reading(next_offset=9, at_ms=-16_000)] == [Reason.NOT_WATCHED]
    assert reading(next_offset=9, at_ms=-14_000) == []


def test_dead_letters_that_wait_raise_an_alarm_at_once() -> None:
    """Although the partition is read to its end."""
    [alarm] = reading(next_offset=9, letters_waiting=2, trouble="the topic x takes no dead letters")
    assert (alarm.reason, alarm.value) == (Reason.LETTERS_WAIT, 2.0)
    assert alarm.because == "the topic x takes no dead letters"


def test_reports_that_are_skipped_raise_an_alarm_for_their_topic() -> None:
    """When more than half of them are: one alarm for the topic, whatever its partitions."""
    assert reading(next_offset=9, stale_share=0.5) == []
    [alarm] = reading(next_offset=9, stale_share=0.9)
    assert (alarm.subject, alarm.reason, alarm.value) == ("tieline.reports", Reason.REPORTS_SKIPPED, 0.9)
