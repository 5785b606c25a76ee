"""Shells for httpx, which the openai SDK is made of up to 2.x: requests in, replies out, nothing decided."""

from collections.abc import AsyncIterable, Iterable
from contextvars import Context, copy_context
from functools import partial
from typing import Any

import httpx

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


class HttpxAsyncTransport(httpx.AsyncBaseTransport):
    """Closing it closes nothing: connections belong to the client."""

    def __init__(self, send: SendAsync) -> None:
        self._send = send

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Every request goes where the route table says; its URL matters only behind the base."""
        return self._response(request, await self._send(await _value_of_async(request)))

    def _response(self, request: httpx.Request, reply: Reply) -> httpx.Response:
        if reply.timed_out:
            raise httpx.ReadTimeout(reply.timed_out, request=request)
        if reply.relay is None:
            stream: Any = httpx.ByteStream(reply.body)
        else:
            stream = _HttpxAsyncBody(reply.relay, partial(self._resend, request, copy_context()))
        return httpx.Response(reply.status, headers=reply.headers, stream=stream, request=request)

    async def _resend(
        self, request: httpx.Request, context: Context, anew: HttpRequest
    ) -> httpx.Response | None:
        reply = await resend_async(self._send, anew, context)
        return None if reply is None else self._response(request, reply)


class HttpxTransport(httpx.BaseTransport):
    """The synchronous twin: everything happens in the caller's thread."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """As ``HttpxAsyncTransport``."""
        return self._response(request, self._send(_value_of_sync(request)))

    def _response(self, request: httpx.Request, reply: Reply) -> httpx.Response:
        if reply.timed_out:
            raise httpx.ReadTimeout(reply.timed_out, request=request)
        if reply.relay is None:
            stream: Any = httpx.ByteStream(reply.body)
        else:
            stream = _HttpxSyncBody(reply.relay, partial(self._resend, request, copy_context()))
        return httpx.Response(reply.status, headers=reply.headers, stream=stream, request=request)

    def _resend(self, request: httpx.Request, context: Context, anew: HttpRequest) -> httpx.Response | None:
        reply = resend_sync(self._send, anew, context)
        return None if reply is None else self._response(request, reply)


async def _value_of_async(request: httpx.Request) -> HttpRequest:
    if isinstance(request.stream, httpx.ByteStream):
        return value_of(request, request.content)
    try:
        assert isinstance(request.stream, AsyncIterable)
        return await upload_of_async(request, request.stream)
    except SpoolError as error:
        raise httpx.WriteError(str(error), request=request) from None


def _value_of_sync(request: httpx.Request) -> HttpRequest:
    if isinstance(request.stream, httpx.ByteStream):
        return value_of(request, request.content)
    try:
        assert isinstance(request.stream, Iterable)
        return upload_of_sync(request, request.stream)
    except SpoolError as error:
        raise httpx.WriteError(str(error), request=request) from None


def async_client(send: SendAsync, settings: dict[str, Any]) -> httpx.AsyncClient:
    """An HTTP client whose requests go through Tieline. ``settings``: its other arguments."""
    return httpx.AsyncClient(transport=HttpxAsyncTransport(send), follow_redirects=False, **settings)


def sync_client(send: Send, settings: dict[str, Any]) -> httpx.Client:
    """As ``async_client``."""
    return httpx.Client(transport=HttpxTransport(send), follow_redirects=False, **settings)


def _error_for(error: StreamBrokenError) -> httpx.TransportError:
    return httpx.ReadTimeout(str(error)) if error.idle else httpx.RemoteProtocolError(str(error))


class _HttpxAsyncBody(AsyncRelayedBody, httpx.AsyncByteStream):
    error_for = staticmethod(_error_for)


class _HttpxSyncBody(SyncRelayedBody, httpx.SyncByteStream):
    error_for = staticmethod(_error_for)
