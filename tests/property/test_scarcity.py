"""Where there is too little for all, nearly all is served that can be, by few tables."""

import pytest

from lab.sim.scarcity import CROWD, LONG_OUTAGE, SHORT_OUTAGE, measure, worlds

MINUTES = 8


@pytest.mark.parametrize(
    ("world", "served_min", "urgent_max"),
    [(LONG_OUTAGE, 0.95, 20), (SHORT_OUTAGE, 0.94, 60), (CROWD, 0.99, 20)],
)
def test_little_more_is_shed_than_must_be(world: int, served_min: float, urgent_max: int) -> None:
    """In a long outage, in one whose survivors serve less than is stated, and in a crowd. Critical load loses
    only what the first seconds cost."""
    figures = measure(worlds(MINUTES, planned=False)[world])
    assert figures.served["all"] > served_min
    assert figures.served["chat"] > 0.995
    assert figures.served["api"] > 0.995
    assert figures.urgent <= urgent_max
