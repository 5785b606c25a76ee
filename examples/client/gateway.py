"""A gateway in some 60 lines (pip install starlette uvicorn): whoever speaks OpenAI's API to it is routed.

python examples/client/gateway.py SOURCE [PORT]      then: base_url="http://127.0.0.1:8000/v1"
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

import tieline

OURS = {"connection", "content-length", "date", "host", "keep-alive", "server", "transfer-encoding"}


def gateway(source: str) -> Starlette:
    """The application."""
    tl = tieline.AsyncClient(source, workload="chat", origin="eu")

    @asynccontextmanager
    async def running(app: Starlette) -> AsyncIterator[None]:
        async with tl, tl.http_client(base_url=tl.base_url, timeout=None) as http:
            app.state.http = http
            yield

    async def forward(request: Request) -> StreamingResponse:
        """Headers, body and answer as they are; where they go is the transport's business."""
        http = request.app.state.http
        path = request.url.path.removeprefix("/v1") + (f"?{request.url.query}" if request.url.query else "")
        headers = [(k, v) for k, v in request.headers.items() if k not in OURS]
        asked = http.build_request(request.method, path, headers=headers, content=await request.body())
        answer = await http.send(asked, stream=True)
        passed = {k: v for k, v in answer.headers.items() if k not in OURS}

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

    routes = [Route("/v1/{path:path}", forward, methods=["GET", "POST", "DELETE"]), Route("/status", status)]
    return Starlette(routes=routes, lifespan=running)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    port = int([*sys.argv, "8000"][2])
    uvicorn.run(gateway(sys.argv[1]), port=port, log_level="warning", limit_concurrency=1_000)
