"""Moves by choice: small ones are left alone, none exceeds the receiver's room, standbys stay warm."""

import pytest

from controller.core.evidence.gather import Evidence
from controller.core.model.memory import Memory
from controller.core.moves.draft import GAINS_LAST, Draft
from controller.core.moves.eligible import Use
from controller.core.moves.reversal import ReversalLimits
from controller.core.moves.voluntary import approach, keep_warm
from controller.core.policy.compiled import compile_policy
from tests.unit.controller.core.made import LIMITS, NOW_MS, draft, limits, policy, pool, probe, seen
from tieline.table import MILLION

RULES = compile_policy(policy((pool("azure/a"), pool("gcp/b"))))
DEMAND = {"chat/eu": 50.0}
FREE = ReversalLimits(Memory(), LIMITS, NOW_MS)


def use(b_usable: float = 100.0, **grades: int) -> Use:
    """Both pools may carry 100 units/s and gain, unless said otherwise."""
    found = limits(RULES, grades={"gcp/b": grades["b"]} if grades else None)
    found.usable[1] = found.committed[1] = b_usable
    return Use(found, list(found.usable), {}, False)


def split(a: int) -> Draft:
    """``a`` parts on azure/a, the rest on gcp/b."""
    given = {"azure/a": a, "gcp/b": MILLION - a}
    return draft(RULES, DEMAND, {"chat/eu": {name: parts for name, parts in given.items() if parts}})


@pytest.mark.parametrize(("wanted", "moved"), [(560_000, 0), (540_000, 60_000), (100_000, 100_000)])
def test_small_differences_stay_and_large_ones_take_steps(wanted: int, moved: int) -> None:
    """Below 5 % nothing moves; above, at most a tenth of the demand at a time."""
    held = split(600_000)
    approach(held, split(wanted), use(), set(), FREE)
    assert held.weights[0][0] == 600_000 - moved


def test_a_step_stays_within_the_receivers_room() -> None:
    """The receiver carries 20 and may carry 22: 4 % of the demand of 50, not 10 %."""
    held = split(600_000)
    approach(held, split(100_000), use(b_usable=22.0), set(), FREE)
    assert held.load[1] <= 22.0
    assert held.weights[0][1] == 440_000


def test_a_route_that_sheds_moves_what_is_served() -> None:
    """One step towards the target; what is shed stays, as moves by choice shed and restore nothing."""
    work = draft(RULES, DEMAND, {"chat/eu": {"azure/a": 600_000, "gcp/b": 200_000}})
    target = draft(RULES, DEMAND, {"chat/eu": {"azure/a": 100_000, "gcp/b": 800_000}})
    approach(work, target, use(), set(), FREE)
    assert (work.weights[0], work.shed[0]) == ({0: 500_000, 1: 300_000}, 200_000)


@pytest.mark.parametrize(
    ("known", "warm"), [({}, 5_000), ({"gcp/b/d": seen(None, probe(ok=1))}, 0)], ids=["unwatched", "probed"]
)
def test_a_standby_that_nobody_watches_gets_a_trickle(known: dict[str, Evidence], warm: int) -> None:
    """Half a percent, so that it is known before it is needed; a prober's look is as good."""
    target = split(MILLION)
    keep_warm(target, use(), known, [100.0])
    assert target.weights[0].get(1, 0) == warm


def test_an_unknown_standby_is_kept_warm_as_well() -> None:
    """That is how it becomes known."""
    target = split(MILLION)
    keep_warm(target, use(b=GAINS_LAST), {}, [100.0])
    assert target.weights[0][1] == 5_000


@pytest.mark.parametrize(
    ("requests_per_s", "warm"), [(0.0, 5_000), (20.0, 5_000), (10.0, 10_000), (2.0, 50_000), (1.0, 50_000)]
)
def test_a_trickle_is_a_request_in_ten_seconds(requests_per_s: float, warm: int) -> None:
    """Half a percent or more, but no more than 5 % of a route for all its standbys."""
    target = split(MILLION)
    keep_warm(target, use(), {}, [requests_per_s])
    assert target.weights[0].get(1, 0) == warm
