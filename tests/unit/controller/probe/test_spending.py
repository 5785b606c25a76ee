"""Probes cost no more than their budget: they become rarer, and in the end none goes out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.probe.spending import MS_PER_HOUR, PRICE_ASSUMED, Cycle, Ledger, cost_of

CYCLE = Cycle(rounds=30, round_cost=0.0001, long_cost=0.0006)


def test_a_probe_costs_its_tokens_at_the_price_of_its_pool() -> None:
    """A pool without a price counts as a dear one."""
    assert cost_of(1_000_000, 5.0) == 5.0
    assert cost_of(1_000_000, 0.0) == PRICE_ASSUMED


def test_the_cost_of_an_hour_counts_tiny_and_long_probes() -> None:
    """1,800 rounds of two seconds, and a long probe in each thirty of them."""
    assert CYCLE.per_hour(2_000) == pytest.approx(1_800 * 0.0001 + 60 * 0.0006)


def test_the_interval_grows_where_the_budget_is_small() -> None:
    """As far as needed, and not at all where the budget is large enough."""
    assert CYCLE.stretched_ms(2_000, 1.0) == 2_000
    interval_ms = CYCLE.stretched_ms(2_000, 0.1)
    assert 4_000 < interval_ms < 5_000
    assert CYCLE.per_hour(interval_ms) <= 0.1


def test_a_budget_that_is_spent_has_room_again_after_an_hour() -> None:
    """What was set aside and not needed is given back."""
    ledger = Ledger(0.01)
    assert ledger.may_spend(0.01, 0)
    ledger.spend(0.01, 0)
    assert not ledger.may_spend(0.001, MS_PER_HOUR)
    assert ledger.may_spend(0.01, MS_PER_HOUR + 60_000)
    ledger.spend(-0.004, 1_000)
    assert ledger.may_spend(0.004, 2_000)
    assert ledger.total == pytest.approx(0.006)


@given(
    st.lists(st.tuples(st.integers(0, 600_000), st.floats(0, 0.3)), max_size=200), st.integers(0, 20_000_000)
)
def test_no_hour_costs_more_than_the_budget(probes: list[tuple[int, float]], start_ms: int) -> None:
    """Whatever probes cost and whenever they are due, those that go out keep to it in any 60 minutes."""
    ledger, now_ms = Ledger(1.0), start_ms
    spends: list[tuple[int, float]] = []
    for wait_ms, cost in probes:
        now_ms += wait_ms
        if ledger.may_spend(cost, now_ms):
            ledger.spend(cost, now_ms)
            spends.append((now_ms, cost))
        assert sum(cost for at_ms, cost in spends if now_ms - at_ms <= MS_PER_HOUR) <= 1.0 + 1e-9
