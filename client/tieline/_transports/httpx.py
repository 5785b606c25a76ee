"""Shells for httpx, which the openai SDK uses up to 2.x: requests in, replies out, nothing decided."""

from collections.abc import AsyncIterator, Callable, Iterator

import httpx

from tieline._http.messages import Ask, StreamBrokenError
from tieline._request.relay import Relay
from tieline._request.reply import Reply
from tieline._transports.run import follow, follow_sync, leave, leave_sync
from tieline._transports.shell import SendAsync, ask_of


class AsyncTransport(httpx.AsyncBaseTransport):
    """Closing it closes nothing: connections belong to the client."""

    def __init__(self, send: SendAsync) -> None:
        self._send = send

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Every request goes where the route table says; its URL matters only behind the base."""
        body = await request.aread()
        reply = await self._send(
            ask_of(request.method, request.url.raw_path, request.headers.raw, request.extensions, body)
        )
        stream = httpx.ByteStream(reply.body) if reply.relay is None else _AsyncBody(reply.relay)
        return httpx.Response(reply.status, headers=reply.headers, stream=stream, request=request)


class Transport(httpx.BaseTransport):
    """The synchronous twin: everything happens in the caller's thread."""

    def __init__(self, send: Callable[[Ask], Reply]) -> None:
        self._send = send

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """As ``AsyncTransport``."""
        body = request.read()
        reply = self._send(
            ask_of(request.method, request.url.raw_path, request.headers.raw, request.extensions, body)
        )
        stream = httpx.ByteStream(reply.body) if reply.relay is None else _SyncBody(reply.relay)
        return httpx.Response(reply.status, headers=reply.headers, stream=stream, request=request)


class _AsyncBody(httpx.AsyncByteStream):
    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def __aiter__(self) -> AsyncIterator[bytes]:
        return follow(self._relay, _told)

    async def aclose(self) -> None:
        await leave(self._relay)


class _SyncBody(httpx.SyncByteStream):
    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def __iter__(self) -> Iterator[bytes]:
        return follow_sync(self._relay, _told)

    def close(self) -> None:
        leave_sync(self._relay)


def _told(error: StreamBrokenError) -> httpx.TransportError:
    return httpx.ReadTimeout(str(error)) if error.idle else httpx.RemoteProtocolError(str(error))
