"""What a table is worth, by the points of docs/dispatch.md."""

from typing import Any

import pytest

from lab.system.worth import Scales, Worth
from tests.unit.lab.system.endings import DEAR, NAMES, PAID, SMALL, group_of_all, policy, table
from tieline.table import MILLION

ALL = frozenset(NAMES)


def worth(
    parts: dict[str, int], units: float = 1_000.0, criticality: str = "sheddable", **changes: Any
) -> Worth:
    """Of a table with these parts."""
    scales = Scales(policy(criticality, **changes), {"chat/eu": units}, ALL, bound=ALL)
    return scales.worth(table(parts))


def test_paid_capacity_costs_only_its_latency() -> None:
    """A tenth of a second costs a tenth of a point for each unit."""
    assert worth({PAID: MILLION}).costs == {
        "first refusal": 0.0,
        "security": 0.0,
        "burst": 0.0,
        "latency": pytest.approx(100.0),
    }


def test_burst_costs_ten_points_and_its_price() -> None:
    """The dearest costs ten more, and others in proportion; what a commitment pays for costs nothing more."""
    assert worth({DEAR: MILLION}).costs["burst"] == pytest.approx(20_000)
    assert worth({SMALL: 200_000, PAID: 800_000}).costs["burst"] == pytest.approx(100 * 12)


def test_burst_beside_the_holder_of_the_first_refusal_costs_more_than_any_price() -> None:
    """Its own does not."""
    assert worth({DEAR: MILLION}, first_refusal="azure").costs["first refusal"] == pytest.approx(2_000_000)
    assert worth({DEAR: MILLION}, first_refusal="gcp").costs["first refusal"] == 0.0
    assert worth({DEAR: MILLION}, first_refusal="lambda").costs["first refusal"] == 0.0


def test_critical_load_without_room_after_a_loss_costs() -> None:
    """Each pool is its provider and its region at once, which is one loss. After that of the paid pool the
    dear one takes over what it may carry; after that of the dear pool all has room."""
    spread = {PAID: 600_000, DEAR: 400_000}
    assert worth(spread, 1_000.0, "critical").costs["security"] == 0.0
    assert worth(spread, 1_500.0, "critical").costs["security"] == pytest.approx(100 * 400 + 100 * 400)
    assert worth(spread, 1_500.0, "critical_plus").costs["security"] == pytest.approx(1.5 * 80_000)
    assert worth(spread, 1_500.0, "sheddable_plus").costs["security"] == 0.0


def test_a_quota_group_bounds_what_pools_take_over() -> None:
    """Of 1,250 units/s 1,000 are usable. What moves within the group has room there again."""
    assert worth({PAID: MILLION}, 900.0, "critical", **group_of_all(1_250.0)).costs["security"] == 0.0
    short = worth({PAID: MILLION}, 900.0, "critical", **group_of_all(625.0)).costs["security"]
    assert short == pytest.approx(100 * 400)


def test_load_beyond_what_is_usable_is_told() -> None:
    """Up to a twentieth stays where it is. What is in place may fill the last part of the headroom."""
    little, much, full = (worth({PAID: MILLION}, units) for units in (1_040.0, 1_100.0, 1_250.0))
    assert [little.above, little.beyond] == pytest.approx([0.0, 40.0])
    assert [much.above, much.packed] == pytest.approx([100.0, 0.0])
    assert full.packed == pytest.approx(62.5)


def test_a_full_quota_group_is_told_as_well() -> None:
    """It has headroom as a pool has."""
    assert worth({PAID: MILLION}, 600.0, **group_of_all(600.0)).packed == pytest.approx(30.0)


def test_what_is_shed_counts_by_criticality() -> None:
    """Of a rank and of all more critical ones."""
    shed = worth({PAID: 900_000}, criticality="critical").shed
    assert shed == pytest.approx((0.0, 100.0, 100.0, 100.0))
