"""What a target asks for by Retry-After."""

import pytest

from controller.process.retry_after import RETRY_AFTER_MAX_S, wait_asked_s
from tests.unit.controller.notify.wanted import NOW_MS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", 7.0),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("86400", RETRY_AFTER_MAX_S),
        ("inf", RETRY_AFTER_MAX_S),
        ("nan", 0.0),
        ("-5", 0.0),
        ("", 0.0),
        ("soon", 0.0),
    ],
)
def test_retry_after_is_heeded_within_reason(text: str, expected: float) -> None:
    """Seconds or a date, at most five minutes; what makes no sense asks for nothing."""
    assert wait_asked_s(text, NOW_MS) == expected
