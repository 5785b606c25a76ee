"""PURE. What Envoy's lines say: how each attempt ended, in the client library's words, and what was asked
for.

Envoy sends lines in the form of OpenTelemetry's logs (OTLP), as protobuf over HTTP. Of a message only the
lines themselves are read here, so no library for protobuf is needed. A line that is not of this form is
counted and passed over: a caller can put a tab into a header, and then its line has a field too many.
"""

from base64 import b64decode
from collections.abc import Iterator
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from controller.envoy.bootstrap import REQUEST, REQUEST_FIELDS
from controller.envoy.plan import RouteName
from controller.envoy.pools import ATTEMPT, ATTEMPT_FIELDS
from controller.envoy.routes import NOWHERE, SHED
from tieline import Outcome
from tieline.events import ResultClass
from tieline.providers.answers import (
    EVENT_STREAM,
    NO_ERROR,
    error_in_body,
    media_type,
    reading_of_result,
    reading_of_status,
)

RETRY_AFTER_MAX_MS = 300_000
# Where the line lies in a message: resource, scope, record, body, text. See opentelemetry's logs.proto.
_WAY_TO_THE_LINE: Final = (1, 2, 2, 5, 1)
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_NONE = "-"
# What Envoy calls the end of an attempt that no answer of the provider ended, by its beginning.
_GONE = ("downstream", "http1.", "http2.", "http3.", "http.", "local_reset", "lua_response")
_TIME_OVER = ("upstream_per_try", "response_timeout", "request_overall_timeout", "stream_idle_timeout")
_AFTER_THE_BEGINNING = "upstream_reset_after_response_started"
_NO_SECRET = "failed_to_inject_credential"
_ANSWERED = "via_upstream"


class OutcomeLineError(ValueError):
    """A message or a line is not of the form that Envoy was told to send."""


class AttemptEnd(Struct, frozen=True):
    """One attempt at a pool has ended. ``outcome`` None: its caller went away, which says nothing.
    ``body_bytes``: of the request. ``usage``: prompt and answer in tokens, where the answer names them;
    ``events``: how many a stream had."""

    pool: str
    route: RouteName
    model: str
    outcome: Outcome | None
    body_bytes: int = 0
    usage: tuple[int, int] | None = None
    events: int = 0


class RequestEnd(Struct, frozen=True):
    """One request of a caller has ended. ``was_shed``: Envoy answered by itself, as the table wants it.
    ``output_tokens_max``: the caller's own limit; None for none."""

    route: RouteName
    body_bytes: int
    output_tokens_max: int | None
    was_shed: bool


def lines_in(message: bytes) -> list[str]:
    """The lines of one message. Raises OutcomeLineError."""
    return [text.decode("utf-8", "replace") for text in _values(message, _WAY_TO_THE_LINE)]


def _values(message: bytes, way: tuple[int, ...]) -> Iterator[bytes]:
    """The values at the end of a way of field numbers through a protobuf message."""
    if not way:
        yield message
        return
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        match tag & 7:
            case 0:
                _, at = _varint(message, at)
            case 1:
                at += 8
            case 2:
                size, at = _varint(message, at)
                if at + size > len(message):
                    raise OutcomeLineError("the message ends within a field")
                if tag >> 3 == way[0]:
                    yield from _values(message[at : at + size], way[1:])
                at += size
            case 5:
                at += 4
            case kind:
                raise OutcomeLineError(f"a field of the unknown kind {kind}")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number that begins at ``at``, and where it ends."""
    value = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise OutcomeLineError("the message ends within a number")


def read_line(line: str) -> AttemptEnd | RequestEnd | None:
    """What one line says; None for a request that no route of the table was for. Raises OutcomeLineError."""
    kind, *fields = line.split("\t")
    try:
        if kind == ATTEMPT and len(fields) == len(ATTEMPT_FIELDS) + 1:
            return _attempt(fields)
        if kind == REQUEST and len(fields) == len(REQUEST_FIELDS):
            return _request(fields)
    except ValueError as error:
        raise OutcomeLineError(f"a line that can't be read: {error}") from None
    raise OutcomeLineError(f"a line of an unknown form, which begins with {kind[:20]!r}")


def _attempt(fields: list[str]) -> AttemptEnd:
    pool, status, details, first_ms, whole_ms, content_type, after_ms, after_s, *more = fields
    body_bytes, usage, events, done, error, workload, origin, model, stream = more
    is_events = media_type(content_type) == EVENT_STREAM
    outcome = _outcome(
        int(status),
        details,
        is_done=done == "1" or not is_events,
        error=error,
        names_model=bool(model),
    )
    if outcome is not None:
        is_ok = outcome.result is ResultClass.OK
        outcome = replace(
            outcome,
            first_token_ms=_number(first_ms) if stream and is_ok else None,
            whole_ms=_number(whole_ms) if not stream and is_ok else None,
            retry_after_ms=_retry_after_ms(after_ms, after_s),
        )
    prompt, _, answer = usage.partition("+")
    return AttemptEnd(
        pool,
        RouteName(workload, origin),
        model,
        outcome=outcome,
        body_bytes=int(body_bytes),
        usage=(int(prompt), int(answer)) if answer else None,
        events=int(events) if is_events and events.isdigit() else 0,
    )


def _outcome(status: int, details: str, *, is_done: bool, error: str, names_model: bool) -> Outcome | None:
    """How an attempt ended, by the rules of the client: an answer by its status and the error in it, and what
    is no answer by what ended it."""
    has_begun = 200 <= status < 300
    if details.startswith(_ANSWERED):
        if has_begun:
            return Outcome(ResultClass.OK if is_done else ResultClass.CUT)
        provider_error = (
            error_in_body(b64decode(error, validate=True)) if error not in ("", _NONE) else NO_ERROR
        )
        reading = reading_of_status(status, provider_error, names_model=names_model)
        return Outcome(reading.result, blame=reading.blame)
    if details.startswith(_NO_SECRET):
        result = ResultClass.AUTH
    elif details.startswith(_TIME_OVER):
        result = ResultClass.CUT if has_begun else ResultClass.TIMEOUT
    elif details.startswith(_AFTER_THE_BEGINNING):
        result = ResultClass.CUT
    elif details.startswith(_GONE) or details == _NONE:
        return None
    else:
        result = ResultClass.CONNECT
    return Outcome(result, blame=reading_of_result(result).blame)


def _request(fields: list[str]) -> RequestEnd | None:
    name, _status, _details, body_bytes, output_max, workload, origin, _model = fields
    if name.startswith(NOWHERE):
        return None
    return RequestEnd(
        RouteName(workload, origin),
        int(body_bytes),
        output_tokens_max=int(output_max) if output_max.isdigit() else None,
        was_shed=name.startswith(SHED),
    )


def _number(text: str) -> float | None:
    return float(text) if text.replace(".", "", 1).isdigit() else None


def _retry_after_ms(milliseconds: str, header_s: str) -> int | None:
    """What the pool asked for; a date is not read."""
    wait_ms = _number(milliseconds)
    if wait_ms is None and (wait_s := _number(header_s)) is not None:
        wait_ms = wait_s * 1_000
    return min(round(wait_ms), RETRY_AFTER_MAX_MS) if wait_ms is not None else None
