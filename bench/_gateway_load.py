"""Callers of a gateway, in a process of their own: `python -m bench._gateway_load SETTINGS`.

They speak HTTP by hand, with as little work as that allows, so that what is measured is the server. The file
that the settings name as ``result`` gets the milliseconds of each request, requests a second, and how many
failed.
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_LAST_CHUNK = b"0\r\n\r\n"


class Caller(asyncio.Protocol):
    """One connection, one request after another. ``ended(seconds, well)`` gives whether to make another."""

    def __init__(self, request: bytes, ended: Callable[[float, bool], bool]) -> None:
        self._request = request
        self._ended = ended
        self._read = b""
        self._began_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready for the first request."""
        self._transport = cast(asyncio.Transport, transport)

    def ask(self) -> None:
        """Make a request."""
        self._read, self._began_s = b"", time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Until the response is whole."""
        self._read += data
        head_bytes = self._read.find(b"\r\n\r\n") + 4
        if head_bytes < 4:
            return
        length = _LENGTH.search(self._read, 0, head_bytes)
        whole = (
            self._read.endswith(_LAST_CHUNK)
            if length is None
            else len(self._read) >= head_bytes + int(length[1])
        )
        if whole and self._ended(time.perf_counter() - self._began_s, self._read[9:12] == b"200"):
            self.ask()

    def connection_lost(self, _error: Exception | None) -> None:
        """A request that was under way has failed."""
        self._ended(time.perf_counter() - self._began_s, False)


def request_of(settings: dict[str, Any]) -> bytes:
    """As the openai SDK sends it."""
    body = {
        "model": settings["model"],
        "messages": [{"role": "user", "content": "Where does it flow?"}],
        **({"stream": True} if settings["stream"] else {}),
    }
    data = json.dumps(body).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: application/json\r\n"
        f"content-type: application/json\r\nauthorization: Bearer {settings['token']}\r\n"
        "user-agent: OpenAI/Python 3.0.0\r\nx-stainless-lang: python\r\nx-stainless-runtime: CPython\r\n"
        f"content-length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


async def load(settings: dict[str, Any]) -> dict[str, Any]:
    """So many requests by so many callers at a time, or for so many seconds."""
    loop = asyncio.get_running_loop()
    left, times, failed = settings["requests"], [], 0
    until_s = time.perf_counter() + settings.get("seconds", 3_600)
    done = loop.create_future()
    under_way = settings["at_a_time"]

    def ended(took_s: float, well: bool) -> bool:
        nonlocal left, failed, under_way
        times.append(took_s * 1_000)
        failed += not well
        left -= 1
        if left >= under_way and time.perf_counter() < until_s:
            return True
        under_way -= 1
        if not under_way and not done.done():
            done.set_result(None)
        return False

    request = request_of(settings)
    callers = [
        (await loop.create_connection(lambda: Caller(request, ended), "127.0.0.1", settings["port"]))[1]
        for _ in range(settings["at_a_time"])
    ]
    began_s = time.perf_counter()
    for caller in callers:
        caller.ask()
    await done
    return {
        "ms": times,
        "per_s": len(times) / (time.perf_counter() - began_s),
        "failed": failed,
    }


if __name__ == "__main__":
    chosen = json.loads(sys.argv[1])
    Path(chosen["result"]).write_text(json.dumps(uvloop.run(load(chosen))))
