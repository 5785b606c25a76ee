"""Events from lines of JSON, as programs pipe them into `tieline emit -`. A fault names its field. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import msgspec

from controller.cli.event_input import (
    EXPIRES_AFTER_MS,
    WINDOW_MS,
    Identity,
    InputError,
    refuse_unknown,
    words_of,
)
from tieline.cloudevents import STRUCTURED, Poison, decode
from tieline.events import Capacity, Demand, Report, Statement, pool_of
from tieline.misfits import misfit

LINE_MAX_BYTES = 1024 * 1024

LineEvent: TypeAlias = Report | Statement | Capacity | Demand
_KINDS: dict[str, type[LineEvent]] = {
    str(kind.__struct_config__.tag): kind for kind in (Report, Statement, Capacity, Demand)
}


class Line(NamedTuple):
    """One line of the input, numbered from 1. ``text``: None if it is longer than a record may be."""

    number: int
    text: bytes | None


class LineSplitter:
    """Chunks of bytes to lines. Of a line that is too long only its number is kept."""

    def __init__(self, line_max_bytes: int = LINE_MAX_BYTES) -> None:
        self._line_max_bytes = line_max_bytes
        self._rest = b""
        self._number = 0
        self._skips = False

    def feed(self, chunk: bytes) -> list[Line]:
        """The lines that end in this chunk."""
        *ended, rest = chunk.split(b"\n")
        lines = []
        for part in ended:
            lines.append(self._line(self._rest + part))
            self._rest = b""
        self._rest += rest
        if len(self._rest) > self._line_max_bytes:
            self._rest, self._skips = b"", True
        return lines

    def end(self) -> list[Line]:
        """The last line, if nothing ends it."""
        return [self._line(self._rest)] if self._rest or self._skips else []

    def _line(self, text: bytes) -> Line:
        self._number += 1
        is_too_long = self._skips or len(text) > self._line_max_bytes
        self._skips = False
        return Line(self._number, None if is_too_long else text)


def event_in_line(line: Line, identity: Identity) -> LineEvent | None:
    """The event of a line, None for an empty line.

    A line is the body of an event, with its ``type``, or a CloudEvent in the structured mode. What a body
    leaves out is filled in: source, incarnation, sequence (the line's number), the window (the last 10 s) or
    the moment of issue and the expiry (in 10 min), and provider and region by the first pool. Raises
    InputError.
    """
    if line.text is None:
        raise InputError(f"it has more than {LINE_MAX_BYTES} bytes")
    if not line.text.strip():
        return None
    try:
        fields = msgspec.json.decode(line.text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"it is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise InputError("expected one event: a JSON object")
    if "specversion" in fields:
        return _structured(line.text)
    kind = _KINDS.get(str(fields.get("type")))
    if kind is None:
        raise InputError(f"field type is {fields.get('type')!r:.100}: expected {', '.join(_KINDS)}")
    refuse_unknown(fields, {*kind.__struct_fields__, "type"}, "field ")
    try:
        event = msgspec.convert({**_defaults(kind, fields, identity, line.number), **fields}, kind)
    except msgspec.ValidationError as error:
        raise InputError(words_of(str(error))) from None
    if fault := misfit(event):
        raise InputError(fault)
    return event


def _structured(text: bytes) -> LineEvent:
    try:
        event = decode([("content-type", STRUCTURED.encode())], text)
    except Poison as poison:
        raise InputError(poison.place) from None
    if not isinstance(event, Report | Statement | Capacity | Demand):
        raise InputError(f"attribute type: expected one of {', '.join(_KINDS)}, with `tieline.` before it")
    return event


def _defaults(
    kind: type[LineEvent], fields: dict[str, Any], identity: Identity, number: int
) -> dict[str, Any]:
    now_ms = identity.now_ms
    defaults: dict[str, Any] = {"incarnation": identity.incarnation, "sequence": number}
    if kind in (Report, Demand):
        defaults |= {"window_end_ms": now_ms, "interval_ms": WINDOW_MS}
        end_ms, length_ms = fields.get("window_end_ms", now_ms), fields.get("interval_ms", WINDOW_MS)
        if isinstance(end_ms, int) and isinstance(length_ms, int):
            defaults["window_start_ms"] = end_ms - length_ms
    else:
        defaults |= {"issued_ms": now_ms}
    if kind is Capacity:
        defaults |= {"expires_ms": now_ms + EXPIRES_AFTER_MS}
    if kind is not Demand and identity.source:
        defaults["source"] = identity.source
    if kind in (Report, Capacity):
        defaults |= _home(fields)
    return defaults


def _home(fields: dict[str, Any]) -> dict[str, str]:
    """Provider and region of the first pool."""
    pools = fields.get("pools")
    first = pools[0] if isinstance(pools, list) and pools and isinstance(pools[0], dict) else {}
    pool = first.get("pool")
    if not isinstance(pool, str) or pool.count("/") < 2:
        return {}
    provider, region = pool_of(pool)
    return {"provider": provider, "region": region}
