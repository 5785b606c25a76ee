"""On whom it falls when the table sheds a part of a workload."""

from collections import Counter

import pytest

from gateway.fairness import FairShares, fair_level

STEP_MS = 10


def served_of(
    asked_per_s: dict[str, float], shed_share: float, *, weights: dict[str, float] | None = None
) -> dict[str, float]:
    """Requests/s of one unit that each caller is served, after twenty seconds of this."""
    shares, due = FairShares(), dict.fromkeys(asked_per_s, 0.0)
    served: Counter[str] = Counter()
    for now_ms in range(1_000, 31_000, STEP_MS):
        for name, rate in asked_per_s.items():
            due[name] += rate * STEP_MS / 1_000
            while due[name] >= 1.0:
                due[name] -= 1.0
                weight = (weights or {}).get(name, 1.0)
                is_shed = shares.decide(name, weight, 1.0, shed_share=shed_share, now_ms=now_ms)
                served[name] += not is_shed and now_ms >= 21_000
    return {name: served[name] / 10 for name in asked_per_s}


def test_while_nothing_is_short_nobody_decides() -> None:
    """The table's own sequence holds."""
    shares = FairShares()
    assert shares.decide("a", 1.0, 1.0, shed_share=0.0, now_ms=1_000) is None


def test_who_asks_for_little_is_served_whole() -> None:
    """The one that asks for more than its share bears what the table sheds, and no more than that."""
    served = served_of({"small": 10.0, "large": 90.0}, 0.3)
    assert served["small"] == pytest.approx(10.0, rel=0.05)
    assert served["large"] == pytest.approx(60.0, rel=0.05)


def test_those_above_the_level_get_the_same() -> None:
    """However much more than that they ask for."""
    served = served_of({"a": 20.0, "b": 100.0, "c": 200.0}, 0.5)
    assert served["a"] == pytest.approx(20.0, rel=0.06)
    assert served["b"] == pytest.approx(served["c"], rel=0.06)


def test_a_weight_is_a_larger_part() -> None:
    """In proportion."""
    served = served_of({"a": 100.0, "b": 100.0}, 0.4, weights={"a": 3.0})
    assert served["a"] == pytest.approx(90.0, rel=0.06)
    assert served["b"] == pytest.approx(30.0, rel=0.06)


@pytest.mark.parametrize("shed_share", [0.05, 0.3, 0.8])
def test_the_sum_stays_the_tables(shed_share: float) -> None:
    """Fairness sheds neither more nor less than the table says."""
    served = served_of({"a": 5.0, "b": 50.0, "c": 145.0}, shed_share)
    assert sum(served.values()) == pytest.approx(200.0 * (1.0 - shed_share), rel=0.05)


def test_the_level_meets_what_can_be_met() -> None:
    """All of it where there is enough."""
    assert fair_level([(10.0, 1.0), (90.0, 1.0)], 70.0) == 60.0
    assert fair_level([(10.0, 1.0), (20.0, 1.0)], 100.0) == 20.0
    assert fair_level([], 0.0) == 0.0
