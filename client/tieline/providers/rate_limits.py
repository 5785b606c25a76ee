"""PURE. What the headers of an answer say about how much a provider still allows, before its first 429.

Three families of names carry the same three values, each for requests and for tokens:

    OpenAI, Azure, vLLM      x-ratelimit-remaining-requests, x-ratelimit-limit-requests, -reset-requests
    Anthropic                anthropic-ratelimit-requests-remaining, -requests-limit, -requests-reset
    Anthropic, by direction  anthropic-ratelimit-input-tokens-remaining ..., -output-tokens-...

A reset is when all of the limit is there again, in one of these shapes: a duration (``6m0s``, ``1s``,
``20ms``), a number of seconds, an instant of RFC 3339, or seconds since the epoch. Azure often names neither
limit nor reset. Sources: the rate limit guides of OpenAI, Azure OpenAI and Anthropic.
"""

import re
from datetime import UTC, datetime

from tieline._http.messages import Headers
from tieline._routing.room import Allowance, RateLimits

EPOCH_S_MIN = 1e9  # a number of seconds from here on is an instant, not a duration
_TOKENS = ("tokens", "input-tokens", "output-tokens")
_FIELDS = ("remaining", "limit", "reset")
# The header -> (what is limited, which field).
_PLACES = {
    name.encode(): (kind, field)
    for kind in ("requests", *_TOKENS)
    for field in _FIELDS
    for name in (f"x-ratelimit-{field}-{kind}", f"anthropic-ratelimit-{kind}-{field}")
}
_UNITS_MS = {"d": 86_400_000.0, "h": 3_600_000.0, "m": 60_000.0, "s": 1_000.0, "ms": 1.0, "us": 0.001}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|us|d|h|m|s))+\Z")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|d|h|m|s)")


def rate_limits(headers: Headers, now_epoch_ms: int) -> RateLimits | None:
    """What the headers say is left; None if they say nothing that makes sense."""
    # This runs for every answer, and most have no such header.
    values = {place: value for name, value in headers if (place := _PLACES.get(name.lower())) is not None}
    if not values:
        return None
    requests = _allowance(values, "requests", now_epoch_ms)
    tokens = _tightest([row for kind in _TOKENS if (row := _allowance(values, kind, now_epoch_ms))])
    return RateLimits(requests, tokens) if requests or tokens else None


def _allowance(values: dict[tuple[str, str], bytes], kind: str, now_epoch_ms: int) -> Allowance | None:
    remaining = values.get((kind, "remaining"))
    number = _number(remaining) if remaining is not None else None
    if number is None:
        return None
    limit = _number(values.get((kind, "limit"), b""))
    reset = values.get((kind, "reset"), b"").decode("latin-1").strip()
    return Allowance(number, limit or None, duration_ms(reset, now_epoch_ms))


def _tightest(rows: list[Allowance]) -> Allowance | None:
    if len(rows) == 1:
        return rows[0]
    return min(rows, key=lambda row: row.remaining / row.limit if row.limit else 1.0, default=None)


def duration_ms(text: str, now_epoch_ms: int) -> float | None:
    """Milliseconds from now until the reset that ``text`` states, 0 if it is over; None if it makes no
    sense."""
    if _DURATION.match(text):
        return sum([float(value) * _UNITS_MS[unit] for value, unit in _DURATION_PART.findall(text)])
    if (number := _number(text)) is not None:
        return number * 1_000 if number < EPOCH_S_MIN else max(0.0, number * 1_000 - now_epoch_ms)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    instant = instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
    return max(0.0, instant.timestamp() * 1_000 - now_epoch_ms)


def _number(text: str | bytes) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None
