"""The heartbeat beside a table: for how long nobody has confirmed it."""

from __future__ import annotations

from tieline.table import Pulse


def test_a_heartbeat_that_stands_still_is_silence() -> None:
    """Counted from when it was first read, whatever the clock that wrote it."""
    pulse = Pulse()
    assert pulse.note(b"5", 1_000) == 0
    assert pulse.note(b"5", 3_000) == 2_000
    assert pulse.note(b"4", 4_000) == 0
    assert pulse.note(b"4", 9_000) == 5_000


def test_a_place_without_a_heartbeat_is_never_silent() -> None:
    """A controller of an older version writes none."""
    pulse = Pulse()
    assert [pulse.note(None, ms) for ms in (0, 10_000, 20_000)] == [0, 0, 0]
