"""From untrusted bodies to text, lists and instants. Nothing here raises for what a feed may hold, except
``document`` and ``required``: without those there is nothing to read. Pure."""

import html
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

import msgspec

from controller.collect.collector import UnreadableError

TEXT_MAX = 300
RAW_TEXT_MAX = 20_000
INSTANT_MIN_MS, INSTANT_MAX_MS = 1_500_000_000_000, 4_100_000_000_000  # as ``events.InstantMs``
_BOM = b"\xef\xbb\xbf"
_MARKUP = re.compile(r"<[^<>]*>")
_UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")

Part: TypeAlias = Mapping[str, Any]


def document(body: bytes) -> Any:
    """The body as plain values. Raises ``UnreadableError``."""
    try:
        return msgspec.json.decode(body.removeprefix(_BOM))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableError(f"the body is not JSON: {error}") from None


def required(part: Any, field: str) -> list[Any]:
    """The list in a field that every such feed has, with at least one entry. Raises ``UnreadableError``."""
    entries = part.get(field) if isinstance(part, Mapping) else None
    if not isinstance(entries, list) or not entries:
        raise UnreadableError(f"the body has no list {field}, or an empty one")
    return entries


class Tally:
    """Counts the parts of one body that can't be read, while their neighbours are."""

    def __init__(self) -> None:
        self.unread = 0

    def parts(self, entries: Any) -> list[Part]:
        """The entries of a list that have fields; everything else counts as unread. None is an empty list."""
        if entries is None:
            return []
        if not isinstance(entries, list):
            self.unread += 1
            return []
        parts = [entry for entry in entries if isinstance(entry, Mapping)]
        self.unread += len(entries) - len(parts)
        return parts

    def text(self, part: Part, field: str) -> str:
        """A text that the part must have; an empty one counts as unread."""
        value = text(part, field)
        if not value:
            self.unread += 1
        return value


def text(part: Part, field: str) -> str:
    """The text of a field; empty where there is none."""
    value = part.get(field)
    return value.strip() if isinstance(value, str) else ""


def instant_ms(value: Any) -> int | None:
    """RFC 3339 as Unix milliseconds; without an offset it is UTC. None for what is none, or makes no
    sense."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value.strip())
        milliseconds = round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1_000)
    except (ValueError, OverflowError):
        return None
    return milliseconds if INSTANT_MIN_MS <= milliseconds <= INSTANT_MAX_MS else None


def plain_text(value: str, most: int = TEXT_MAX) -> str:
    """Text for people: without markup, control characters and line ends, cut to ``most`` characters."""
    bare = html.unescape(_MARKUP.sub(" ", value[:RAW_TEXT_MAX]))
    line = _UNPRINTABLE.sub(" ", bare.encode("utf-8", "replace").decode()).strip()
    return line if len(line) <= most else line[: most - 3] + "..."
