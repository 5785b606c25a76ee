"""Shells for httpx2, which the openai SDK is made of from 3.0 on: requests in, replies out, nothing
decided."""

from collections.abc import AsyncIterable, Iterable
from contextvars import Context, copy_context
from functools import partial
from typing import Any

import httpx2

from tieline._http.content import SpoolError
from tieline._http.messages import HttpRequest, StreamBrokenError
from tieline._request.reply import Reply
from tieline._transports.shells import (
    AsyncRelayedBody,
    Send,
    SendAsync,
    SyncRelayedBody,
    resend_async,
    resend_sync,
    upload_of_async,
    upload_of_sync,
    value_of,
)


class Httpx2AsyncTransport(httpx2.AsyncBaseTransport):
    """Closing it closes nothing: connections belong to the client."""

    def __init__(self, send: SendAsync) -> None:
        self._send = send

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Every request goes where the route table says; its URL matters only behind the base."""
        return self._response(request, await self._send(await _value_of_async(request)))

    def _response(self, request: httpx2.Request, reply: Reply) -> httpx2.Response:
        if reply.timed_out:
            raise httpx2.ReadTimeout(reply.timed_out, request=request)
        if reply.relay is None:
            stream: Any = httpx2.ByteStream(reply.body)
        else:
            stream = _Httpx2AsyncBody(reply.relay, partial(self._resend, request, copy_context()))
        return httpx2.Response(reply.status, headers=reply.headers, stream=stream, request=request)

    async def _resend(
        self, request: httpx2.Request, context: Context, anew: HttpRequest
    ) -> httpx2.Response | None:
        reply = await resend_async(self._send, anew, context)
        return None if reply is None else self._response(request, reply)


class Httpx2Transport(httpx2.BaseTransport):
    """The synchronous twin: everything happens in the caller's thread."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """As ``Httpx2AsyncTransport``."""
        return self._response(request, self._send(_value_of_sync(request)))

    def _response(self, request: httpx2.Request, reply: Reply) -> httpx2.Response:
        if reply.timed_out:
            raise httpx2.ReadTimeout(reply.timed_out, request=request)
        if reply.relay is None:
            stream: Any = httpx2.ByteStream(reply.body)
        else:
            stream = _Httpx2SyncBody(reply.relay, partial(self._resend, request, copy_context()))
        return httpx2.Response(reply.status, headers=reply.headers, stream=stream, request=request)

    def _resend(self, request: httpx2.Request, context: Context, anew: HttpRequest) -> httpx2.Response | None:
        reply = resend_sync(self._send, anew, context)
        return None if reply is None else self._response(request, reply)


async def _value_of_async(request: httpx2.Request) -> HttpRequest:
    if isinstance(request.stream, httpx2.ByteStream):
        return value_of(request, request.content)
    try:
        assert isinstance(request.stream, AsyncIterable)
        return await upload_of_async(request, request.stream)
    except SpoolError as error:
        raise httpx2.WriteError(str(error), request=request) from None


def _value_of_sync(request: httpx2.Request) -> HttpRequest:
    if isinstance(request.stream, httpx2.ByteStream):
        return value_of(request, request.content)
    try:
        assert isinstance(request.stream, Iterable)
        return upload_of_sync(request, request.stream)
    except SpoolError as error:
        raise httpx2.WriteError(str(error), request=request) from None


def async_client(send: SendAsync, settings: dict[str, Any]) -> httpx2.AsyncClient:
    """An HTTP client whose requests go through Tieline. ``settings``: its other arguments."""
    return httpx2.AsyncClient(transport=Httpx2AsyncTransport(send), follow_redirects=False, **settings)


def sync_client(send: Send, settings: dict[str, Any]) -> httpx2.Client:
    """As ``async_client``."""
    return httpx2.Client(transport=Httpx2Transport(send), follow_redirects=False, **settings)


def _error_for(error: StreamBrokenError) -> httpx2.TransportError:
    return httpx2.ReadTimeout(str(error)) if error.idle else httpx2.RemoteProtocolError(str(error))


class _Httpx2AsyncBody(AsyncRelayedBody, httpx2.AsyncByteStream):
    error_for = staticmethod(_error_for)


class _Httpx2SyncBody(SyncRelayedBody, httpx2.SyncByteStream):
    error_for = staticmethod(_error_for)
