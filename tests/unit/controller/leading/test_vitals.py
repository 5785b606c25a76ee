"""When a controller says that it is not ready, and when that it should be restarted."""

from controller.leading.vitals import SILENCE_MAX_MS, STUCK_AFTER_MS, why_stuck, why_unled
from controller.routes.counting_rule import NO_EPOCH


def test_only_a_leader_that_turns_no_more_should_be_restarted() -> None:
    """A standby, and a leader that looked lately, go on; one that has not looked for a minute says for how
    long."""
    assert why_stuck(None, 10**9) == ""
    assert why_stuck(5_000, 5_000 + STUCK_AFTER_MS) == ""
    assert "not looked for 61 s" in why_stuck(5_000, 66_000)


def test_nobody_is_ready_while_no_leader_is_heard() -> None:
    """Before the first claim, and after ten silent seconds."""
    assert why_unled(NO_EPOCH, 0) == "no controller leads yet"
    assert why_unled(7, SILENCE_MAX_MS) == ""
    assert "no leader was heard for 12 s" in why_unled(7, 12_000)
