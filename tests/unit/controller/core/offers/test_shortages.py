"""What is short by the plan: now, after one loss, and after the growth that the policy names."""

from msgspec.structs import replace

from controller.core.offers.shortages import Shortage, shortages
from controller.core.policy.compiled import compile_policy
from controller.core.policy.offer_rules import OfferRules
from tests.unit.controller.core.made import policy, pool, workload
from tests.unit.controller.core.offers.asking import asking_policy, plan, short_by

RULES = OfferRules()
COMPILED = compile_policy(asking_policy())
DEMAND = [1_000.0, 0.0]


def test_only_one_loss_is_to_be_survived() -> None:
    """Of several losses the worst counts; the classes of load that one loss strikes add up."""
    short = plan(
        short_by(80),
        replace(short_by(30), routes=("api/eu",)),
        short_by(90, lost="azure"),
        short_by(10, geographies=("eu", "us")),
    )
    assert shortages(COMPILED, short, DEMAND, RULES) == (
        Shortage(("eu",), "n_minus_1", ("api", "chat"), 110, "oci"),
        Shortage(("eu", "us"), "n_minus_1", ("chat",), 10, "oci"),
    )


def test_load_that_is_turned_away_now_is_short_where_it_may_go() -> None:
    """In units/s of the demand of now."""
    (shortage,) = shortages(COMPILED, plan(shed=50_000), DEMAND, RULES)
    assert shortage == Shortage(("eu", "us"), "shed", ("chat",), 50)


def test_the_cause_that_is_short_of_most_counts() -> None:
    """And the more pressing one where both are short of the same."""
    here = ("eu", "us")
    more = plan(short_by(60, geographies=here), shed=50_000)
    assert shortages(COMPILED, more, DEMAND, RULES)[0].cause == "n_minus_1"
    same = plan(short_by(50, geographies=here), shed=50_000)
    assert shortages(COMPILED, same, DEMAND, RULES)[0].cause == "shed"
    growth = plan(short_by(10), grown=(short_by(40), short_by(30, lost="")))
    assert shortages(COMPILED, growth, DEMAND, RULES) == (Shortage(("eu",), "growth", ("chat",), 40, "oci"),)


def test_less_critical_load_is_asked_for_only_if_the_policy_says_so() -> None:
    """It is shed so that critical load is not, which is no reason to buy."""
    compiled = compile_policy(policy((pool("azure/a"),), (workload("batch", "sheddable"),)))
    assert shortages(compiled, plan(shed=50_000), DEMAND, RULES) == ()
    rules = OfferRules(least_criticality="sheddable")
    assert shortages(compiled, plan(shed=50_000), DEMAND, rules) == (
        Shortage(("eu",), "shed", ("batch",), 50),
    )


def test_rounding_is_no_shortage() -> None:
    """Less than half a unit/s."""
    assert shortages(COMPILED, plan(short_by(0.49)), DEMAND, RULES) == ()


def test_load_that_no_capacity_would_help_is_left_out() -> None:
    """What only the lost provider may serve, and the rest of it is still seen."""
    exclusive = replace(short_by(90, lost="azure"), routes=("api/eu",))
    assert shortages(COMPILED, plan(exclusive), DEMAND, RULES) == ()
    both = plan(exclusive, short_by(30, lost="azure"))
    assert shortages(COMPILED, both, DEMAND, RULES) == (
        Shortage(("eu",), "n_minus_1", ("chat",), 30, "azure"),
    )
