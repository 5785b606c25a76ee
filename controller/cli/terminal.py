"""What commands share at the terminal: times as an operator types them, what is wrong with a value that was
typed, and the screen."""

import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.console import Console, ConsoleOptions
from rich.segment import Segment

from controller.commands.authority import OVERRIDE_MAX_MS
from controller.process.errors import UserError
from controller.process.settings import Settings
from controller.process.telemetry import without_controls

PIPED_COLUMNS = 160
EPOCH_MS_MIN = 1_000_000_000_000
_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def instant_ms(text: str, now_ms: int, flag: str) -> int:
    """``now``, ``-10m`` or ``+10m`` (s, m, h, d), ``02:00`` (UTC, the last time it was so), epoch
    milliseconds, or RFC 3339 with its zone. Raises ``UserError``."""
    typed = text.strip()
    if typed == "now":
        return now_ms
    if away := re.fullmatch(r"([+-]\d{1,9})([smhd])", typed):
        return now_ms + int(away[1]) * _UNITS_MS[away[2]]
    if typed.isdigit() and int(typed) >= EPOCH_MS_MIN:
        return int(typed)
    if clock := re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?", typed):
        of_day_ms = (int(clock[1]) * 3_600 + int(clock[2]) * 60 + int(clock[3] or 0)) * 1_000
        return now_ms - (now_ms - of_day_ms) % _UNITS_MS["d"]
    try:
        instant = datetime.fromisoformat(typed)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise UserError(
            f"{flag} {text!r}: give RFC 3339 with its zone (2026-01-31T12:00:00Z), epoch milliseconds, "
            "-10m (s, m, h or d before now, with + after it), 02:00 (UTC), or now"
        )
    return round(instant.timestamp() * 1_000)


def duration_ms(text: str, flag: str = "--for") -> int:
    """``90s``, ``30m``, ``1h``, ``2d`` in milliseconds, at most 30 days. Raises ``UserError``."""
    typed = re.fullmatch(r"(\d{1,6})([smhd])", text.strip())
    length_ms = int(typed[1]) * _UNITS_MS[typed[2]] if typed else 0
    if not 0 < length_ms <= OVERRIDE_MAX_MS:
        raise UserError(f"{flag} {text!r}: give a time like 90s, 30m, 1h or 2d, at most 30d")
    return length_ms


def rfc3339(at_ms: int) -> str:
    """``2026-01-31T12:00:00.000Z``: to the millisecond, as ``instant_ms`` reads it."""
    instant = datetime.fromtimestamp(at_ms / 1_000, UTC)
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Screen(Console):
    """A console that draws no control characters, whoever wrote them into a name, a reason or an error."""

    def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As in rich; each piece of text without what a terminal would obey."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=without_controls(segment.text))


def screen() -> Console:
    """Standard output. A pipe or file gets 160 columns, or as COLUMNS says, so that names stay whole."""
    console = Screen(highlight=False, emoji=False)
    if not sys.stdout.isatty() and "COLUMNS" not in console._environ:
        console.width = PIPED_COLUMNS
    return console


def name_context(settings: Settings) -> None:
    """Says on standard error which context a command speaks to that changes something."""
    if settings.context:
        sys.stderr.write(f"{without_controls(settings.context)}\n")


def invalid_field(error: msgspec.ValidationError) -> str:
    """What to correct when an order or overlay does not take a value that an operator typed."""
    text, _, path = str(error).partition(" - at `$.")
    field = re.split(r"[`\[]", path)[0]
    if field in ("scope", "exclude"):
        return "SCOPE is not valid: give PROVIDER, PROVIDER/REGION or a whole pool name"
    if ">= 1" in text:
        return f"--{field} must not be empty"
    if longest := re.search(r"<= (\d+)", text):
        return f"--{field} must have at most {longest[1]} characters"
    return f"--{field} is not valid"
