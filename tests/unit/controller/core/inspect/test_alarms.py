"""What a person must look at, and for how long."""

from msgspec.structs import replace

from controller.core.inspect.alarms import alarms
from controller.core.model.memory import Memory, PoolMemory
from controller.core.model.reasons import Reason, State
from controller.policy_file import load_policy
from tests.scenarios.language import HERE
from tests.scenarios.world import World

GAP_MS = 40_000


def world() -> World:
    """In steady state."""
    made = World(load_policy(HERE / "policies" / "small.yaml"))
    made.decide()
    for _ in made.run(5_000):
        pass
    return made


def said(made: World, memory: Memory | None = None) -> list[tuple[str, Reason]]:
    """Each alarm's subject and reason."""
    found = alarms(made.snapshot(), memory or made.memory or Memory(), made.now_ms)
    return [(alarm.subject, alarm.reason) for alarm in found]


def test_a_well_installation_has_none() -> None:
    """Nothing is raised for nothing."""
    assert said(world()) == []


def test_a_source_is_named_once_with_its_largest_gap() -> None:
    """However many regions it reports on; and only while that is news."""
    made = world()
    made.reporting.of("prober").skew_ms = -GAP_MS
    for _ in made.run(2_000):
        pass
    (alarm,) = alarms(made.snapshot(), Memory(), made.now_ms)
    assert (alarm.subject, alarm.reason, alarm.value) == ("prober", Reason.CLOCK_OR_DELAY, GAP_MS)
    made.now_ms += 13_000
    assert said(made) == [("prober", Reason.CLOCK_OR_DELAY)]
    made.now_ms += 1_000
    assert said(made) == []


def test_configuration_faults_last_as_long_as_the_pool_is_out() -> None:
    """Any other reason to be down is none for an alarm."""
    made = world()
    down = PoolMemory(State.DOWN, Reason.CONFIGURATION_AUTH)
    assert said(made, Memory(pools={"gcp/iowa/gem": down})) == [("gcp/iowa/gem", Reason.CONFIGURATION_AUTH)]
    assert said(made, Memory(pools={"gcp/iowa/gem": replace(down, reason=Reason.CLIENTS_FAILING)})) == []
    assert said(made, Memory(pools={"gcp/iowa/gem": replace(down, state=State.RECOVERING)})) == []


def test_a_clock_that_jumped_is_an_alarm() -> None:
    """The table is held meanwhile."""
    made = world()
    made.clock_trusted = False
    assert said(made) == [("table", Reason.CLOCK_JUMPED)]
