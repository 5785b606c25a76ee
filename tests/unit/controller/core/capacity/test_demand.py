"""How much load a route has: what clients report, and until they do, what the policy expects."""

from controller.core.capacity.demand import demand_of
from controller.core.evidence.heard_sources import Reach
from controller.core.model.memo import Memo
from controller.core.policy.compiled import compile_policy
from streams.rows import DemandRow, DemandSecond, FlowSum, Position, Progress
from tests.unit.controller.core.made import LIMITS, NOW_MS, policy, pool


def flows(age_s: int, units: float, requests: int = 1, clients: int = 1) -> DemandSecond:
    """chat/eu asked for so much in one second."""
    flow = FlowSum("chat", "eu", requests, units, shed_requests=0, shed_units=0.0)
    return DemandSecond(NOW_MS - age_s * 1000, clients, (flow,), ())


def demand(*seconds: DemandSecond, reported: tuple[str, ...] = ()) -> tuple[list[float], tuple[str, ...]]:
    """Of chat/eu, in units/s, and which routes are known to be reported."""
    made = policy((pool("azure/a"),))
    expecting = made.workloads[0].__class__("chat", "critical", ("m",), expected_units_per_s={"eu": 70})
    compiled = compile_policy(policy((pool("azure/a"),), (expecting,)))
    rows = (DemandRow(Position("demand", 0, 1), seconds),) if seconds else ()
    reach = Reach((Progress("tieline.demand", 0, 1, 1, NOW_MS),), LIMITS, NOW_MS)
    asked = demand_of(compiled, rows, reach, reported, NOW_MS, Memo())
    return asked.units, asked.reported


def test_demand_is_the_mean_of_the_last_whole_seconds() -> None:
    """The newest second may still be growing."""
    assert demand(flows(3, 100), flows(2, 200), flows(1, 5)) == ([150.0], ("chat/eu",))


def test_the_expectation_counts_only_until_demand_is_reported() -> None:
    """Once reported, no report means no demand."""
    assert demand() == ([70.0], ())
    assert demand(reported=("chat/eu",)) == ([0.0], ("chat/eu",))


def test_a_partition_that_has_gone_silent_has_no_clients() -> None:
    """Its last seconds don't count for ever."""
    assert demand(flows(18, 100), flows(17, 100), reported=("chat/eu",))[0] == [0.0]
    assert demand(flows(15, 100), flows(14, 100), reported=("chat/eu",))[0] == [100.0]


def test_reports_on_their_way_are_not_load_that_has_gone() -> None:
    """Of the last whole second only half of the clients have reported."""
    whole = [flows(age_s, 200, clients=10) for age_s in (5, 4, 3)]
    assert demand(*whole, flows(2, 100, clients=5), flows(1, 10))[0] == [200.0]


def test_a_surge_counts_before_ten_seconds_have_passed() -> None:
    """Three seconds of twice the load are no chance with 100 requests a second, and may be one with 1."""
    before = range(11, 4, -1)
    for requests, units in ((100, 200.0), (1, 130.0)):
        usual = [flows(age_s, 100, requests) for age_s in before]
        surge = [flows(age_s, 200, 2 * requests) for age_s in (4, 3, 2)]
        assert demand(*usual, *surge, flows(1, 1))[0] == [units]
