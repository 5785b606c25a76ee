"""Verdicts as sentences: each measure in its own unit."""

import pytest

from controller.core.model.reasons import Reason, Verdict
from controller.core.model.words import WORDS, duration, sentence

NOW_MS = 1_800_000_000_000


@pytest.mark.parametrize(
    ("reason", "value", "limit", "measure"),
    [
        (Reason.CLIENTS_FAILING, 0.983, 0.5, " (98.3% against 50.0%)"),
        (Reason.SHED_NO_ROOM, 0.25, None, " (25.0%)"),
        (Reason.NO_PROGRESS, 12_001.0, 10_000.0, " (12 s against 10 s)"),
        (Reason.CLOCK_OR_DELAY, -30_000.0, 10_000.0, " (-30 s against 10 s)"),
        (Reason.POOL_LOST, 1_250.5, None, " (1,250 units/s)"),
        (Reason.KEEP_WARM, 0.5, None, " (0.5 units/s)"),
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


def test_every_reason_has_words() -> None:
    """A sentence part that can be read alone, with a subject, and without a code in it."""
    assert WORDS.keys() == set(Reason)
    for reason, words in WORDS.items():
        assert reason not in words or "_" not in reason
        assert words[0].islower()
        assert not words.endswith(".")


def test_a_cause_is_told_in_words() -> None:
    """A reason's code becomes its words; what an operator wrote stays."""
    held = Verdict("gcp", Reason.MODE_RECOMMEND, 0, because="operator_verdict")
    assert sentence(held, NOW_MS).endswith("(an operator's verdict says so)")
    drained = Verdict("gcp", Reason.DRAINED, 0, because="kim: patching")
    assert sentence(drained, NOW_MS) == "gcp: an operator drained it (kim: patching)"
