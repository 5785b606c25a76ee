"""The way back: a reply, whole or piece by piece as it comes from the provider, to the caller."""

import asyncio

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from controller.process.clock import monotonic_ms
from gateway.draining import TOLD_TEXT, Drain
from gateway.visit import BROKEN, TOLD, Visit
from tieline.forwarding import Reply, ReplyBody, StreamBrokenError, usage_of

EVENT_STREAM = "text/event-stream"


async def send_reply(
    request: web.BaseRequest, reply: Reply, visit: Visit, drain: Drain
) -> web.StreamResponse:
    """The response; of a stream when all of it has been written."""
    visit.replied(reply.status, reply.headers)
    visit.usage = usage_of(reply)
    headers = CIMultiDict(
        [(name.decode("latin-1"), value.decode("latin-1")) for name, value in reply.headers]
    )
    if reply.relay is None:
        return web.Response(status=reply.status, headers=headers, body=reply.body)
    response = web.StreamResponse(status=reply.status, headers=headers)
    body = ReplyBody(reply.relay)
    try:
        await response.prepare(request)
        async for piece in body:
            visit.writing_since_ms = monotonic_ms()
            await response.write(piece)
            visit.writing_since_ms = 0
        await response.write_eof()
    except StreamBrokenError:
        visit.ended = BROKEN
        cut(request)
    except asyncio.CancelledError:
        if not drain.is_over:
            raise
        visit.ended = TOLD
        await _tell(request, response)
    finally:
        await body.aclose()
        visit.usage = usage_of(reply)
    return response


def cut(request: web.BaseRequest) -> None:
    """End the connection after what was written, so that no caller takes a part for the whole: the last
    chunk, which marks the end of a body, is not sent."""
    if request.transport is not None:
        request.transport.close()


async def _tell(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Tell the caller of a stream that it ends early, in an event that SDKs raise as an error."""
    if response.prepared and response.content_type == EVENT_STREAM:
        error = {"message": TOLD_TEXT, "type": "server_error", "param": None, "code": "tieline_draining"}
        await response.write(b"data: " + msgspec.json.encode({"error": error}) + b"\n\n")
    cut(request)
