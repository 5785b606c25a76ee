"""What a pool serves while it throttles is measured on whole seconds only."""

import pytest

from controller.core.evidence.served_at_limit import Window, served_while_throttled
from streams.rows import DemandRow, DemandSecond, PoolSum, Position
from tests.unit.controller.core.made import LIMITS
from tieline.events import Outcomes

POOL = "azure/eu/a"


def second(number: int, units: float, throttled: int, clients: int = 20, ok: int = 90) -> DemandSecond:
    """One second of the pool."""
    outcomes = Outcomes(ok=ok, throttled=throttled)
    pools = (PoolSum(POOL, outcomes, units, reporters=clients, failing=Outcomes()),)
    return DemandSecond(number * 1000, clients, (), pools)


def served(*rows: tuple[DemandSecond, ...]) -> float:
    """By these partitions."""
    windows = tuple(
        Window(DemandRow(Position("demand", number, 1), seconds), 0) for number, seconds in enumerate(rows)
    )
    return served_while_throttled(windows, [POOL], LIMITS)[POOL]


def test_a_second_whose_reports_have_not_arrived_says_nothing() -> None:
    """1,000 units/s are served; the last whole second seems to have 450 only."""
    whole = tuple(second(number, 1_000.0, 10) for number in range(4))
    assert served((*whole, second(4, 450.0, 5, clients=9), second(5, 10.0, 1, clients=1))) == 1_000.0


def test_the_seconds_nearest_to_the_limit_count_most() -> None:
    """In a second without 429s the pool was not at its limit; where every second answer is one it was."""
    seconds = (second(0, 100.0, 0), second(1, 600.0, 90), second(2, 400.0, 10), second(3, 0.0, 0))
    assert served(seconds) == pytest.approx((600 * 0.5 + 400 * 0.1) / 0.6)
    assert served((second(0, 100.0, 0), second(1, 1.0, 0))) == 0.0


def test_partitions_add_up() -> None:
    """Each holds the reports of some of the clients."""
    part = (second(0, 300.0, 5), second(1, 300.0, 5), second(2, 0.0, 0))
    assert served(part, part) == 600.0
