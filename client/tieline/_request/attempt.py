"""PURE, sans I/O. One attempt at one pool: what to send, what to read until it is known whether the answer is
good, and how it ended.

Attempts are generators of *effects*. They yield what is to be done (an ``Effect``) and are sent what came of
it; a connection that fails is thrown into them as a ``WireError``. Whoever runs one may block or await.

    GetSecret -> SecretInUse                                 if the pool has a credential
    Sign      -> the headers that the signer adds            if it is a signer
    Open      -> the answer, its head read
    Read ...  -> bytes of its body: to its end for JSON and errors, to the first output for a stream
"""

from collections.abc import Callable, Generator
from typing import Any, TypeAlias, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from tieline import providers as _providers
from tieline._http.content import Content
from tieline._http.flights import Flight
from tieline._http.http1 import to_sign
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
from tieline._request.destinations import Destinations
from tieline._request.reply import Opening, Reply, error_event
from tieline._routing.route import Target
from tieline.credentials import (
    MissingCredentialError,
    RequestSigner,
    RequestToSign,
    SecretInUse,
    Token,
)
from tieline.events import ResultClass
from tieline.providers import answers as _answers
from tieline.providers.answers import NO_ERROR, Reading, reading_of_result
from tieline.providers.rate_limits import rate_limits
from tieline.providers.streams import Phase, StreamReader, read_whole
from tieline.providers.whole import (
    BrokenBodyError,
    comes_as_stream,
    decompressed,
    judge,
    must_be_json,
    must_have_body,
)

ERROR_BODY_MAX = 1024 * 1024
_COSTLY_PATHS = ("/images", "/audio", "/videos")
TRACE_HEADERS = (b"traceparent", b"tracestate")
NO_TRACE: Headers = []
WHOLE_BODY_MAX = 64 * 1024 * 1024


class GetSecret(Struct, frozen=True):
    """Give (secret or signer, whether it is a token). Throw ``MissingCredentialError`` when there is none by
    ``due_ms``."""

    name: str
    due_ms: int


class Sign(Struct, frozen=True):
    """Give the headers that a signer adds to this request. Throw ``MissingCredentialError`` when there are
    none by ``due_ms``."""

    name: str
    signer: RequestSigner
    request: RequestToSign
    due_ms: int


class Open(Struct, frozen=True):
    """Send a request; give the ``Answer`` once its head has come. Throw ``WireError``."""

    method: str
    url: str
    headers: Headers
    body: Content
    flight: Flight


class Read(Struct, frozen=True):
    """Give what has come of the body, b"" at its end. Throw ``WireError``."""

    answer: Any


class FindHolders(Struct, frozen=True):
    """Give those of the ids that other processes know, with their pools, within a few ms."""

    ids: tuple[str, ...]


class Pause(Struct, frozen=True):
    """Wait so long; give nothing."""

    wait_ms: int


Effect: TypeAlias = GetSecret | Sign | Open | Read | FindHolders | Pause
_T = TypeVar("_T")
Steps: TypeAlias = Generator[Effect, Any, _T]


class Call(Struct, frozen=True):
    """One caller's request, the same for all its attempts. ``retry_empty``: an answer without any content is
    to be tried again. ``held_bytes_max``: how much of a stream is held back after its first output until it
    is complete; 0: nothing."""

    request: HttpRequest
    body: Body
    request_id: str
    retry_empty: bool = False
    held_bytes_max: int = 0

    @property
    def names_model(self) -> bool:
        """Whether a 404 can only mean the model: the request names one, and nothing else that could be
        missing."""
        return bool(self.body.model) and not self.body.refers

    @property
    def is_costly(self) -> bool:
        """Whether what is made is dear and takes long: images, audio, video."""
        return self.request.method == "POST" and self.request.path.startswith(_COSTLY_PATHS)


def attempt(
    call: Call,
    target: Target,
    flight: Flight,
    now_epoch_ms: int,
    *,
    lives: Callable[[Phase], None],
    destinations: Destinations,
    trace: Headers = NO_TRACE,
) -> Steps[Opening]:
    """Raises nothing of its own. An answer that is not handed on is closed. ``lives`` is called whenever more
    has come of a stream that is held back, with what it has shown so far. ``trace``: headers that tell the
    provider of the attempt's span; they replace the caller's own. ``destinations``: where secrets may go."""
    answer: Answer | None = None
    secret: SecretInUse | None = None
    try:
        if target.credential:
            destinations.check(target.credential, target.adapter, target.url)
            secret = yield GetSecret(target.credential, flight.due_ms)
        sending = _sending(call, target, flight, secret, trace=trace)
        if secret is not None and isinstance(secret.value, RequestSigner):
            sending = yield from _signed(sending, secret.value, target.credential)
        answer = yield sending
        opening = yield from _read(call, target, answer, now_epoch_ms, lives=lives)
    except MissingCredentialError as error:
        return Opening(reading_of_result(ResultClass.AUTH), str(error))
    except WireError as error:
        # What a connection says when it is closed under a request that is called back depends on its moment.
        result = ResultClass.TIMEOUT if flight.abandoned else error.result
        opening = Opening(reading_of_result(result), str(error))
    if secret is not None and secret.may_change and isinstance(secret.value, str):
        opening.token = Token(secret.value)
    if answer is not None:
        opening.status = answer.status
        opening.rate_limits = rate_limits(answer.headers, now_epoch_ms)
        if opening.answer is None:
            answer.close()
    return opening


def _sending(
    call: Call,
    target: Target,
    flight: Flight,
    secret: SecretInUse | None,
    *,
    trace: Headers,
) -> Open:
    request, auth = call.request, None
    if secret is not None and isinstance(secret.value, str):
        auth = _providers.auth_for(target.adapter, secret.value, is_token=secret.is_token)
    headers = request_headers(request, call.request_id, auth, stream=call.body.stream)
    if trace:
        headers = [*(line for line in headers if line[0].lower() not in TRACE_HEADERS), *trace]
    url = _providers.url_for(target.adapter, target.url, path=request.path, model=target.name)
    return Open(request.method, url, headers, body=call.body.with_model(target.name), flight=flight)


def _signed(sending: Open, signer: RequestSigner, name: str) -> Steps[Open]:
    """With the headers of a signer in place of others of the same names."""
    request = to_sign(sending.method, sending.url, sending.headers, sending.body)
    added: Headers = yield Sign(name, signer, request, due_ms=sending.flight.due_ms)
    names = {name.lower() for name, _ in added}
    headers = [line for line in sending.headers if line[0].lower() not in names]
    return replace(sending, headers=headers + added)


def _read(
    call: Call, target: Target, answer: Answer, now_epoch_ms: int, *, lives: Callable[[Phase], None]
) -> Steps[Opening]:
    if answer.status // 100 != 2:
        return (yield from _read_refusal(call, target, answer, now_epoch_ms))
    kind = _answers.media_type(find(answer.headers, b"content-type"))
    encoding = find(answer.headers, b"content-encoding")
    reply = Reply(answer.status, reply_headers(answer.headers))
    is_json = must_be_json(call.request.method, call.request.path, answer.status, kind)
    is_stream = comes_as_stream(kind, asks_stream=call.body.stream, is_json=is_json)
    if is_stream and encoding in (None, "identity"):
        return (yield from _read_until_output(call, answer, reply, lives, kind=kind))
    if is_json or kind == _answers.JSON:
        body, is_whole = yield from _read_body(answer, WHOLE_BODY_MAX)
        if not is_whole:  # too large to be held back: it is handed on as it comes
            return Opening(_answers.GOOD, reply=reply, answer=answer, prefix=body)
        reply.body = body
        try:
            whole = decompressed(body, encoding)
        except BrokenBodyError:
            return Opening(_answers.UNHEALTHY, f"the answer is no {encoding}, or breaks off")
        if is_json and (whole is not None or kind == _answers.HTML):
            return _judged(call, reply, kind, whole or b"")
        usage, answer_id = read_whole(whole or b"")
        return Opening(_answers.GOOD, reply=reply, usage=usage, answer_id=answer_id, whole=whole or b"")
    if not must_have_body(call.request.method, call.request.path, answer.status):
        return Opening(_answers.GOOD, reply=reply, answer=answer)
    if first := (yield Read(answer)):
        return Opening(_answers.GOOD, reply=reply, answer=answer, prefix=first)
    return Opening(_answers.UNHEALTHY, "the answer is empty")


def _judged(call: Call, reply: Reply, kind: str, whole: bytes) -> Opening:
    """A whole answer of an API whose answers are JSON, by what its body says (``whole``, without its
    compression)."""
    if kind == _answers.HTML:
        return Opening(_answers.UNHEALTHY, "the answer is a page of HTML")
    is_creation = call.request.method == "POST"
    judged = judge(whole, is_creation=is_creation, retry_empty=call.retry_empty)
    if judged.reading.result is ResultClass.OK:
        return Opening(
            judged.reading, reply=reply, usage=judged.usage, answer_id=judged.answer_id, whole=whole
        )
    if judged.error == NO_ERROR and not judged.is_own_status:
        return Opening(judged.reading, judged.text)
    if not judged.is_own_status:
        reply.status = _answers.status_of_error(judged.error)
    return Opening(judged.reading, judged.text, reply=reply, error=judged.error)


def _read_refusal(call: Call, target: Target, answer: Answer, now_epoch_ms: int) -> Steps[Opening]:
    """An answer with an error status: what it means, in the provider's own words."""
    body, is_whole = yield from _read_body(answer, ERROR_BODY_MAX)
    body = body if is_whole else b""
    try:
        error = _answers.error_in_body(decompressed(body, find(answer.headers, b"content-encoding")) or b"")
    except BrokenBodyError:
        error = NO_ERROR
    reading = _answers.reading_of_status(
        answer.status,
        error,
        names_model=call.names_model,
        names_deployment=call.names_model and target.adapter == "azure_classic",
    )
    reply = Reply(answer.status, reply_headers(answer.headers), body)
    wait_ms = retry_after_ms(answer.headers, now_epoch_ms)
    reading = _as_told(reading, find(answer.headers, b"x-should-retry"))
    return Opening(reading, reply=reply, retry_after_ms=wait_ms, error=error)


def _as_told(reading: Reading, should_retry: str | None) -> Reading:
    """The reading with the provider's own word on another try. It speaks of this provider: a pool that failed
    may be left for another one all the same."""
    match should_retry:
        case "true":
            return replace(reading, elsewhere=True, again=True)
        case "false" if reading.again:
            return replace(reading, again=False)
    return reading


def _read_body(answer: Answer, bytes_max: int) -> Steps[tuple[bytes, bool]]:
    """(what has come of the body, whether that is all): more than ``bytes_max`` are not waited for."""
    read, parts, size = Read(answer), [], 0
    while data := (yield read):
        size += len(data)
        parts.append(data)
        if size > bytes_max:
            return b"".join(parts), False
    return (parts[0] if len(parts) == 1 else b"".join(parts)), True


def _read_until_output(
    call: Call, answer: Answer, reply: Reply, lives: Callable[[Phase], None], *, kind: str
) -> Steps[Opening]:
    """Up to the first output, or to the end of a stream that is held back: until then the request may still
    change its pool."""
    read, reader, parts = Read(answer), StreamReader(call.request.path, call.body.answers), []
    size = 0
    while data := (yield read):
        parts.append(data)
        size += len(data)
        phase = reader.feed(data)
        if phase is Phase.OUTPUT and size > call.held_bytes_max:
            return _handed_on(answer, reply, reader, b"".join(parts), is_held=call.held_bytes_max > 0)
        if reader.error is not None:
            return _error_event(reader)
        if reader.ended:
            return _handed_on(answer, reply, reader, b"".join(parts), is_held=True)
        lives(phase)
    reader.close(clean=True)  # the last event may lack the empty line after it
    if reader.error is not None:
        return _error_event(reader)
    if reader.phase is Phase.WAITING and kind != _answers.EVENT_STREAM:
        reply.body = b"".join(parts)
        return _judged(call, reply, kind, reply.body)
    if reader.phase is Phase.WAITING:
        return Opening(reading_of_result(ResultClass.CUT), "the stream ended before any output")
    if not reader.ended:
        return Opening(reading_of_result(ResultClass.CUT), "the stream ended without its last event")
    reply.body = b"".join(parts)
    return Opening(_answers.GOOD, reply=reply, reader=reader, usage=reader.usage, answer_id=reader.answer_id)


def _handed_on(
    answer: Answer, reply: Reply, reader: StreamReader, prefix: bytes, *, is_held: bool
) -> Opening:
    return Opening(
        _answers.GOOD,
        reply=reply,
        answer=answer,
        prefix=prefix,
        reader=reader,
        answer_id=reader.answer_id,
        is_held=is_held,
    )


def _error_event(reader: StreamReader) -> Opening:
    """An error that came before anything was handed on: a failed attempt."""
    reading = _answers.reading_of_error(reader.error)
    return Opening(reading, reply=error_event(reader, reading.result))
