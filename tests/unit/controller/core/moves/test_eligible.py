"""What a pool may be used for, given its state, its capacity and what is ordered."""

import pytest
from msgspec.structs import replace

from controller.core.assessment import assess
from controller.core.capacity.usable import capacities
from controller.core.model.memo import Memo
from controller.core.model.memory import Memory, PoolMemory
from controller.core.model.reasons import State
from controller.core.moves.draft import GAINS, GAINS_LAST, GAINS_LATE, KEEPS, OUT
from controller.core.moves.eligible import Use, eligible
from controller.core.orders.claims import Claims
from controller.core.policy.compiled import compile_policy
from controller.core.policy.policy import QuotaGroup
from controller.policy_file import load_policy
from streams.demand import DemandFold
from tests.places import SMALL_POLICY
from tests.scenarios.world import World
from tests.unit.controller.core.capacity.statements import FLEET, statement, taken_together
from tests.unit.controller.core.made import NOW_MS, policy
from tests.unit.controller.core.made import pool as pool_of
from tieline.events import Command

SMALL = SMALL_POLICY
GCP = "gcp/netherlands/gem"


def world(seconds: int = 20) -> World:
    """The scenarios' small world after a while: every pool states 1,500 units/s, headroom is 80 %."""
    made = World(load_policy(SMALL))
    made.decide()
    made.demand |= {("chat", "eu"): 600.0, ("chat", "us"): 300.0, ("batch", "eu"): 400.0}
    for _ in made.run(seconds * 1000):
        pass
    return made


def use_of(made: World) -> Use:
    """What the next decision would rest on."""
    return assess(made.snapshot(), made.now_ms).use


def grade_of(made: World, pool: str = GCP) -> int:
    return use_of(made).limits.grade[list(made.pools).index(pool)]


def usable_of(made: World, pool: str = GCP) -> float:
    return use_of(made).limits.usable[list(made.pools).index(pool)]


def remembered(made: World, *pools: str, **fields: object) -> None:
    """As if the planner remembered this of the pools."""
    assert made.memory is not None
    held = dict(made.memory.pools)
    for pool in pools:
        held[pool] = PoolMemory(**fields)  # type: ignore[arg-type]
    made.memory = replace(made.memory, pools=held)


def lost(made: World, *providers: str, errors: float) -> None:
    """Every pool of the providers is down since a moment ago, and meets this share of errors."""
    pools = [pool for pool in made.pools if pool.split("/")[0] in providers]
    for pool in pools:
        made.pools[pool].errors = errors
    for _ in made.run(6_000):
        pass
    made.memory = made.memory or Memory()
    assert all(made.memory.pools[pool].state is State.DOWN for pool in pools)


def test_a_fifth_of_every_limit_is_kept_free() -> None:
    """A healthy pool may gain, up to its limit x headroom."""
    made = world()
    assert grade_of(made) == GAINS
    assert usable_of(made) == pytest.approx(1500 * 0.8)


def test_limits_that_alone_have_changed_count_at_once() -> None:
    """Of the pool, or of its quota group, while nothing else is new."""
    compiled = compile_policy(
        policy((pool_of("azure/a", limit=200, group="g"),), groups=(QuotaGroup("g", 300),), sources=FLEET)
    )
    memo, memories, headroom = Memo(), {"azure/a/d": PoolMemory()}, compiled.policy.headroom
    for limit, group in ((150.0, 100.0), (140.0, 100.0), (140.0, 50.0)):
        stated = taken_together(compiled, statement(limit, group=group))
        caps = capacities(compiled, stated, memories, NOW_MS, memo)
        limits = eligible(compiled, memories, {}, caps, Claims({}, {}, None), memo).limits
        assert limits.usable == [limit * headroom]
        assert limits.group_usable == [group * headroom]


def test_a_recovering_pool_may_carry_its_ramps_share() -> None:
    """On the second step a tenth, before headroom."""
    made = world()
    remembered(made, GCP, state=State.RECOVERING, ramp_step=1, ramp_since_ms=made.now_ms)
    assert usable_of(made) == pytest.approx(1500 * 0.8 * 0.1)


def test_a_degraded_pool_counts_as_what_succeeds_and_comes_late() -> None:
    """Three of ten attempts fail: seven tenths of its capacity, and only what no healthy pool takes."""
    made = world()
    made.pools[GCP].errors = 0.3
    for _ in made.run(5_000):
        pass
    assert grade_of(made) == GAINS_LATE
    assert usable_of(made) < 1500 * 0.8 * 0.8


def test_an_unknown_pool_gains_last() -> None:
    """Nobody looks at it: critical load that would be shed, and nothing else, may go there."""
    made = world()
    made.pools["oci/london/oss"].probed = False
    remembered(made, "oci/london/oss", state=State.UNKNOWN)
    reports = made.reporting.reports
    made.reporting.reports = {key: row for key, row in reports.items() if "oci" not in key}
    made.reporting.sums = DemandFold()
    assert grade_of(made, "oci/london/oss") == GAINS_LAST


def test_a_pool_without_fresh_capacity_keeps() -> None:
    """Whoever stated its capacity is silent beyond what he stated."""
    made = world()
    made.pools[GCP].stated = None
    for _ in made.run(40_000):
        pass
    assert grade_of(made) == KEEPS


def test_a_drained_pool_is_out_and_keeps_nothing() -> None:
    """Whatever its health."""
    made = world()
    made.commands.append(
        Command("one", "drain", "gcp", "root", "patching", made.now_ms, made.now_ms + 60_000)
    )
    assert grade_of(made) == OUT
    assert use_of(made).keeps[list(made.pools).index(GCP)] == 0.0


@pytest.mark.parametrize(
    ("providers", "errors", "grade"),
    [(("gcp",), 0.7, OUT), (("azure", "gcp"), 0.7, KEEPS), (("azure", "gcp"), 1.0, OUT)],
    ids=["one of three lost", "two of three lost", "two of three dead"],
)
def test_beyond_half_of_the_providers_what_still_succeeds_stays_in(
    providers: tuple[str, ...], errors: float, grade: int
) -> None:
    """Two of three are down: a pool that serves three of ten keeps its load, a dead one does not."""
    made = world()
    lost(made, *providers, errors=errors)
    assert grade_of(made) == grade
