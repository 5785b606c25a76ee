"""A gateway in 60 lines: whoever speaks OpenAI's API to it is routed, failed over and streamed.

python examples/client/gateway.py SOURCE [PORT]      then: base_url="http://127.0.0.1:8000/v1"
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

import tieline

HOP_BY_HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}


def gateway(source: str) -> Starlette:
    """The application."""
    tl = tieline.AsyncClient(source, workload="chat", origin="eu")
    held: dict[str, Any] = {}

    @asynccontextmanager
    async def running(_app: Starlette) -> AsyncIterator[None]:
        async with tl, tl.http_client(base_url=tl.base_url, timeout=None) as http:
            held["http"] = http
            yield

    async def forward(request: Request) -> StreamingResponse:
        """Headers, body and answer as they are; where they go is the transport's business."""
        http = held["http"]
        path = request.url.path.removeprefix("/v1") + (f"?{request.url.query}" if request.url.query else "")
        headers = [(k, v) for k, v in request.headers.items() if k not in HOP_BY_HOP]
        asked = http.build_request(request.method, path, headers=headers, content=await request.body())
        answer = await http.send(asked, stream=True)
        passed = {k: v for k, v in answer.headers.items() if k not in HOP_BY_HOP}

        async def body() -> AsyncIterator[bytes]:
            try:
                async for chunk in answer.aiter_raw():
                    yield chunk
            finally:
                await answer.aclose()

        return StreamingResponse(body(), answer.status_code, passed)

    async def status(_request: Request) -> JSONResponse:
        """Which pool is out, why and until when."""
        return JSONResponse(tl.explain())

    routes = [Route("/v1/{path:path}", forward, methods=["GET", "POST"]), Route("/status", status)]
    return Starlette(routes=routes, lifespan=running)


if __name__ == "__main__":
    uvicorn.run(gateway(sys.argv[1]), host="127.0.0.1", port=int([*sys.argv, "8000"][2]), log_level="warning")
