"""Shells for httpx2, which the openai SDK uses from 3.0 on: requests in, replies out, nothing decided."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Protocol

import httpx2

from tieline._transports._neutral import Ask, Reply, StreamBrokenError

_PREFIX = "/v1"

SendAsync = Callable[[Ask], Awaitable[Reply]]


class Step(Protocol):
    """How a synchronous caller uses what is asynchronous: the next bytes of a stream, or None at its end."""

    def next(self, stream: AsyncIterator[bytes]) -> bytes | None: ...
    def close(self, close: Callable[[], Awaitable[None]]) -> None: ...


class AsyncTransport(httpx2.AsyncBaseTransport):
    """Closing it closes nothing: connections belong to the client."""

    def __init__(self, send: SendAsync) -> None:
        self._send = send

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Every request goes where the route table says; its URL matters only behind the base."""
        reply = await self._send(ask_of(request, await request.aread()))
        stream = httpx2.ByteStream(reply.body) if reply.stream is None else _AsyncBody(reply)
        return httpx2.Response(reply.status, headers=reply.headers, stream=stream, request=request)


class Transport(httpx2.BaseTransport):
    """The synchronous twin: ``send`` and ``step`` run the same driver in the client's background thread."""

    def __init__(self, send: Callable[[Ask], Reply], step: Step) -> None:
        self._send = send
        self._step = step

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """As ``AsyncTransport``."""
        reply = self._send(ask_of(request, request.read()))
        stream = httpx2.ByteStream(reply.body) if reply.stream is None else _SyncBody(reply, self._step)
        return httpx2.Response(reply.status, headers=reply.headers, stream=stream, request=request)


def ask_of(request: httpx2.Request, body: bytes) -> Ask:
    """The request without httpx2's classes."""
    timeout = request.extensions.get("timeout")
    read_s = timeout.get("read") if isinstance(timeout, dict) else None
    path = request.url.raw_path.decode("ascii")
    return Ask(
        request.method,
        path.removeprefix(_PREFIX),
        request.headers.raw,
        body,
        request.headers,
        read_s,
    )


class _AsyncBody(httpx2.AsyncByteStream):
    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert self._reply.stream is not None
        try:
            async for data in self._reply.stream:
                yield data
        except StreamBrokenError as error:
            raise _as_httpx2(error) from None

    async def aclose(self) -> None:
        if self._reply.close is not None:
            await self._reply.close()


class _SyncBody(httpx2.SyncByteStream):
    def __init__(self, reply: Reply, step: Step) -> None:
        self._reply = reply
        self._step = step

    def __iter__(self) -> Iterator[bytes]:
        assert self._reply.stream is not None
        try:
            while (data := self._step.next(self._reply.stream)) is not None:
                yield data
        except StreamBrokenError as error:
            raise _as_httpx2(error) from None

    def close(self) -> None:
        if self._reply.close is not None:
            self._step.close(self._reply.close)


def _as_httpx2(error: StreamBrokenError) -> httpx2.TransportError:
    return httpx2.ReadTimeout(str(error)) if error.idle else httpx2.RemoteProtocolError(str(error))
