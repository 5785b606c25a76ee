"""The wires of ``tieline.testing``: pools that answer within the process, and fail as they are told."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, TypeAlias, get_args

import msgspec
from msgspec import Struct

from tieline._http.flights import Flight
from tieline._http.idle import Idle
from tieline._http.messages import Headers, WireError
from tieline._process import clock as _clock
from tieline.events import ResultClass

Kind: TypeAlias = Literal["status", "refuse", "hang", "cut", "error_event"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_JSON: Headers = [(b"content-type", b"application/json")]
_EVENTS: Headers = [(b"content-type", b"text/event-stream")]


class Fault(Struct, frozen=True):
    """What a pool does instead of serving, by ``kind``. ``status``: it answers with ``status``, and with
    ``retry_after_s`` if given. ``refuse``: no connection. ``hang``: nothing comes in the client's time.
    ``cut``: the answer breaks after ``after_chunks``; a stream's first chunk is no output yet, a whole answer
    has two. ``error_event``: a stream that begins with an error."""

    kind: Kind
    status: int = 503
    retry_after_s: float | None = None
    after_chunks: int = 1


class Request(Struct, frozen=True):
    """One attempt that reached a pool. ``path`` is what follows the pool's base URL; ``headers`` by
    lower-case names, ``body`` as it came."""

    pool: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as a value."""
        return msgspec.json.decode(self.body)


Answer: TypeAlias = Callable[[Request], str]
Take: TypeAlias = "Callable[[str, Headers, bytes], Script]"


class Script(Struct):
    """What comes over the wire: a head unless ``error``, then pieces; an error among them breaks the rest."""

    status: int = 200
    headers: Headers = []
    pieces: Iterator[bytes | WireError] = iter(())
    error: WireError | None = None
    hangs: bool = False


class _AsyncAnswer:
    def __init__(self, script: Script) -> None:
        self.status, self.headers = script.status, script.headers
        self._pieces = script.pieces

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        return _next(self._pieces)

    def close(self) -> None:
        self._pieces = iter(())


class _SyncAnswer:
    def __init__(self, script: Script) -> None:
        self.status, self.headers = script.status, script.headers
        self._pieces = script.pieces

    def read(self) -> bytes:
        return _next(self._pieces)

    def close(self) -> None:
        self._pieces = iter(())


class _Wire:
    def __init__(self, take: Take) -> None:
        self.idle: Idle[Any] = Idle()
        self._take = take

    def close(self) -> None:
        """Nothing is open."""

    def after_fork(self) -> None:
        """Nothing is shared."""


class AsyncWire(_Wire):
    """As the real one of an asynchronous client."""

    async def open(
        self, _method: str, url: str, headers: Headers, body: bytes, *, flight: Flight, **_more: float
    ) -> _AsyncAnswer:
        """Raises ``WireError`` as told."""
        made = self._take(url, headers, body)
        if made.hangs:
            loop, called = asyncio.get_running_loop(), asyncio.Event()
            flight.abandon = partial(_call, loop, called)
            while (left_s := _left_s(flight)) > 0 and not called.is_set():
                try:
                    async with asyncio.timeout(left_s):
                        await called.wait()
                except TimeoutError:
                    pass
            raise WireError(ResultClass.TIMEOUT, "made to hang")
        if made.error is not None:
            raise made.error
        return _AsyncAnswer(made)


class SyncWire(_Wire):
    """As the real one of a synchronous client."""

    def open(
        self, _method: str, url: str, headers: Headers, body: bytes, *, flight: Flight, **_more: float
    ) -> _SyncAnswer:
        """Raises ``WireError`` as told."""
        made = self._take(url, headers, body)
        if made.hangs:
            called = threading.Event()
            flight.abandon = called.set
            while (left_s := _left_s(flight)) > 0 and not called.wait(left_s):
                pass
            raise WireError(ResultClass.TIMEOUT, "made to hang")
        if made.error is not None:
            raise made.error
        return _SyncAnswer(made)


def _left_s(flight: Flight) -> float:
    return flight.due_ms / 1_000 - _clock.monotonic_s()


def _next(pieces: Iterator[bytes | WireError]) -> bytes:
    piece = next(pieces, b"")
    if isinstance(piece, WireError):
        raise piece
    return piece


def script(request: Request, fault: Fault | None, answer: Answer) -> Script:
    """What a request gets."""
    if fault is not None and fault.kind == "refuse":
        return Script(error=WireError(ResultClass.CONNECT, "made to refuse"))
    if fault is not None and fault.kind == "hang":
        return Script(hangs=True)
    if fault is not None and fault.kind == "status":
        return _failed(fault)
    try:
        asked = msgspec.json.decode(request.body)
    except msgspec.MsgspecError:
        asked = {}
    streams = isinstance(asked, dict) and asked.get("stream") is True
    if fault is not None and fault.kind == "error_event":
        return Script(200, _EVENTS, iter([b'data: {"error": {"message": "made to fail"}}\n\n']))
    model = asked.get("model", "") if isinstance(asked, dict) else ""
    pieces = _events(model, answer(request)) if streams else _whole(model, answer(request))
    if fault is not None:
        broken = WireError(ResultClass.CUT, "made to break")
        return Script(
            200, _EVENTS if streams else _JSON, itertools.chain(pieces[: fault.after_chunks], [broken])
        )
    return Script(200, _EVENTS if streams else _JSON, iter(pieces))


def _failed(fault: Fault) -> Script:
    body = msgspec.json.encode({"error": {"message": "made to fail", "type": "fake", "code": None}})
    headers = list(_JSON)
    if fault.retry_after_s is not None:
        headers.append((b"retry-after-ms", str(round(fault.retry_after_s * 1_000)).encode()))
    return Script(fault.status, headers, iter([body]))


def _whole(model: str, text: str) -> list[bytes]:
    """An answer of chat completions, in two pieces."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {
        "prompt_tokens": 1,
        "completion_tokens": len(text.split()),
        "total_tokens": 1 + len(text.split()),
    }
    body = msgspec.json.encode(
        {
            "id": "fake",
            "object": "chat.completion",
            "created": 0,
            "model": model,
            "choices": [choice],
            "usage": usage,
        }
    )
    return [body[:20], body[20:]]


def _events(model: str, text: str) -> list[bytes]:
    """The same as a stream: a role, the words, an end. The role is no output yet."""
    words = text.replace(" ", "\0 ").split("\0")
    deltas = [{"role": "assistant", "content": ""}, *({"content": word} for word in words)]
    made = []
    for delta in [*deltas, {}]:
        choice = {"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}
        event = msgspec.json.encode(_object("chat.completion.chunk", model, choice))
        made.append(b"data: " + event + b"\n\n")
    return [*made, b"data: [DONE]\n\n"]


def _object(kind: str, model: str, choice: dict[str, Any]) -> dict[str, Any]:
    return {"id": "fake", "object": kind, "created": 0, "model": model, "choices": [choice]}


def _call(loop: asyncio.AbstractEventLoop, called: asyncio.Event) -> None:
    loop.call_soon_threadsafe(called.set)
