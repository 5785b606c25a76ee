"""The connections of ``tieline.testing``: pools that answer within the process, and fail when told to.

They take the place of ``_http.wire_async`` and ``_http.wire_sync``, and have the same methods.
"""

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, TypeAlias, get_args

import msgspec
from msgspec import Struct

from tieline._http.connections import Idle
from tieline._http.content import Content
from tieline._http.flights import Flight
from tieline._http.messages import Headers, WireError
from tieline._process import clock as _clock
from tieline.errors import UNDECODABLE
from tieline.events import ResultClass

Kind: TypeAlias = Literal["status", "refuse", "hang", "cut", "error_event"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_JSON: Headers = [(b"content-type", b"application/json")]
_EVENTS: Headers = [(b"content-type", b"text/event-stream")]
_FIRST_PIECE_BYTES = 20


class Fault(Struct, frozen=True):
    """What a pool does instead of serving, by ``kind``.

    ``status``: it answers with ``status``, and with ``retry_after_s`` if given. ``refuse``: no connection.
    ``hang``: nothing comes within the client's time limits. ``cut``: the answer breaks off after
    ``after_chunks``; the first chunk of a stream is not output yet, and a whole answer has two chunks.
    ``error_event``: a stream that begins with an error.
    """

    kind: Kind
    status: int = 503
    retry_after_s: float | None = None
    after_chunks: int = 1


class Request(Struct, frozen=True):
    """One attempt that reached a pool. ``path`` is what follows the pool's base URL; ``headers`` by
    lower-case names; ``body`` as it came."""

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
    """What comes over the wire: a head and then pieces, or ``error`` instead of them, or with ``hangs``
    nothing at all. An error among the pieces breaks the answer off."""

    status: int = 200
    headers: Headers = []
    pieces: Iterator[bytes | WireError] = iter(())
    error: WireError | None = None
    hangs: bool = False


class _FakeAsyncAnswer:
    def __init__(self, script: Script) -> None:
        self.status, self.headers = script.status, script.headers
        self._pieces = script.pieces

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        return _next(self._pieces)

    def close(self) -> None:
        self._pieces = iter(())


class _FakeSyncAnswer:
    def __init__(self, script: Script) -> None:
        self.status, self.headers = script.status, script.headers
        self._pieces = script.pieces

    def read(self) -> bytes:
        return _next(self._pieces)

    def close(self) -> None:
        self._pieces = iter(())


class _FakeWire:
    def __init__(self, take: Take) -> None:
        self.idle: Idle[Any] = Idle()
        self._take = take

    def close(self) -> None:
        """Nothing is open."""

    def after_fork(self) -> None:
        """Nothing is shared with the parent."""


class FakeAsyncWire(_FakeWire):
    """Stands in for the connections of an asynchronous client."""

    async def open(
        self, _method: str, url: str, headers: Headers, body: Content, *, flight: Flight, **_more: float
    ) -> _FakeAsyncAnswer:
        """Raises the ``WireError`` of the script, if it has one."""
        script = self._take(url, headers, bytes(body))
        if script.hangs:
            loop, abandoned = asyncio.get_running_loop(), asyncio.Event()
            flight.abandon = partial(_set_in_loop, loop, abandoned)
            while (left_s := _left_s(flight)) > 0 and not abandoned.is_set():
                try:
                    async with asyncio.timeout(left_s):
                        await abandoned.wait()
                except TimeoutError:
                    pass
            raise WireError(ResultClass.TIMEOUT, "made to hang")
        if script.error is not None:
            raise script.error
        return _FakeAsyncAnswer(script)


class FakeSyncWire(_FakeWire):
    """Stands in for the connections of a synchronous client."""

    def open(
        self, _method: str, url: str, headers: Headers, body: Content, *, flight: Flight, **_more: float
    ) -> _FakeSyncAnswer:
        """Raises the ``WireError`` of the script, if it has one."""
        script = self._take(url, headers, bytes(body))
        if script.hangs:
            abandoned = threading.Event()
            flight.abandon = abandoned.set
            while (left_s := _left_s(flight)) > 0 and not abandoned.wait(left_s):
                pass
            raise WireError(ResultClass.TIMEOUT, "made to hang")
        if script.error is not None:
            raise script.error
        return _FakeSyncAnswer(script)


def script_for(request: Request, fault: Fault | None, answer: Answer) -> Script:
    """What a pool with this fault, or none, sends back for a request."""
    kind = fault.kind if fault is not None else ""
    if kind == "refuse":
        return Script(error=WireError(ResultClass.CONNECT, "made to refuse"))
    if kind == "hang":
        return Script(hangs=True)
    if fault is not None and kind == "status":
        return _status(fault)
    if kind == "error_event":
        event = b'data: {"error": {"message": "made to fail"}}\n\n'
        return Script(200, _EVENTS, pieces=iter([event]))
    model, streams = _wish(request)
    pieces = _events(model, answer(request)) if streams else _whole(model, answer(request))
    headers = _EVENTS if streams else _JSON
    if fault is not None:  # a cut
        broken = WireError(ResultClass.CUT, "made to break")
        return Script(200, headers, pieces=itertools.chain(pieces[: fault.after_chunks], [broken]))
    return Script(200, headers, pieces=iter(pieces))


def _wish(request: Request) -> tuple[str, bool]:
    """(model, whether a stream is wanted), by the request's body."""
    try:
        body = msgspec.json.decode(request.body)
    except UNDECODABLE:
        body = None
    if not isinstance(body, dict):
        return "", False
    return body.get("model", ""), body.get("stream") is True


def _status(fault: Fault) -> Script:
    body = msgspec.json.encode({"error": {"message": "made to fail", "type": "fake", "code": None}})
    headers = list(_JSON)
    if fault.retry_after_s is not None:
        headers.append((b"retry-after-ms", str(round(fault.retry_after_s * 1_000)).encode()))
    return Script(fault.status, headers, pieces=iter([body]))


def _whole(model: str, text: str) -> list[bytes]:
    """An answer of chat completions, in two pieces."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    tokens = len(text.split())
    usage = {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": 1 + tokens}
    body = msgspec.json.encode({**_object("chat.completion", model, choice), "usage": usage})
    return [body[:_FIRST_PIECE_BYTES], body[_FIRST_PIECE_BYTES:]]


def _events(model: str, text: str) -> list[bytes]:
    """The same as a stream: a role, which is not output yet, then the words, then the end."""
    words = text.replace(" ", "\0 ").split("\0")
    deltas = [{"role": "assistant", "content": ""}, *({"content": word} for word in words), {}]
    events = []
    for delta in deltas:
        choice = {"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}
        event = msgspec.json.encode(_object("chat.completion.chunk", model, choice))
        events.append(b"data: " + event + b"\n\n")
    return [*events, b"data: [DONE]\n\n"]


def _object(kind: str, model: str, choice: dict[str, Any]) -> dict[str, Any]:
    return {"id": "fake", "object": kind, "created": 0, "model": model, "choices": [choice]}


def _left_s(flight: Flight) -> float:
    return flight.due_ms / 1_000 - _clock.monotonic_s()


def _next(pieces: Iterator[bytes | WireError]) -> bytes:
    piece = next(pieces, b"")
    if isinstance(piece, WireError):
        raise piece
    return piece


def _set_in_loop(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    loop.call_soon_threadsafe(event.set)
