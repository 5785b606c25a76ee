"""Verdicts as sentences: each measure in its own unit."""

import pytest

from controller.core.model.reasons import Reason, Verdict
from controller.core.model.words import duration, sentence

NOW_MS = 1_800_000_000_000


@pytest.mark.parametrize(
    ("reason", "value", "limit", "measure"),
    [
        (Reason.CLIENTS_FAILING, 0.983, 0.5, " (98.3% against 50.0%)"),
        (Reason.SHED_NO_ROOM, 0.25, None, " (25.0%)"),
        (Reason.NO_PROGRESS, 12_001.0, 10_000.0, " (12 s against 10 s)"),
        (Reason.CLOCK_OR_DELAY, -30_000.0, 10_000.0, " (-30 s against 10 s)"),
        (Reason.POOL_LOST, 1_250.5, None, " (1,250.5)"),
        (Reason.EJECTED_BY_CLIENTS, 3.0, 4.0, " (3 against 4)"),
        (Reason.SUCCEEDING, 0.0, None, ""),
        (Reason.SUCCEEDING, 0.02, None, " (2.0% fail)"),
    ],
)
def test_each_measure_has_its_unit(reason: Reason, value: float, limit: float | None, measure: str) -> None:
    """Shares as percent, times as durations, load and counts as they are."""
    verdict = Verdict("azure/sweden/gpt", reason, 0, value=value, limit=limit)
    plain = sentence(Verdict("azure/sweden/gpt", reason, 0), NOW_MS)
    assert sentence(verdict, NOW_MS) == plain + measure


@pytest.mark.parametrize(
    ("milliseconds", "said"),
    [(850, "850 ms"), (12_999, "12 s"), (180_000, "3 min"), (7_500_000, "2 h 5 min"), (-30_000, "-30 s")],
)
def test_durations_are_short(milliseconds: int, said: str) -> None:
    """In the largest units that tell."""
    assert duration(milliseconds) == said
