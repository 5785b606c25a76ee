"""What a world is held to after a long quiet time, and what may by design last longer."""

from typing import Any

import pytest
from msgspec.structs import replace

from controller.core.model.memory import PoolMemory, Shift
from controller.core.model.reasons import Reason, State
from controller.core.policy.policy import Provider, Source, Workload
from controller.core.policy.thresholds import Thresholds
from lab.sim.spec import FuzzWorld, Occurrence
from lab.system.convergence import Convergence, EndState, convergence, must_converge, twin_of
from lab.system.generate import QUIET_S, generate_system
from lab.system.spec import MachineFault, SystemWorld
from tests.unit.lab.system.endings import AT_MS, DEAR, HEALTHY, NAMES, PAID, SMALL, end, policy
from tieline.table import MILLION

BEST = {PAID: MILLION}
OBSERVING = tuple(Provider(name, "observe" if name == "gcp" else "act") for name in ("azure", "gcp", "oci"))


def judged(world: EndState, twin: EndState | None = None, **changes: Any) -> Convergence:
    """Against a twin that is as good as it can be."""
    return convergence(policy(**changes), world, twin or end(BEST))


def down(hold_until_ms: int = 0, **changes: Any) -> dict[str, PoolMemory]:
    """The small pool is down since long ago."""
    memory = PoolMemory(State.DOWN, Reason.NO_PROGRESS, since_ms=1, hold_until_ms=hold_until_ms)
    return {SMALL: replace(memory, **changes)}


def test_the_same_table_is_as_good() -> None:
    """And so is another one of the same cost."""
    assert judged(end(BEST)) == Convergence()
    assert judged(end({PAID: 900_000, SMALL: 100_000})) == Convergence()


@pytest.mark.parametrize(
    ("parts", "twin", "says"),
    [
        ({PAID: 500_000, DEAR: 500_000}, BEST, "what is placed costs 10000 points/s more"),
        ({PAID: 900_000}, BEST, "sheddable_plus and more critical load: 100 shed, 0 in the twin"),
        ({PAID: 800_000, SMALL: 200_000}, BEST, "pools carry 100 more than is usable, and none does"),
    ],
)
def test_a_worse_table_is_a_breach(parts: dict[str, int], twin: dict[str, int], says: str) -> None:
    """That costs more, sheds more, or overloads a pool."""
    (fault,) = judged(end(parts), end(twin)).faults
    assert fault.startswith(says)


def test_what_moves_by_choice_leave_alone_is_no_breach() -> None:
    """A twentieth of a route, and a fiftieth that is shed."""
    assert judged(end({PAID: 955_000, DEAR: 45_000})) == Convergence()
    assert judged(end({PAID: 985_000})) == Convergence()
    assert judged(end({PAID: 930_000, DEAR: 70_000})).faults


def test_a_better_table_is_no_breach() -> None:
    """The twin is no optimum."""
    assert judged(end(BEST), end({DEAR: MILLION})) == Convergence()


def test_what_is_in_place_in_the_twin_may_fill_a_pool_to_its_limit() -> None:
    """What was shed comes back only to a part of it: so much more may be shed."""
    ours, theirs = {PAID: 593_750, DEAR: 356_250}, {PAID: 625_000, DEAR: 375_000}
    assert judged(end(ours, 2_000.0), end(theirs, 2_000.0)) == Convergence()
    assert judged(end({PAID: 593_750, DEAR: 300_000}, 2_000.0), end(theirs, 2_000.0)).faults


def test_load_that_still_moves_is_a_breach() -> None:
    """In the last minute."""
    (fault,) = judged(end(BEST, moved_ms=AT_MS - 59_000)).faults
    assert fault == "load still moved 59 s before the end"
    assert judged(end(BEST, moved_ms=AT_MS - 61_000)) == Convergence()


def test_a_pool_that_should_be_usable_again_is_a_breach() -> None:
    """Its hold-down is over, or its ramp has stopped."""
    (fault,) = judged(end(BEST, pools=down(AT_MS - 40_000))).faults
    assert fault.startswith("oci/eu/small has been down for ")
    halted = {SMALL: PoolMemory(State.RECOVERING, since_ms=1, ramp_since_ms=AT_MS - 70_000)}
    assert judged(end(BEST, pools=halted), sources=(Source("prober", "probe"),)).faults
    assert not judged(end(BEST, pools=halted)).faults  # nobody has seen it succeed
    assert judged(end(BEST, pools={SMALL: replace(HEALTHY, state=State.DEGRADED)})).faults


def test_a_pool_that_nobody_looks_at_is_rightly_unknown() -> None:
    """Load that it carries in the twin can't be judged then; all other load can."""
    unknown = {SMALL: replace(HEALTHY, state=State.UNKNOWN)}
    assert judged(end(BEST, pools=unknown), sources=(Source("prober", "probe"),)).faults
    assert judged(end({SMALL: 60_000, PAID: 940_000}, pools=unknown)).faults
    assert judged(end(BEST, pools=unknown)) == Convergence()
    assert judged(end({DEAR: MILLION}, pools=unknown)).faults
    result = judged(end(BEST, pools=unknown), end({PAID: 900_000, SMALL: 100_000}))
    assert result.unjudged[0].startswith("oci/eu/small is not known to be healthy")


def test_a_pool_that_is_down_by_right_is_no_breach() -> None:
    """While it is held down, and where a person must let it return. All else is judged as ever."""
    held, over = down(AT_MS + 60_000), down(AT_MS - 100_000)
    manual = (Provider("azure"), Provider("gcp"), Provider("oci", failback="manual"))
    assert judged(end(BEST, pools=held)) == Convergence()
    assert judged(end(BEST, pools=over), providers=manual) == Convergence()
    assert judged(end({DEAR: MILLION}, pools=held)).faults


@pytest.mark.parametrize(
    ("memory", "says"),
    [
        (PoolMemory(State.RECOVERING, since_ms=1, ramp_since_ms=AT_MS - 10_000), "climbs its ramp"),
        (replace(HEALTHY, since_ms=AT_MS - 10_000), "has been healthy only since"),
        (replace(HEALTHY, throttled_ms=AT_MS - 100_000), "met a limit"),
        (replace(HEALTHY, near_limit_ms=AT_MS - 100_000), "met a limit"),
        (replace(HEALTHY, lump_since_ms=1), "has new capacity"),
    ],
)
def test_a_pool_whose_capacity_still_changes_leaves_the_load_unjudged(memory: PoolMemory, says: str) -> None:
    """Wherever that lies."""
    result = judged(end({DEAR: MILLION}, pools={PAID: memory}))
    assert not result.faults
    assert says in result.unjudged[0]


def test_limits_that_were_met_long_ago_bind_no_more() -> None:
    """And what had to move for them has moved."""
    memory = replace(HEALTHY, throttled_ms=AT_MS - 300_000)
    assert judged(end({DEAR: MILLION}, pools={PAID: memory})).faults


@pytest.mark.parametrize("age_ms", [100_000, 299_000, 420_000])
def test_a_share_that_must_not_be_moved_back_yet_is_no_breach(age_ms: int) -> None:
    """For 300 s, and until steps by choice have had their time."""
    parts = {PAID: 500_000, DEAR: 500_000}
    shift = Shift(0, NAMES.index(DEAR), rose=True, parts=500_000, at_ms=AT_MS - age_ms)
    assert judged(end(parts, shifts=(shift,))).unjudged == (
        "chat/eu at gcp/eu/dear is not moved back by choice for 300 s",
    )


def test_a_share_that_may_be_moved_back_is_judged() -> None:
    """Each turn has doubled the time."""
    parts = {PAID: 500_000, DEAR: 500_000}
    fell = Shift(0, 0, rose=False, parts=500_000, at_ms=AT_MS - 440_000)
    assert judged(end(parts, shifts=(fell,))).faults
    assert judged(end(parts, shifts=(replace(fell, turns=1),))).unjudged
    beyond = replace(fell, parts=400_000, at_ms=AT_MS - 1_000)
    assert judged(end(parts, shifts=(replace(beyond, rose=True),))).faults


def test_where_load_is_shed_its_places_are_not_weighed() -> None:
    """It takes the room that there is, and stays there. What is not shed must still be served."""
    ours, theirs = end({DEAR: 625_000, PAID: 300_000}, 2_000.0), end({DEAR: 300_000, PAID: 625_000}, 2_000.0)
    assert judged(ours, theirs).unjudged[0].startswith("load is shed")


def test_more_failure_domains_than_the_dispatch_weighs_are_not_judged() -> None:
    """Which of them it weighs depends on the way there."""
    first, *others = policy().pools
    regions = [replace(others[1], id=f"oci/r{number}/small") for number in range(18)]
    pools = (first, others[0], *regions)
    world, twin = (
        state._replace(memory=replace(state.memory, pools={pool.id: HEALTHY for pool in pools}))
        for state in (end({DEAR: MILLION}), end(BEST))
    )
    few = {pool.id: HEALTHY for pool in pools[:10]}
    assert "failure domains" in convergence(policy(pools=pools), world, twin).unjudged[0]
    world = world._replace(memory=replace(world.memory, pools=few))
    assert convergence(policy(pools=pools[:10]), world, twin).faults


def test_load_outside_mode_act_is_left_alone() -> None:
    """Nothing moves onto it or off it."""
    result = judged(end({PAID: 500_000, DEAR: 500_000}), providers=OBSERVING)
    assert result.unjudged[0].startswith("gcp/eu/dear keeps what it has")
    same = {PAID: 900_000, DEAR: 100_000}
    assert judged(end(same), end(same), providers=OBSERVING) == Convergence()


def test_what_no_client_ever_asked_for_counts_as_it_is_expected() -> None:
    """In the planner's eyes the twin fills the paid pool beyond the part to which shed load comes back."""
    expected = (Workload("chat", "sheddable_plus", models=("gpt",), expected_units_per_s={"eu": 1_250.0}),)
    ours, theirs = end({PAID: 950_000}, 0.0), end(BEST, 0.0)
    ours, theirs = (state._replace(memory=replace(state.memory, reported=())) for state in (ours, theirs))
    assert judged(ours, theirs, workloads=expected) == Convergence()
    lost = ours._replace(table=end({PAID: 900_000}).table)
    assert judged(lost, theirs, workloads=expected).faults


def test_demand_that_is_not_believed_leaves_the_load_unjudged() -> None:
    """As where clients have not asked yet for what they ask for in the twin."""
    doubted = end({DEAR: MILLION}, doubted=frozenset({"chat/eu"}))
    assert "is not believed" in judged(doubted).unjudged[0]
    silent = end({DEAR: MILLION})
    silent = silent._replace(memory=replace(silent.memory, reported=()))
    assert "not asked yet" in judged(silent).unjudged[0]


def _world(
    *occurrences: Occurrence, quiet_s: int = 480, faults: tuple[MachineFault, ...] = ()
) -> SystemWorld:
    fuzz = FuzzWorld(
        "1", policy(), {"chat/eu": 1.0}, occurrences=occurrences, seconds=500, shares=(1.0,), real={}
    )
    return SystemWorld("1", fuzz, faults, quiet_s=quiet_s)


def test_only_worlds_that_end_in_a_long_quiet_time_must_converge() -> None:
    """Whatever lasts is part of the world to which it would have to converge."""
    assert must_converge(_world(Occurrence("drain", 10, for_s=10)))
    assert not must_converge(_world(quiet_s=30))
    assert not must_converge(_world(Occurrence("drain", 10, for_s=0)))
    assert not must_converge(_world(Occurrence("drain", 10, for_s=60)))
    assert not must_converge(_world(faults=(MachineFault("kafka_down", 10.0, for_s=60.0),)))


def test_generated_worlds_with_the_long_quiet_time_must_converge() -> None:
    """All that befalls them is over before. It is long enough for shares to be moved back by choice."""
    worlds = [generate_system(str(number)) for number in range(100, 400)]
    long = [world for world in worlds if world.quiet_s == max(QUIET_S)]
    assert long
    assert all(must_converge(world) for world in long)
    thresholds = Thresholds()
    steps_ms = thresholds.shift_period_ms / thresholds.shift_share_max
    assert max(QUIET_S) * 1_000 >= thresholds.reversal_ms + steps_ms


def test_nothing_happens_in_a_twin_but_that_lost_pools_stay_out() -> None:
    """So that all other load can be compared."""
    world = _world(Occurrence("errors", 10, SMALL, for_s=5), faults=(MachineFault("killed", 7.0),))
    twin = twin_of(world, end(BEST, pools=down()))
    assert twin.fuzz.occurrences == (Occurrence("drain", 0, SMALL),)
    assert (twin.faults, twin.seconds) == ((), 180)
