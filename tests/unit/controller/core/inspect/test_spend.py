"""Commitments are metered and projected over their calendar period; what would be left unused is named."""

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from controller.core.assessment import assess
from controller.core.inspect.measure import measure
from controller.core.inspect.spend import ProviderRate, ProviderUse, period_of, rates, spend
from controller.core.moves.held_table import HeldTable
from controller.core.policy.compiled import compile_policy
from controller.core.policy.policy import CommittedSpend
from tests.scenarios.world import World
from tests.unit.controller.core.made import policy, pool

POLICY = policy((pool("azure/r", committed=40.0, price=5.0), pool("gcp/r", committed=0.0, price=9.0)))
DAY_MS = 86_400_000


def at(*when: int) -> int:
    """The instant in UTC, in milliseconds."""
    return round(datetime(*when, tzinfo=UTC).timestamp() * 1_000)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        ("month", (2026, 12, 1), (2027, 1, 1)),
        ("quarter", (2026, 10, 1), (2027, 1, 1)),
        ("year", (2026, 1, 1), (2027, 1, 1)),
    ],
)
def test_periods_are_of_the_calendar(period: str, start: tuple[int, ...], end: tuple[int, ...]) -> None:
    """The last hour of a month, quarter and year still lies in it."""
    commitment = CommittedSpend("azure", period, units=1.0)  # type: ignore[arg-type]
    assert period_of(commitment, at(2026, 12, 31, 23)) == (at(*start), at(*end))


def test_a_term_is_what_its_days_say() -> None:
    """Five years, whatever the day."""
    term = CommittedSpend("azure", "term", units=1.0, starts="2025-07-01", ends="2030-07-01")
    assert period_of(term, at(2026, 12, 31)) == (at(2025, 7, 1), at(2030, 7, 1))


def test_use_is_projected_and_the_rest_is_a_shortfall() -> None:
    """A day's use stands for every day of the period. Without metered use there is no projection."""
    committed = replace(
        POLICY,
        committed_spend=(
            CommittedSpend("azure", "month", units=1_000.0),
            CommittedSpend("gcp", "month", money=10.0),
        ),
    )
    use = {"azure": ProviderUse(10.0, 1.0), "gcp": ProviderUse(5.0, 2.0)}
    units, money = spend(committed, use, DAY_MS, at(2026, 11, 24))
    assert (units.used, units.projected, units.shortfall) == (10.0, 300.0, 700.0)
    assert (money.used, money.projected, money.shortfall) == (2.0, 60.0, 0.0)
    (unmetered, _) = spend(committed, {}, 0, at(2026, 11, 24))
    assert (unmetered.projected, unmetered.shortfall) == (None, None)


def test_rates_are_the_load_of_the_table_in_force() -> None:
    """They are the units/s of each provider's pools, and their worth at its price; use adds them up."""
    world = World(POLICY)
    world.demand = {("chat", "eu"): 60.0}
    world.decide()
    list(world.run(3_000))
    assert world.table is not None
    by_provider = rates(world.snapshot(), world.table, world.now_ms)
    assert sum(rate.units_per_s for rate in by_provider.values()) == pytest.approx(60.0)
    azure = by_provider["azure"]
    assert azure.money_per_s == pytest.approx(azure.units_per_s * 5 / 1e6)
    assert ProviderUse(1.0, 1.0).plus(ProviderRate(2.0, 3.0), 10) == ProviderUse(21.0, 31.0)


def test_burst_costs_and_committed_does_not() -> None:
    """Money per hour is for load beyond what is committed, at each pool's price."""
    compiled = compile_policy(POLICY)
    world = World(POLICY)
    world.demand = {("chat", "eu"): 60.0}
    world.decide()
    list(world.run(3_000))
    assert world.table is not None
    assessment = assess(world.snapshot(), world.now_ms)
    draft = HeldTable(compiled, world.table).draft(assessment.demand)
    worth = measure(draft, assessment.caps, {}, world.now_ms)
    burst = {"azure": max(0.0, draft.load[0] - 40.0), "gcp": draft.load[1]}
    assert worth.burst_used == pytest.approx(burst)
    money = (burst["azure"] * 5 + burst["gcp"] * 9) * 3_600 / 1e6
    assert worth.burst_money_per_hour == pytest.approx(money)
    assert money > 0
