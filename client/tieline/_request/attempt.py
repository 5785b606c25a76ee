"""PURE, sans I/O. One attempt at one pool: what to send, what to read until it is known whether the answer is
good, and how it ended.

Attempts are generators: they yield what is to be done (a ``Do``) and are sent what came of it; a connection
that fails is thrown into them as a ``WireError``. Whoever runs one may block or await.
"""

from collections.abc import Generator
from typing import Any, TypeAlias, TypeVar

from msgspec import Struct

from tieline import providers as _providers
from tieline._http.flights import Flight
from tieline._http.messages import (
    Answer,
    Ask,
    Headers,
    WireError,
    find,
    reply_headers,
    request_headers,
    retry_after_ms,
)
from tieline._request.body import Body
from tieline._request.outcome import classify, classify_error_event
from tieline._request.reply import Reply, failure
from tieline._request.sse import Begin, StreamReader, whole_of
from tieline._routing.route import Target
from tieline.credentials import MissingCredentialError
from tieline.events import ResultClass

ERROR_BODY_MAX = 1024 * 1024
WHOLE_BODY_MAX = 64 * 1024 * 1024


class GetSecret(Struct, frozen=True):
    """Give (secret, whether it is a token); ``MissingCredentialError`` when there is none by ``due_ms``."""

    name: str
    due_ms: int


class Open(Struct, frozen=True):
    """Send a request; give the ``Answer`` once its head has come."""

    method: str
    url: str
    headers: Headers
    body: bytes
    flight: Flight


class Read(Struct, frozen=True):
    """Give what has come of the body, b"" at its end."""

    answer: Any


class Pause(Struct, frozen=True):
    """Wait so long; give nothing."""

    wait_ms: int


Do: TypeAlias = GetSecret | Open | Read | Pause
_T = TypeVar("_T")
Doing: TypeAlias = Generator[Do, Any, _T]


class Call(Struct, frozen=True):
    """One caller's request, the same for all its attempts."""

    ask: Ask
    body: Body
    request_id: str


class Opening(Struct):
    """How far an attempt came. ``result`` OK: the reply may be handed on, with the rest of ``answer`` still
    to come if there is one. ``reply`` is None when there was no answer at all; ``text`` then says why.
    ``state`` names what the provider holds for the caller from now on."""

    result: ResultClass
    text: str = ""
    reply: Reply | None = None
    retry_after_ms: int | None = None
    usage: tuple[int, int] | None = None
    answer: Answer | None = None
    held: bytes = b""
    reader: StreamReader | None = None
    state: str = ""


def attempt(call: Call, target: Target, flight: Flight, now_epoch_ms: int) -> Doing[Opening]:
    """Raises nothing of its own. An answer that is not handed on is closed."""
    answer: Answer | None = None
    try:
        answer = yield from _send(call, target, flight)
        opening = yield from _read(call, answer, now_epoch_ms)
    except MissingCredentialError as error:
        return Opening(ResultClass.AUTH, str(error))
    except WireError as error:
        result = ResultClass.TIMEOUT if flight.abandoned else error.result
        opening = Opening(result, str(error))
    if opening.answer is None and answer is not None:
        answer.close()
    return opening


def _send(call: Call, target: Target, flight: Flight) -> Doing[Answer]:
    ask, auth = call.ask, None
    if target.credential:
        secret, is_token = yield GetSecret(target.credential, flight.due_ms)
        auth = _providers.auth_for(target, secret, is_token=is_token)
    headers = request_headers(ask, call.request_id, auth, stream=call.body.stream)
    url = _providers.url_for(target, ask.path)
    answer: Answer = yield Open(ask.method, url, headers, call.body.with_model(target.name), flight)
    return answer


def _read(call: Call, answer: Answer, now_epoch_ms: int) -> Doing[Opening]:
    result = classify(answer.status, has_model=bool(call.body.model) and not call.body.refers)
    if result is not ResultClass.OK:
        body = yield from _read_whole(answer, ERROR_BODY_MAX)
        reply = Reply(answer.status, reply_headers(answer.headers), body or b"")
        return Opening(result, reply=reply, retry_after_ms=retry_after_ms(answer.headers, now_epoch_ms))
    kind = (find(answer.headers, b"content-type") or "").split(";")[0].strip().lower()
    plain = find(answer.headers, b"content-encoding") in (None, "identity")
    reply = Reply(answer.status, reply_headers(answer.headers))
    if kind == "text/event-stream" and plain:
        return (yield from _read_until_output(answer, reply))
    if kind == "application/json":
        body = yield from _read_whole(answer, WHOLE_BODY_MAX)
        if body is None:
            return Opening(ResultClass.SERVER_ERROR, f"the answer is larger than {WHOLE_BODY_MAX} bytes")
        reply.body = body
        usage, state = whole_of(body) if plain else (None, "")
        return Opening(result, reply=reply, usage=usage, state=state)
    return Opening(result, reply=reply, answer=answer)


def _read_whole(answer: Answer, limit: int) -> Doing[bytes | None]:
    read, parts, size = Read(answer), [], 0
    while data := (yield read):
        size += len(data)
        if size > limit:
            return None
        parts.append(data)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _read_until_output(answer: Answer, reply: Reply) -> Doing[Opening]:
    read, reader, held = Read(answer), StreamReader(), []
    while data := (yield read):
        held.append(data)
        begin = reader.feed(data)
        if begin is Begin.OUTPUT:
            first = held[0] if len(held) == 1 else b"".join(held)
            return Opening(
                ResultClass.OK, reply=reply, answer=answer, held=first, reader=reader, state=reader.state
            )
        if begin is Begin.ERROR:
            return _error_event(reader)
    return Opening(ResultClass.CUT, "the stream ended before any output")


def _error_event(reader: StreamReader) -> Opening:
    result = classify_error_event(reader.error)
    status = {ResultClass.THROTTLED: 429, ResultClass.CLIENT_ERROR: 400}.get(result, 500)
    error = reader.error if isinstance(reader.error, dict) else {}
    text = str(error.get("message") or "an error event before any output")
    return Opening(result, text, failure(status, text, str(error.get("code") or result.value), []))
