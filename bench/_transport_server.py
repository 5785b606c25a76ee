"""The local server of `script/bench transport`: one process, fixed answers, as little work as HTTP allows.

Prints its port, then serves until its input ends. A request that streams gets `CHUNKS` events, any other one
whole answer; both are what an OpenAI-compatible server sends.
"""

import asyncio
import json
import re
import sys
from typing import cast

CHUNKS = 16
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STREAMS = re.compile(rb'"stream": ?true')


def _whole() -> bytes:
    message = {"role": "assistant", "content": "It flows to the sea."}
    body = json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "big",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 6, "total_tokens": 15},
        }
    ).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    return head + body


def _event(delta: dict[str, str], finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "big", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _stream() -> bytes:
    events = [_event({"role": "assistant"}, None)]
    events += [_event({"content": f"word {number} "}, None) for number in range(CHUNKS)]
    events += [_event({}, "stop"), b"data: [DONE]\n\n"]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(data), data) for data in events) + b"0\r\n\r\n"


class Server(asyncio.Protocol):
    """One connection, one request after another."""

    whole, stream = _whole(), _stream()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready for the first request."""
        self._transport = cast(asyncio.Transport, transport)
        self._read = b""

    def data_received(self, data: bytes) -> None:
        """Answers as soon as a request is whole."""
        self._read += data
        head_bytes = self._read.find(b"\r\n\r\n") + 4
        length = _LENGTH.search(self._read, 0, head_bytes)
        if head_bytes < 4 or length is None or len(self._read) < head_bytes + int(length[1]):
            return
        streams, self._read = _STREAMS.search(self._read, head_bytes), b""
        self._transport.write(self.stream if streams else self.whole)


async def main() -> None:
    """Until standard input ends."""
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
