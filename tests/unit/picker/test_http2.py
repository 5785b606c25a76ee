"""gRPC over HTTP/2: what a caller may do, what it may not, and how much it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast

from hpack import Encoder

from picker import http2
from picker.http2 import Connection

PATH = "/a.Service/Call"


class Echo:
    """Answers each message by itself, and is done after `last`."""

    def __init__(self) -> None:
        self.is_done = self.goes_on = False
        self.ends: list[bool] = []

    def take(self, message: bytes) -> Iterator[bytes]:
        if message == b"fail":
            raise ValueError("made to fail")
        self.is_done = message == b"last"
        yield message

    def end(self, *, drained: bool = False) -> None:
        self.ends.append(drained)


class Wire:
    """A connection without a socket; it is its own transport."""

    def __init__(self, **limits: int) -> None:
        self.calls: list[Echo] = []
        self.open: set[Connection] = set()
        self.is_closed = False
        self.written = b""
        self.connection = Connection(
            self._call, self.open, **{"streams_max": 10, "message_bytes_max": 100_000, **limits}
        )
        self.connection.connection_made(cast(asyncio.BaseTransport, self))
        self._encoder = Encoder()
        self._encoder.header_table_size = 0
        self.frames()

    def _call(self, path: str) -> Echo | None:
        if path != PATH:
            return None
        self.calls.append(Echo())
        return self.calls[-1]

    def write(self, data: bytes) -> None:
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        """Later, if the caller does not close."""

    def send(self, *frames: bytes) -> None:
        self.connection.data_received(b"".join(frames))

    def head(self, path: str = PATH) -> bytes:
        rows = [(":method", "POST"), (":scheme", "http"), (":path", path), ("te", "trailers")]
        return self._encoder.encode(rows)

    def frames(self) -> list[tuple[int, int, int, bytes]]:
        """What was sent since the last look: (kind, flags, stream, payload)."""
        rows, data, self.written = [], self.written, b""
        while data:
            length = int.from_bytes(data[:3], "big")
            number = int.from_bytes(data[5:9], "big")
            rows.append((data[3], data[4], number, data[9 : 9 + length]))
            data = data[9 + length :]
        return rows

    def body(self, number: int = 1) -> bytes:
        return b"".join(row[3] for row in self.frames() if row[0] == http2.DATA and row[2] == number)


def frame(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    """One frame."""
    head = len(payload).to_bytes(3, "big") + bytes((kind, flags)) + number.to_bytes(4, "big")
    return head + payload


def message(data: bytes) -> bytes:
    """As gRPC frames it."""
    return b"\0" + len(data).to_bytes(4, "big") + data


def begun(**limits: int) -> Wire:
    """A connection with one open stream."""
    wire = Wire(**limits)
    wire.send(http2.PREFACE, frame(http2.SETTINGS, 0, 0, b""))
    wire.send(frame(http2.HEADERS, http2.END_HEADERS, 1, wire.head()))
    return wire


async def test_messages_are_answered_as_they_come() -> None:
    """Also in pieces of any size, and two at once; the caller's end ends the stream well."""
    wire = begun()
    data = frame(http2.DATA, 0, 1, message(b"one")[:3]) + frame(
        http2.DATA, 0, 1, message(b"one")[3:] + message(b"two")
    )
    for at in range(0, len(data), 5):
        wire.send(data[at : at + 5])
    assert wire.body() == message(b"one") + message(b"two")
    wire.send(frame(http2.DATA, http2.END_STREAM, 1, b""))
    (end,) = wire.frames()
    assert end[1] & http2.END_STREAM
    assert end[3].endswith(b"grpc-status\x010")
    assert wire.calls[0].ends == [False]


async def test_a_large_block_of_headers_comes_in_parts() -> None:
    """As CONTINUATION frames, with padding and a priority; nothing may come between them."""
    wire = Wire()
    block = wire.head()
    first = b"\x02" + b"\0\0\0\0\x10" + block[:4] + b"\0\0"
    wire.send(http2.PREFACE, frame(http2.HEADERS, http2.PADDED | http2.WITH_PRIORITY, 1, first))
    wire.send(frame(http2.CONTINUATION, http2.END_HEADERS, 1, block[4:]))
    assert len(wire.calls) == 1
    wire.send(frame(http2.HEADERS, 0, 3, block[:4]), frame(http2.PING, 0, 0, b"12345678"))
    assert wire.is_closed


async def test_no_more_is_sent_than_the_caller_allows() -> None:
    """Of a stream, and of the connection; the rest follows when it allows more."""
    wire = begun()
    small = (4).to_bytes(2, "big") + (10).to_bytes(4, "big")
    wire.send(frame(http2.SETTINGS, 0, 0, small), frame(http2.DATA, 0, 1, message(b"x" * 20)))
    assert wire.body() == message(b"x" * 20)[:10]
    wire.send(frame(http2.WINDOW_UPDATE, 0, 1, (100).to_bytes(4, "big")))
    assert wire.body() == message(b"x" * 20)[10:]


async def test_what_is_not_served_is_said() -> None:
    """An unknown call, a compressed message, one that is too large, a mistake of ours: by gRPC's codes."""
    wire = begun(message_bytes_max=10)
    wire.send(frame(http2.HEADERS, http2.END_HEADERS, 3, wire.head("/other")))
    assert wire.frames()[-1][3].endswith(b"grpc-status\x0212")
    cases = (
        (5, b"\x01" + message(b"x")[1:], b"12"),
        (7, message(b"x" * 11), b"8"),
        (9, message(b"fail"), b"13"),
    )
    for number, data, code in cases:
        wire.send(
            frame(http2.HEADERS, http2.END_HEADERS, number, wire.head()), frame(http2.DATA, 0, number, data)
        )
        assert wire.frames()[-1][3].endswith(b"grpc-status" + bytes((len(code),)) + code)
    assert wire.connection.open == 1


async def test_one_stream_too_many_is_refused() -> None:
    """Those that are open go on."""
    wire = begun(streams_max=1)
    wire.send(frame(http2.HEADERS, http2.END_HEADERS, 3, wire.head()))
    assert wire.frames()[-1] == (http2.RST_STREAM, 0, 3, http2.REFUSED_STREAM.to_bytes(4, "big"))
    wire.send(frame(http2.DATA, 0, 1, message(b"on")))
    assert wire.body() == message(b"on")


async def test_who_does_not_speak_http2_is_sent_away() -> None:
    """A wrong preface, a frame beyond the limit, a number that was used."""
    for data in (
        b"GET / HTTP/1.1\r\n\r\n",
        http2.PREFACE + (20_000).to_bytes(3, "big") + b"\0\0\0\0\0\1",
        http2.PREFACE + frame(http2.HEADERS, http2.END_HEADERS, 2, Wire().head()),
    ):
        wire = Wire()
        wire.send(data)
        assert wire.is_closed
        assert wire.frames()[-1][0] == http2.GOAWAY


async def test_a_drain_ends_streams_well() -> None:
    """And a connection that is lost ends them as well, which is not the picker's doing."""
    wire = begun()
    wire.connection.drain()
    assert wire.frames()[-2][3].endswith(b"grpc-status\x010")
    assert (wire.is_closed, wire.calls[0].ends) == (True, [True])
    lost = begun()
    lost.connection.connection_lost(None)
    assert (lost.calls[0].ends, lost.open) == ([False], set())


async def test_windows_are_opened_again() -> None:
    """A caller may send more than the first window without an end."""
    wire = begun(message_bytes_max=10_000_000)
    piece: Any = b"x" * 16_000
    wire.send(frame(http2.DATA, 0, 1, b"\0" + (5_000_000).to_bytes(4, "big")))
    for _ in range(70):
        wire.send(frame(http2.DATA, 0, 1, piece))
    opened = [row[2] for row in wire.frames() if row[0] == http2.WINDOW_UPDATE]
    assert {0, 1} <= set(opened)
