"""The same thing is logged once a minute."""

import logging

import pytest
from structlog import DropEvent

from streams.logs import (
    LINES_PER_MINUTE,
    LOG_EVERY_S,
    PASSING_S,
    TEMPLATES_MAX,
    LineLimit,
    LogPace,
    RateLimit,
)


def line(
    template: str, *, at_s: float, level: int = logging.WARNING, name: str = "aiokafka"
) -> logging.LogRecord:
    """A record as a library's logger makes it."""
    record = logging.LogRecord(name, level, __file__, 1, template, (), None)
    record.created = at_s
    return record


def test_each_kind_of_message_passes_once_a_minute() -> None:
    """A kind waits for a minute after it passed, and for no other kind."""
    pace = LogPace()
    assert pace.allows("held_back", 5.0)
    assert not pace.allows("held_back", 5.0 + LOG_EVERY_S - 0.1)
    assert pace.allows("dead_letter", 6.0)
    assert pace.allows("held_back", 5.0 + LOG_EVERY_S)
    assert not pace.allows("held_back", 5.0 + LOG_EVERY_S + 0.1)


def test_repeated_lines_of_a_library_are_counted_instead() -> None:
    """The line that passes after a minute says how many like it were left out."""
    limit = RateLimit()
    assert limit.filter(line("no broker", at_s=100.0))
    assert not limit.filter(line("no broker", at_s=101.0))
    assert not limit.filter(line("no broker", at_s=102.0))
    assert limit.filter(line("another template", at_s=102.0))
    assert limit.filter(line("no broker", at_s=102.0, name="faust"))
    again = line("no broker", at_s=100.0 + LOG_EVERY_S)
    assert limit.filter(again)
    assert again.msg == "no broker (2 more like this were left out)"


def test_critical_lines_always_pass() -> None:
    """A line of the highest level is never left out."""
    limit = RateLimit()
    assert all(limit.filter(line("lost", at_s=1.0, level=logging.CRITICAL)) for _ in range(3))


def test_what_passes_by_itself_is_told_only_when_it_stays() -> None:
    """A coordinator that is not there yet at a start is no news; one that is away for ten seconds is."""
    limit = RateLimit()
    text = "Group Coordinator Request failed: [Error 15] GroupCoordinatorNotAvailableError"
    assert not limit.filter(line(text, at_s=100.0, level=logging.ERROR))
    assert not limit.filter(line(text, at_s=100.0 + PASSING_S - 0.1, level=logging.ERROR))
    assert limit.filter(line(text, at_s=100.0 + PASSING_S, level=logging.ERROR))
    assert not limit.filter(line(text, at_s=100.0 + 10 * LOG_EVERY_S, level=logging.ERROR)), "another time"


def test_a_kind_of_our_own_lines_passes_thirty_times_a_minute() -> None:
    """What is caused from outside, such as a line for each dropped stream, can't fill a disk. The next line
    says how many were left out; other kinds and critical lines pass."""
    now_ms = 100_000
    limit = LineLimit(lambda: now_ms)
    for _ in range(LINES_PER_MINUTE):
        assert limit(None, "info", {"event": "a stream was dropped"}) == {"event": "a stream was dropped"}
    for _ in range(5):
        with pytest.raises(DropEvent):
            limit(None, "info", {"event": "a stream was dropped"})
    assert limit(None, "info", {"event": "leads now"}) == {"event": "leads now"}
    assert limit(None, "critical", {"event": "a stream was dropped"})
    now_ms += round(1_000 * LOG_EVERY_S)
    assert limit(None, "info", {"event": "a stream was dropped", "peer": "x"})["left_out"] == 5
    assert "left_out" not in limit(None, "info", {"event": "a stream was dropped"})


def test_kinds_that_are_made_up_do_not_fill_the_memory() -> None:
    """The kinds seen longest ago are forgotten."""
    limit = LineLimit(lambda: 0)
    for number in range(TEMPLATES_MAX + 10):
        limit(None, "info", {"event": f"kind {number}"})
    assert len(limit._minutes) == TEMPLATES_MAX
