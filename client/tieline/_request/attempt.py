"""PURE, sans I/O. One attempt at one pool: what to send, what to read until it is known whether the answer is
good, and how it ended.

Attempts are generators of *effects*. They yield what is to be done (an ``Effect``) and are sent what came of
it; a connection that fails is thrown into them as a ``WireError``. Whoever runs one may block or await.

    GetSecret -> (secret, whether it is a token)     if the pool has a credential Open      -> the answer, its
    head read Read ...  -> bytes of its body                   to its end for JSON and errors, to the first
    output for a stream
"""

from collections.abc import Generator
from typing import Any, TypeAlias, TypeVar

from msgspec import Struct

from tieline import providers as _providers
from tieline._http.flights import Flight
from tieline._http.messages import (
    Answer,
    Headers,
    HttpRequest,
    WireError,
    find,
    reply_headers,
    request_headers,
    retry_after_ms,
)
from tieline._request.body import Body
from tieline._request.reply import Opening, Reply, error_event
from tieline._routing.route import Target
from tieline.credentials import MissingCredentialError
from tieline.events import ResultClass
from tieline.providers import answers as _answers
from tieline.providers.streams import Phase, StreamReader, read_whole

ERROR_BODY_MAX = 1024 * 1024
WHOLE_BODY_MAX = 64 * 1024 * 1024


class GetSecret(Struct, frozen=True):
    """Give (secret, whether it is a token). Throw ``MissingCredentialError`` when there is none by
    ``due_ms``."""

    name: str
    due_ms: int


class Open(Struct, frozen=True):
    """Send a request; give the ``Answer`` once its head has come. Throw ``WireError``."""

    method: str
    url: str
    headers: Headers
    body: bytes
    flight: Flight


class Read(Struct, frozen=True):
    """Give what has come of the body, b"" at its end. Throw ``WireError``."""

    answer: Any


class Pause(Struct, frozen=True):
    """Wait so long; give nothing."""

    wait_ms: int


Effect: TypeAlias = GetSecret | Open | Read | Pause
_T = TypeVar("_T")
Steps: TypeAlias = Generator[Effect, Any, _T]


class Call(Struct, frozen=True):
    """One caller's request, the same for all its attempts."""

    request: HttpRequest
    body: Body
    request_id: str

    @property
    def names_model(self) -> bool:
        """Whether a 404 can only mean the model: the request names one, and nothing else that could be
        missing."""
        return bool(self.body.model) and not self.body.refers


def attempt(call: Call, target: Target, flight: Flight, now_epoch_ms: int) -> Steps[Opening]:
    """Raises nothing of its own. An answer that is not handed on is closed."""
    answer: Answer | None = None
    try:
        answer = yield from _send(call, target, flight)
        opening = yield from _read(call, answer, now_epoch_ms)
    except MissingCredentialError as error:
        return Opening(ResultClass.AUTH, str(error))
    except WireError as error:
        # What a connection says when it is closed under a request that is called back depends on its moment.
        result = ResultClass.TIMEOUT if flight.abandoned else error.result
        opening = Opening(result, str(error))
    if opening.answer is None and answer is not None:
        answer.close()
    return opening


def _send(call: Call, target: Target, flight: Flight) -> Steps[Answer]:
    request, auth = call.request, None
    if target.credential:
        secret, is_token = yield GetSecret(target.credential, flight.due_ms)
        auth = _providers.auth_for(target.adapter, secret, is_token=is_token)
    headers = request_headers(request, call.request_id, auth, stream=call.body.stream)
    url = _providers.url_for(target.adapter, target.url, path=request.path, model=target.name)
    answer: Answer = yield Open(
        request.method, url, headers, body=call.body.with_model(target.name), flight=flight
    )
    return answer


def _read(call: Call, answer: Answer, now_epoch_ms: int) -> Steps[Opening]:
    result = _answers.classify_status(answer.status, names_model=call.names_model)
    if result is not ResultClass.OK:
        body = yield from _read_body(answer, ERROR_BODY_MAX)
        reply = Reply(answer.status, reply_headers(answer.headers), body or b"")
        return Opening(result, reply=reply, retry_after_ms=retry_after_ms(answer.headers, now_epoch_ms))
    kind = _answers.media_type(find(answer.headers, b"content-type"))
    plain = find(answer.headers, b"content-encoding") in (None, "identity")
    reply = Reply(answer.status, reply_headers(answer.headers))
    if kind == _answers.EVENT_STREAM and plain:
        return (yield from _read_until_output(answer, reply))
    if kind == _answers.JSON:
        body = yield from _read_body(answer, WHOLE_BODY_MAX)
        if body is None:
            return Opening(ResultClass.SERVER_ERROR, f"the answer is larger than {WHOLE_BODY_MAX} bytes")
        reply.body = body
        usage, answer_id = read_whole(body) if plain else (None, "")
        return Opening(result, reply=reply, usage=usage, answer_id=answer_id)
    return Opening(result, reply=reply, answer=answer)


def _read_body(answer: Answer, bytes_max: int) -> Steps[bytes | None]:
    """The whole body; None if it is larger than that."""
    read, parts, size = Read(answer), [], 0
    while data := (yield read):
        size += len(data)
        if size > bytes_max:
            return None
        parts.append(data)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _read_until_output(answer: Answer, reply: Reply) -> Steps[Opening]:
    """Up to the first output: until then the request may still change its pool."""
    read, reader, parts = Read(answer), StreamReader(), []
    while data := (yield read):
        parts.append(data)
        phase = reader.feed(data)
        if phase is Phase.OUTPUT:
            return Opening(
                ResultClass.OK,
                reply=reply,
                answer=answer,
                prefix=parts[0] if len(parts) == 1 else b"".join(parts),
                reader=reader,
                answer_id=reader.answer_id,
            )
        if phase is Phase.ERROR:
            result = _answers.classify_error(reader.error)
            return Opening(result, reply=error_event(reader, result))
    return Opening(ResultClass.CUT, "the stream ended before any output")
