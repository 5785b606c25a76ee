"""What the shells of httpx2 and httpx have in common, without their classes: a request as a value, and the
body of a reply as it comes."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextvars import Context
from typing import Any, Protocol, TypeAlias

from tieline._http.content import Spool
from tieline._http.messages import Headers, HttpRequest, StreamBrokenError, WireError
from tieline._request.form import Field
from tieline._request.limits import declared_s
from tieline._request.relay import Relay
from tieline._request.reply import Reply
from tieline._request.upload import Upload
from tieline.errors import StreamRestartedError

DRAIN_MS = 100
HTTP_ERRORS_FROM = 400
_PREFIX = "/v1/"
# Of x-tieline-... and x-request-id, in any case. The openai SDK sends nine headers that begin with "x-s".
_NAMED_STARTS = frozenset(x + b"-" + letter for x in (b"x", b"X") for letter in (b"t", b"T", b"r", b"R"))

Send: TypeAlias = Callable[[HttpRequest], Reply]
SendAsync: TypeAlias = Callable[[HttpRequest], Awaitable[Reply]]


class LibraryUrl(Protocol):
    """A URL of either library."""

    @property
    def raw_path(self) -> bytes: ...


class LibraryHeaders(Protocol):
    """Headers of either library."""

    @property
    def raw(self) -> Headers: ...


class LibraryRequest(Protocol):
    """A request of either library."""

    method: str
    extensions: Any  # httpx: dict[str, Any]; httpx2: a mapping

    @property
    def url(self) -> LibraryUrl: ...
    @property
    def headers(self) -> LibraryHeaders: ...


async def upload_of_async(request: LibraryRequest, stream: AsyncIterable[bytes]) -> HttpRequest:
    """The request as an exchange wants it, with a body that its caller gives piece by piece. Others get their
    turn after each piece that is written to a file. Raises ``SpoolError``."""
    upload = Upload(request.headers.raw)
    async for piece in stream:
        if upload.add(piece):
            await asyncio.sleep(0)
    return value_of(request, upload.body, upload.fields)


def upload_of_sync(request: LibraryRequest, stream: Iterable[bytes]) -> HttpRequest:
    """As ``upload_of_async``."""
    upload = Upload(request.headers.raw)
    for piece in stream:
        upload.add(piece)
    return value_of(request, upload.body, upload.fields)


def value_of(
    request: LibraryRequest, body: bytes | Spool, fields: Mapping[str, Field] | None = None
) -> HttpRequest:
    """The request as an exchange wants it. ``named`` holds only the headers that routing may ask for: looking
    one up in a library's own headers costs more than copying these few."""
    timeout = request.extensions.get("timeout")
    headers = request.headers.raw
    named = {
        name.lower().decode("latin-1"): value.decode("latin-1")
        for name, value in headers
        if name[:3] in _NAMED_STARTS
    }
    return HttpRequest(
        request.method,
        _path_behind_base(request.url.raw_path.decode("ascii")),
        headers,
        body=body,
        named=named,
        timeout_s=declared_s(timeout.get("read"), timeout.get("connect"))
        if isinstance(timeout, Mapping)
        else None,
        fields=fields,
    )


def _path_behind_base(path: str) -> str:
    """What follows the base URL, also where that is another than the client's own: whatever it is, the base
    URL of the pool takes its place."""
    before, prefix, rest = path.partition(_PREFIX)
    return f"/{rest}" if prefix and "?" not in before else path


async def resend_async(send: SendAsync, request: HttpRequest, context: Context) -> Reply | None:
    """Send a request anew with the options of its first time, which ``context`` holds. None where no pool
    answers it."""

    async def resend() -> Reply:
        return await send(request)

    reply = await asyncio.get_running_loop().create_task(resend(), context=context)
    return None if reply.status >= HTTP_ERRORS_FROM else reply


def resend_sync(send: Send, request: HttpRequest, context: Context) -> Reply | None:
    """As ``resend_async``."""
    reply = context.run(send, request)
    return None if reply.status >= HTTP_ERRORS_FROM else reply


class AsyncRelayedBody:
    """The body of a reply that is still on its way. A shell's class derives from this and from its library's
    ``AsyncByteStream``, and says by ``error_for`` what its library raises for a stream that breaks.
    ``resend`` gives the library's response to a request that is sent anew, None where it fails again."""

    error_for: Callable[[StreamBrokenError], Exception]

    def __init__(self, relay: Relay, resend: Callable[[HttpRequest], Awaitable[Any]]) -> None:
        self._relay = relay
        self._resend = resend

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Bytes as they come. Raises ``error_for`` of a stream that breaks, stalls, or ends without its last
        event; StreamRestartedError instead where its request was sent anew."""
        relay = self._relay
        yield relay.prefix
        read = relay.answer.read
        try:
            while True:
                relay.waits()
                data = await read()
                if not data:
                    break
                relay.take(data)
                yield data
            relay.over()
        except WireError as error:
            if (broken := relay.broken(error)) is not None:
                raise await self._failure(broken) from None
        except StreamBrokenError as error:
            raise await self._failure(error) from None

    async def aclose(self) -> None:
        """Let go of the answer. Its connection is kept if the body is whole, which may take a moment to
        show."""
        relay = self._relay
        try:
            if relay.complete:
                relay.waits(DRAIN_MS)
                while await relay.answer.read():
                    pass
        except WireError:
            pass
        finally:
            relay.close()

    async def _failure(self, broken: StreamBrokenError) -> Exception:
        self._relay.close()
        request = self._relay.restart() if self._relay.restart is not None else None
        response = await self._resend(request) if request is not None else None
        return self.error_for(broken) if response is None else StreamRestartedError(str(broken), response)


class SyncRelayedBody:
    """As ``AsyncRelayedBody``, for a library's ``SyncByteStream``."""

    error_for: Callable[[StreamBrokenError], Exception]

    def __init__(self, relay: Relay, resend: Callable[[HttpRequest], Any]) -> None:
        self._relay = relay
        self._resend = resend

    def __iter__(self) -> Iterator[bytes]:
        """As ``AsyncRelayedBody.__aiter__``."""
        relay = self._relay
        yield relay.prefix
        read = relay.answer.read
        try:
            while True:
                relay.waits()
                data = read()
                if not data:
                    break
                relay.take(data)
                yield data
            relay.over()
        except WireError as error:
            if (broken := relay.broken(error)) is not None:
                raise self._failure(broken) from None
        except StreamBrokenError as error:
            raise self._failure(error) from None

    def close(self) -> None:
        """As ``AsyncRelayedBody.aclose``."""
        relay = self._relay
        try:
            if relay.complete:
                relay.waits(DRAIN_MS)
                while relay.answer.read():
                    pass
        except WireError:
            pass
        finally:
            relay.close()

    def _failure(self, broken: StreamBrokenError) -> Exception:
        self._relay.close()
        request = self._relay.restart() if self._relay.restart is not None else None
        response = self._resend(request) if request is not None else None
        return self.error_for(broken) if response is None else StreamRestartedError(str(broken), response)
