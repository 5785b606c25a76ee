"""Pools on real sockets that answer as a test says, and a client over them, asynchronous or not."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

import openai
from msgspec import Struct

import tieline
from tieline._tables.last_good import write_last_good
from tieline.table import (
    MILLION,
    ClientSettings,
    Generation,
    ModelOffer,
    PoolInfo,
    Route,
    RouteTable,
    Split,
    slices,
)

Kind: TypeAlias = Literal["async", "sync"]
KINDS: tuple[Kind, ...] = ("async", "sync")
A, B, C = "a/r/d", "b/r/d", "c/r/d"
HOLD = None  # an answer that never comes
_HELD_S = 30.0


class Asked(Struct):
    """A request that reached a pool."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Piece: TypeAlias = bytes | float | None
Does: TypeAlias = Callable[[int, Asked], bytes | list[Piece]]


def head(status: int, kind: str, length: int | None, **headers: str) -> bytes:
    """The head of an answer; without a length its body ends with the connection."""
    lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}"]
    lines.append("connection: close" if length is None else f"content-length: {length}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def raw(body: bytes, status: int = 200, kind: str = "application/json", **headers: str) -> bytes:
    """A whole answer with this body."""
    return head(status, kind, len(body), **headers) + body


def error(status: int, code: str = "x", message: str = "no", **headers: str) -> bytes:
    """An error in OpenAI's shape."""
    return raw(json.dumps({"error": {"message": message, "code": code}}).encode(), status, **headers)


def chat(text: str) -> bytes:
    """A chat completion."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return raw(json.dumps(answer).encode())


def events(*datas: str) -> bytes:
    """A stream of events, which ends with its connection."""
    return head(200, "text/event-stream", None) + b"".join(f"data: {data}\n\n".encode() for data in datas)


def chunk(text: str, finish: str | None = None) -> str:
    """One event of a streamed chat completion."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": finish}
    return json.dumps(
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    )


class Pool:
    """Answers each request with ``does(number, request)``: bytes, or pieces: a number waits so many seconds
    for the client to go away, ``HOLD`` until it does."""

    def __init__(self, does: Does) -> None:
        self.does = does
        self.asked: list[Asked] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """No connection is accepted any more."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reader:
            try:
                while (asked := _read_request(reader)) is not None:
                    self.asked.append(asked)
                    pieces = self.does(len(self.asked), asked)
                    if not all(_give(connection, piece) for piece in _as_list(pieces)):
                        return
                    if any(b"connection: close" in piece for piece in _bytes_of(pieces)):
                        return
            except OSError:
                return


def _as_list(pieces: bytes | list[Piece]) -> list[Piece]:
    return [pieces] if isinstance(pieces, bytes) else pieces


def _bytes_of(pieces: bytes | list[Piece]) -> list[bytes]:
    return [piece for piece in _as_list(pieces) if isinstance(piece, bytes)]


def _read_request(reader: Any) -> Asked | None:
    first = reader.readline().decode().split()
    if not first:
        return None
    headers: dict[str, str] = {}
    while line := reader.readline().strip().decode("latin-1"):
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = reader.read(int(headers.get("content-length", 0)))
    return Asked(first[0], first[1], headers, body)


def _give(connection: socket.socket, piece: Piece) -> bool:
    """Whether the client is still there."""
    if isinstance(piece, bytes):
        connection.sendall(piece)
        return True
    connection.settimeout(_HELD_S if piece is HOLD else piece)
    try:
        return bool(connection.recv(1))
    except TimeoutError:
        return piece is not HOLD
    finally:
        connection.settimeout(None)


@contextmanager
def pools(**does: Does) -> Iterator[dict[str, Pool]]:
    """Running pools by id; their names are single letters."""
    running = {f"{name}/r/d": Pool(does_one) for name, does_one in does.items()}
    try:
        yield running
    finally:
        for pool in running.values():
            pool.close()


def routes(
    folder: Path,
    running: Mapping[str, Pool],
    *,
    offers: Mapping[str, ModelOffer] | None = None,
    credential: str = "",
    **settings: Any,
) -> Path:
    """A last good table: the first pool has all weight but a millionth for each other one."""
    offers = offers or {}
    infos = tuple(
        PoolInfo(
            name,
            "eu",
            f"http://127.0.0.1:{pool.port}/v1",
            credential=credential,
            models=(offers.get(name, ModelOffer("m", "m")),),
        )
        for name, pool in running.items()
    )
    others = len(infos) - 1
    split = Split(tuple(range(len(infos))), (MILLION - others, *[1] * others))
    route = Route("chat", "eu", "critical", split)
    table = RouteTable(Generation("t", 1, 1), 1_000, infos, (route,), ClientSettings(**settings))
    path = folder / "routes.bin"
    write_last_good(path, table.generation, {"eu": slices(table)["chat/eu"]})
    return path


class Got(Struct):
    """What a caller got: its text or the error's, the status (0 for an exception without one), the
    exception's name, the headers, and the pools that were out afterwards, wholly or for a model."""

    text: str
    status: int
    error: str
    headers: Mapping[str, str]
    out: set[str]


def ask(kind: Kind, path: Path, *calls: dict[str, Any], credentials: Any = None) -> list[Got]:
    """Chat completions one after another by one client."""
    if kind == "async":
        return asyncio.run(_ask_async(path, calls, credentials))
    with (
        tieline.Client(path, workload="chat", origin="eu", credentials=credentials) as client,
        client.http_client() as http,
    ):
        assert client.ready(timeout=60)
        llm = openai.OpenAI(api_key="unused", base_url=client.base_url, http_client=http, max_retries=0)
        return [_with_outs(_got(llm, call), client.explain()) for call in calls]


def _create(llm: openai.OpenAI, call: dict[str, Any]) -> Got:
    answer = llm.chat.completions.with_raw_response.create(**_filled(call))
    parsed = answer.parse()
    if call.get("stream"):
        text = "".join(part.choices[0].delta.content or "" for part in parsed if part.choices)
    else:
        text = parsed.choices[0].message.content if parsed.choices else ""
    return Got(text or "", 200, "", dict(answer.headers), set())


async def _ask_async(path: Path, calls: tuple[dict[str, Any], ...], credentials: Any) -> list[Got]:
    results = []
    async with (
        tieline.AsyncClient(path, workload="chat", origin="eu", credentials=credentials) as client,
        client.http_client() as http,
    ):
        assert await client.ready(timeout=60)
        llm = openai.AsyncOpenAI(api_key="unused", base_url=client.base_url, http_client=http, max_retries=0)
        for call in calls:
            try:
                got = await _create_async(llm, call)
            except openai.APIError as failure:
                got = _failed(failure)
            results.append(_with_outs(got, client.explain()))
    return results


async def _create_async(llm: openai.AsyncOpenAI, call: dict[str, Any]) -> Got:
    answer = await llm.chat.completions.with_raw_response.create(**_filled(call))
    parsed = answer.parse()
    if call.get("stream"):
        text = ""
        async for part in parsed:
            text += (part.choices[0].delta.content or "") if part.choices else ""
    else:
        text = (parsed.choices[0].message.content or "") if parsed.choices else ""
    return Got(text, 200, "", dict(answer.headers), set())


def _filled(call: dict[str, Any]) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "hi"}], **call}


def _got(llm: openai.OpenAI, call: dict[str, Any]) -> Got:
    try:
        return _create(llm, call)
    except openai.APIError as failure:
        return _failed(failure)


def _failed(failure: openai.APIError) -> Got:
    response = getattr(failure, "response", None)
    return Got(
        str(failure.message),
        getattr(failure, "status_code", 0),
        type(failure).__name__,
        dict(response.headers) if response is not None else {},
        set(),
    )


def _with_outs(got: Got, explained: dict[str, Any]) -> Got:
    got.out = {row["pool"] for row in explained["pools"] if row["out"] or row["models_out"]}
    return got
