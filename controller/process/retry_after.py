"""How long another server wants to be left alone, by its header Retry-After (RFC 9110, 10.2.3)."""

from email.utils import parsedate_to_datetime

RETRY_AFTER_MAX_S = 300.0


def wait_asked_s(text: str, now_ms: int) -> float:
    """What Retry-After asks for, in seconds or as a date, at most five minutes; 0 if it says nothing."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - now_ms / 1_000
        except (ValueError, TypeError, IndexError):
            return 0.0
    return min(max(seconds, 0.0), RETRY_AFTER_MAX_S) if seconds == seconds else 0.0
