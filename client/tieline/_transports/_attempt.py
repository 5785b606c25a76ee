"""One attempt at one pool: send, read until it is known whether the answer is good, say how it ended."""

from collections.abc import AsyncIterator

from msgspec import Struct

from tieline import _providers
from tieline._body import Body
from tieline._providers.credentials import Credentials, MissingCredentialError
from tieline._route import Target
from tieline._sse import Begin, StreamReader, usage_of
from tieline._transports._neutral import (
    Answer,
    Ask,
    Reply,
    Wire,
    WireError,
    failure,
    find,
    reply_headers,
    request_headers,
    retry_after_ms,
)
from tieline._transports._outcome import classify, classify_error_event
from tieline.events import ResultClass

CONNECT_S = 5.0
ERROR_BODY_MAX = 1024 * 1024
WHOLE_BODY_MAX = 64 * 1024 * 1024


class Call(Struct, frozen=True):
    """One caller's request, the same for all its attempts."""

    ask: Ask
    body: Body
    request_id: str


class Opening(Struct):
    """How far an attempt came. ``result`` OK: the reply may be handed on, with ``rest`` still to come if
    the answer streams. ``reply`` is None when there was no answer at all; ``text`` then says why."""

    result: ResultClass
    text: str = ""
    reply: Reply | None = None
    retry_after_ms: int | None = None
    usage: tuple[int, int] | None = None
    answer: Answer | None = None
    rest: AsyncIterator[bytes] | None = None
    held: bytes = b""
    reader: StreamReader | None = None


class Sender:
    """Attempts over one wire."""

    def __init__(self, wire: Wire, credentials: Credentials) -> None:
        self._wire = wire
        self._credentials = credentials

    async def open(self, call: Call, target: Target, now_epoch_ms: int) -> Opening:
        """Raises nothing but cancellation; whoever cancels it (a time-out) leaves no connection behind."""
        ask, body = call.ask, call.body
        try:
            auth = await self._auth(target)
            headers = request_headers(ask, call.request_id, auth, stream=body.stream)
            url = _providers.url_for(target, ask.path)
            data = body.with_model(target.name)
            answer = await self._wire.send(ask.method, url, headers, data, connect_s=CONNECT_S)
        except MissingCredentialError as error:
            return Opening(ResultClass.AUTH, str(error))
        except WireError as error:
            return Opening(error.result, str(error))
        try:
            opening = await self._read(call, answer, now_epoch_ms)
        except WireError as error:
            opening = Opening(ResultClass.CUT, str(error))
        except BaseException:
            await answer.close()
            raise
        if opening.answer is None:
            await answer.close()
        if opening.result is ResultClass.AUTH:
            self._credentials.forget(target.credential)
        return opening

    async def _auth(self, target: Target) -> tuple[bytes, bytes] | None:
        if not target.credential:
            return None
        secret, is_token = await self._credentials.get(target.credential)
        return _providers.auth_for(target, secret, is_token=is_token)

    async def _read(self, call: Call, answer: Answer, now_epoch_ms: int) -> Opening:
        result = classify(answer.status, has_model=bool(call.body.model))
        chunks = answer.chunks()
        kind = (find(answer.headers, b"content-type") or "").split(";")[0].strip().lower()
        if result is not ResultClass.OK:
            body = await _read_whole(chunks, ERROR_BODY_MAX)
            reply = Reply(answer.status, reply_headers(answer.headers), body or b"")
            return Opening(result, reply=reply, retry_after_ms=retry_after_ms(answer.headers, now_epoch_ms))
        reply = Reply(answer.status, reply_headers(answer.headers))
        plain = find(answer.headers, b"content-encoding") in (None, "identity")
        if kind == "text/event-stream" and plain:
            return await _read_until_output(answer, chunks, reply)
        if kind == "application/json" and not call.body.stream:
            body = await _read_whole(chunks, WHOLE_BODY_MAX)
            if body is None:
                return Opening(ResultClass.SERVER_ERROR, f"the answer is larger than {WHOLE_BODY_MAX} bytes")
            reply.body = body
            return Opening(result, reply=reply, usage=usage_of(body) if plain else None)
        return Opening(result, reply=reply, answer=answer, rest=chunks)


async def _read_whole(chunks: AsyncIterator[bytes], limit: int) -> bytes | None:
    parts, size = [], 0
    async for data in chunks:
        size += len(data)
        if size > limit:
            return None
        parts.append(data)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _read_until_output(answer: Answer, chunks: AsyncIterator[bytes], reply: Reply) -> Opening:
    reader, held = StreamReader(), []
    async for data in chunks:
        held.append(data)
        begin = reader.feed(data)
        if begin is Begin.OUTPUT:
            return Opening(
                ResultClass.OK,
                reply=reply,
                answer=answer,
                rest=chunks,
                held=b"".join(held),
                reader=reader,
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
