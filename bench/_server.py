"""The local server of the client's benchmarks: fixed answers, as little work as HTTP allows.

`python -m bench._server BEHAVIOUR...` serves one pool for each behaviour, all in one process, and prints
their ports as a JSON list. A request that streams gets `CHUNKS` events, any other one whole answer; both are
what an OpenAI-compatible server sends.

- `fine`: answers at once. `slow`: answers after `SLOW_S`, as a model would.
- `dead`: refuses every request with a 503. `hung`: answers none. `half`: answers every second one, as `slow`.

`dead`, `hung` and `half` act as `slow` until a line `ill` comes on standard input. Each such line and each
line `count` prints, as a JSON list, how many requests each pool got since the last one.
"""

import asyncio
import json
import re
import sys
from functools import partial
from typing import cast

CHUNKS = 16
SLOW_S = 0.1
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STREAMS = re.compile(rb'"stream": ?true')


def head_bytes_of_whole(data: bytes) -> int:
    """The bytes of the head of a message that is all there, as far as its head states a length; else 0."""
    head_bytes = data.find(b"\r\n\r\n") + 4
    length = _LENGTH.search(data, 0, head_bytes)
    if head_bytes < 4 or length is None or len(data) < head_bytes + int(length[1]):
        return 0
    return head_bytes


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


def _refusal() -> bytes:
    body = b'{"error": {"message": "overloaded", "type": "server_error", "code": "overloaded"}}'
    head = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


class Pool:
    """What the connections of one pool have in common."""

    whole, stream, refusal = _whole(), _stream(), _refusal()

    def __init__(self, behaviour: str) -> None:
        self.behaviour = behaviour
        self.is_ill = False
        self.count = 0

    def answer(self, *, streams: bool) -> tuple[bytes, float]:
        """The next request's answer, and after how many seconds it is sent; b"" for none."""
        self.count += 1
        good = self.stream if streams else self.whole
        if self.behaviour == "fine":
            return good, 0.0
        if not self.is_ill or self.behaviour == "slow" or (self.behaviour == "half" and self.count % 2):
            return good, SLOW_S
        return (self.refusal if self.behaviour == "dead" else b""), 0.0


class Server(asyncio.Protocol):
    """One connection, one request after another."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready for the first request."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answers as soon as a request is whole."""
        self._read += data
        if not (head_bytes := head_bytes_of_whole(self._read)):
            return
        streams, self._read = _STREAMS.search(self._read, head_bytes), b""
        answer, wait_s = self._pool.answer(streams=streams is not None)
        if wait_s:
            asyncio.get_running_loop().call_later(wait_s, self._transport.write, answer)
        else:
            self._transport.write(answer)


def _say(values: list[int]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


async def main() -> None:
    """Until standard input ends."""
    loop, pools, ports = asyncio.get_running_loop(), [Pool(behaviour) for behaviour in sys.argv[1:]], []
    for pool in pools:
        server = await loop.create_server(partial(Server, pool), "127.0.0.1", 0, backlog=1_000)
        ports.append(server.sockets[0].getsockname()[1])
    _say(ports)
    while line := await asyncio.to_thread(sys.stdin.readline):
        _say([pool.count for pool in pools])
        for pool in pools:
            pool.is_ill, pool.count = pool.is_ill or line.strip() == "ill", 0


if __name__ == "__main__":
    asyncio.run(main())
