"""Instants as an operator types them."""

import re
from datetime import UTC, datetime

from controller.process.errors import UserError

_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
EPOCH_MS_MIN = 1_000_000_000_000


def instant_ms(text: str, now_ms: int, flag: str) -> int:
    """``now``, ``-10m`` (s, m, h, d), epoch milliseconds, or RFC 3339 with its zone. Raises ``UserError``."""
    given = text.strip()
    if given == "now":
        return now_ms
    if back := re.fullmatch(r"-(\d{1,9})([smhd])", given):
        return now_ms - int(back[1]) * _UNITS_MS[back[2]]
    if given.isdigit() and int(given) >= EPOCH_MS_MIN:
        return int(given)
    try:
        found = datetime.fromisoformat(given)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise UserError(
            f"{flag} {text!r}: give RFC 3339 with its zone (2026-01-31T12:00:00Z), epoch milliseconds, "
            "-10m (s, m, h or d before now), or now"
        )
    return round(found.timestamp() * 1_000)


def rfc3339(at_ms: int) -> str:
    """To the millisecond, in UTC."""
    return (
        datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
