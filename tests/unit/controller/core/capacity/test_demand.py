"""How much load a route has: what clients report, and until they do, what the policy expects."""

from controller.core.capacity.demand import Demand, Flow, believed, counted_on, demand_of
from controller.core.evidence.heard_sources import Reach
from controller.core.model.memo import Memo
from controller.core.model.memory import Memory, UnheardLoad
from controller.core.policy.compiled import compile_policy
from controller.core.policy.policy import Workload
from streams.rows import DemandRow, DemandSecond, FlowSum, Position, Progress
from tests.unit.controller.core.made import LIMITS, NOW_MS, policy, pool

NOTHING = Memory()


def flows(
    age_s: int,
    units: float,
    requests: int = 1,
    clients: int = 1,
    *,
    doubtful: float = 0.0,
    unheard: float = 0.0,
) -> DemandSecond:
    """chat/eu asked for so much in one second."""
    flow = FlowSum("chat", "eu", requests, units, 0, 0.0, doubtful, unheard, unheard / 100)
    return DemandSecond(NOW_MS - age_s * 1000, clients, (flow,), ())


def answer(*seconds: DemandSecond, before: Memory = NOTHING, clients: int = 1) -> Demand:
    """Of chat/eu, for which the policy expects 70 units/s; ``clients`` are known to the partition."""
    made = policy((pool("azure/a"),))
    expecting = made.workloads[0].__class__("chat", "critical", ("m",), expected_units_per_s={"eu": 70})
    compiled = compile_policy(policy((pool("azure/a"),), (expecting,)))
    generations = {"lab:1:1": clients} if clients else {}
    rows = (DemandRow(Position("demand", 0, 1), seconds, (), generations),) if seconds else ()
    reach = Reach((Progress("tieline.demand", 0, 1, 1, NOW_MS),), LIMITS, NOW_MS)
    return demand_of(compiled, rows, reach, before, NOW_MS, Memo())


def demand(*seconds: DemandSecond, reported: tuple[str, ...] = ()) -> tuple[list[float], tuple[str, ...]]:
    """Of chat/eu, in units/s, and which routes are known to be reported."""
    asked = answer(*seconds, before=Memory(reported=reported))
    return asked.units, asked.reported


def test_demand_is_the_mean_of_the_last_whole_seconds() -> None:
    """The newest second may still be growing."""
    assert demand(flows(3, 100), flows(2, 200), flows(1, 5)) == ([150.0], ("chat/eu",))


def test_news_of_pools_alone_gives_the_same_demand() -> None:
    """A new row whose load is equal in all whole seconds has the same answer; other load has another."""
    compiled, memo = compile_policy(policy((pool("azure/a"),))), Memo()
    reach = Reach((Progress("tieline.demand", 0, 1, 1, NOW_MS),), LIMITS, NOW_MS)

    def asked(*seconds: DemandSecond) -> Demand:
        rows = (DemandRow(Position("demand", 0, 1), seconds),)
        return demand_of(compiled, rows, reach, NOTHING, NOW_MS, memo)

    first = asked(flows(3, 100), flows(2, 200), flows(1, 5))
    assert asked(flows(3, 100), flows(2, 200), flows(1, 9)) is first
    assert asked(flows(3, 100), flows(2, 250), flows(1, 9)).units == [175.0]


def test_the_expectation_counts_only_until_demand_is_reported() -> None:
    """Once reported, no report means no demand."""
    assert demand() == ([70.0], ())
    assert demand(reported=("chat/eu",)) == ([0.0], ("chat/eu",))


def test_what_a_silent_partition_asked_for_is_counted_on() -> None:
    """Its clients may go on serving, and nobody else has taken their load over."""
    for age_s in (15, 18, 36_000):
        asked = answer(flows(age_s, 100), flows(age_s - 1, 100), before=Memory(reported=("chat/eu",)))
        assert (asked.units, asked.requests) == ([100.0], [1.0])


def test_a_silent_partition_whose_clients_said_goodbye_asks_for_nothing() -> None:
    """Its last seconds don't count for ever."""
    gone = answer(flows(18, 100), flows(17, 100), before=Memory(reported=("chat/eu",)), clients=0)
    assert gone.units == [0.0]
    assert answer(flows(15, 100), flows(14, 100), clients=0).units == [100.0]


def test_what_was_not_credible_is_not_counted_on_once_its_partition_is_silent() -> None:
    """A liar that has gone would otherwise have load shed for an hour."""
    said = [flows(age_s, 1200, doubtful=900) for age_s in (18, 17)]
    assert answer(*said, before=Memory(reported=("chat/eu",))).units == [300.0]


def test_what_silent_clients_asked_for_is_counted_on_beside_what_is_heard() -> None:
    """Up to what there was before they fell silent; it is remembered, and forgotten with their return."""
    early = [flows(age_s, 400) for age_s in range(19, 11, -1)]
    late = [flows(age_s, 300, unheard=90) for age_s in range(11, 0, -1)]
    asked = answer(*early, *late)
    assert asked.units == [390.0]
    assert asked.unheard == (UnheardLoad("chat/eu", 400.0, 90.0),)
    again = answer(*late, before=Memory(reported=("chat/eu",), unheard=asked.unheard))
    assert again.unheard is asked.unheard
    assert answer(flows(2, 400), flows(1, 400), before=Memory(unheard=asked.unheard)).unheard == ()


def test_load_that_others_took_over_is_not_counted_twice() -> None:
    """What is heard is as much as before the silence, so the silent are gone, also once less is heard."""
    silent = UnheardLoad("chat/eu", 400.0, 90.0)
    over = counted_on(silent, "chat/eu", 385.0, Flow(385.0, unheard_units=90.0), LIMITS)
    assert over == UnheardLoad("chat/eu", 400.0, 90.0, gone=90.0)
    assert over.of(200.0, 90.0) == 0.0
    partly = counted_on(silent, "chat/eu", 350.0, Flow(350.0, unheard_units=90.0), LIMITS)
    assert partly is silent
    assert partly.of(350.0, 90.0) == 50.0


def test_clients_that_fall_silent_later_were_heard_before() -> None:
    """More is unheard: all of it counts beside what is heard; less is: as much less is known to be gone."""
    first = UnheardLoad("chat/eu", 400.0, 90.0, gone=90.0)
    more = counted_on(first, "chat/eu", 300.0, Flow(300.0, unheard_units=190.0), LIMITS)
    assert more is not None
    assert more.of(300.0, 190.0) == 100.0
    less = counted_on(first, "chat/eu", 300.0, Flow(300.0, unheard_units=50.0), LIMITS)
    assert less == UnheardLoad("chat/eu", 400.0, 50.0, gone=50.0)
    assert counted_on(first, "chat/eu", 300.0, Flow(300.0, unheard_units=1.0), LIMITS) is None


def test_clients_that_are_only_late_are_not_counted_twice() -> None:
    """As much is heard as ten seconds ago, so nobody has fallen silent, whatever seemed so meanwhile."""
    usual = [flows(age_s, 400, unheard=90) for age_s in range(19, 11, -1)]
    late = [flows(age_s, 400, unheard=190 if age_s == 5 else 0) for age_s in range(11, 0, -1)]
    assert answer(*usual, *late).units == [400.0]
    first = UnheardLoad("chat/eu", 400.0, 20.0, gone=20.0)
    again = counted_on(first, "chat/eu", 400.0, Flow(400.0, unheard_units=190.0, earlier=400.0), LIMITS)
    assert again is not None
    assert again.of(400.0, 190.0) == 0.0


def test_of_what_is_doubtful_a_third_of_the_rest_counts() -> None:
    """Or what the policy expects, if that is more; never more than is claimed."""
    assert believed(Flow(300.0, doubtful=1e15), 0.0, LIMITS) == 100.0
    assert believed(Flow(300.0, doubtful=20.0), 0.0, LIMITS) == 20.0
    assert believed(Flow(0.0, doubtful=1e15), 70.0, LIMITS) == 70.0
    assert believed(Flow(60.0, doubtful=1e15), 70.0, LIMITS) == 20.0
    assert demand(flows(3, 1e15 + 300, doubtful=1e15), flows(2, 5))[0] == [400.0]


def test_a_lie_does_not_end_what_the_policy_expects() -> None:
    """The expectation counts until somebody credible has reported, also beside a claim and after it."""
    lied = answer(flows(3, 20, doubtful=20), flows(2, 20, doubtful=20), flows(1, 5))
    assert (lied.units, lied.reported) == ([70.0], ())
    silent = FlowSum("chat", "eu", 0, 0.0, 0, 0.0, 0.0, 0.0, 1.0)
    after = answer(*(DemandSecond(NOW_MS - age_s * 1000, 1, (silent,), ()) for age_s in (3, 2, 1)))
    assert (after.units, after.reported) == ([70.0], ())
    assert answer(flows(3, 0, 0), flows(2, 0, 0), flows(1, 0, 0)).units == [0.0]


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


def test_a_partition_is_silent_for_an_hour_at_most_if_others_are_heard() -> None:
    """After that its clients have ended without a goodbye."""
    compiled = compile_policy(policy((pool("azure/a"),), (Workload("chat", "critical", ("m",)),)))
    progress = tuple(Progress("tieline.demand", number, 1, 1, NOW_MS) for number in (0, 1))
    reach = Reach(progress, LIMITS, NOW_MS)
    heard = DemandRow(Position("demand", 1, 1), (flows(2, 50), flows(1, 50)), (), {"lab:1:1": 1})
    for age_s, units in ((3_600, 150.0), (3_601, 50.0)):
        seconds = (flows(age_s + 1, 100), flows(age_s, 100))
        silent = DemandRow(Position("demand", 0, 1), seconds, (), {"lab:1:1": 1})
        assert demand_of(compiled, (silent, heard), reach, NOTHING, NOW_MS, Memo()).units == [units]
