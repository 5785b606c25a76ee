"""Shells for httpx2, which the openai SDK uses from 3.0 on: requests in, replies out, nothing decided."""

from collections.abc import AsyncIterator, Callable, Iterator

import httpx2

from tieline._transports._neutral import Ask, Reply, StreamBrokenError
from tieline._transports._shell import SendAsync, Step, ask_of


class AsyncTransport(httpx2.AsyncBaseTransport):
    """Closing it closes nothing: connections belong to the client."""

    def __init__(self, send: SendAsync) -> None:
        self._send = send

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Every request goes where the route table says; its URL matters only behind the base."""
        body = await request.aread()
        reply = await self._send(
            ask_of(request.method, request.url.raw_path, request.headers.raw, request.extensions, body)
        )
        stream = httpx2.ByteStream(reply.body) if reply.stream is None else _AsyncBody(reply)
        return httpx2.Response(reply.status, headers=reply.headers, stream=stream, request=request)


class Transport(httpx2.BaseTransport):
    """The synchronous twin: ``send`` and ``step`` run the same driver in the client's background thread."""

    def __init__(self, send: Callable[[Ask], Reply], step: Step) -> None:
        self._send = send
        self._step = step

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """As ``AsyncTransport``."""
        body = request.read()
        reply = self._send(
            ask_of(request.method, request.url.raw_path, request.headers.raw, request.extensions, body)
        )
        stream = httpx2.ByteStream(reply.body) if reply.stream is None else _SyncBody(reply, self._step)
        return httpx2.Response(reply.status, headers=reply.headers, stream=stream, request=request)


class _AsyncBody(httpx2.AsyncByteStream):
    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def __aiter__(self) -> AsyncIterator[bytes]:
        assert self._reply.stream is not None
        self._reply.stream.broken = _told
        return aiter(self._reply.stream)

    async def aclose(self) -> None:
        if self._reply.close is not None:
            await self._reply.close()


class _SyncBody(httpx2.SyncByteStream):
    def __init__(self, reply: Reply, step: Step) -> None:
        self._reply = reply
        self._step = step

    def __iter__(self) -> Iterator[bytes]:
        assert self._reply.stream is not None
        self._reply.stream.broken = _told
        chunks = aiter(self._reply.stream)
        while (data := self._step.next(chunks)) is not None:
            yield data

    def close(self) -> None:
        if self._reply.close is not None:
            self._step.close(self._reply.close)


def _told(error: StreamBrokenError) -> httpx2.TransportError:
    return httpx2.ReadTimeout(str(error)) if error.idle else httpx2.RemoteProtocolError(str(error))
