"""gRPC over HTTP/2, as far as a caller such as Envoy needs it of a server: RFC 9113, and gRPC's own framing.

A stream is one call: messages in, messages out, and a status at the end. grpcio would do the same, and takes
five times the processor time, as it crosses threads for each message. What is here is what a server of small
messages needs: frames, header blocks, flow control both ways, pings, the end. Not here: pushes, priorities
and compressed messages. A header block that repeats is decoded once: the caller is asked to keep no table of
headers, so each block says everything itself. Tested in tests/unit/picker/test_http2.py; against grpcio and
Envoy in tests/integration/test_picker_server.py and test_picker.py.
"""

import asyncio
from collections.abc import Callable, Iterator, MutableSet
from typing import Protocol, cast

from hpack import Decoder, HPACKError
from msgspec import Struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    range(10)
)
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20
PROTOCOL_ERROR, REFUSED_STREAM, ENHANCE_YOUR_CALM = 0x1, 0x7, 0xB
HEADER_TABLE_SIZE, MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME = 0x1, 0x3, 0x4, 0x5
WINDOW_BYTES, FRAME_BYTES = 1024 * 1024, 16_384
BLOCK_BYTES_MAX, BLOCKS_KEPT_MAX = 64 * 1024, 1_024
CLOSE_WITHIN_S = 1.0  # for the caller to close a connection of which it was told that it ends
_WINDOW_AT_FIRST = 65_535
# Without a table of headers: ":status: 200", then literals whose names stand in the static table or in full.
_RESPONSE = b"\x88" + b"\x0f\x10\x10application/grpc"
OK, UNIMPLEMENTED, RESOURCE_EXHAUSTED, INTERNAL = b"0", b"12", b"8", b"13"


class Call(Protocol):
    """One stream. ``is_done``: no more is answered. ``goes_on``: it stays open once the caller has sent all,
    as calls do whose answers come by themselves."""

    @property
    def is_done(self) -> bool: ...
    @property
    def goes_on(self) -> bool: ...
    def take(self, message: bytes, /) -> Iterator[bytes]: ...
    def end(self, *, drained: bool = False) -> None: ...


class _Stream(Struct):
    call: Call
    window: int
    received: bytes = b""
    pending: bytes = b""
    answered: bool = False
    status: bytes = b""  # it ends with this once everything is sent
    unread_bytes: int = 0


class ProtocolError(Exception):
    """The caller does not speak HTTP/2 as the RFC says; the connection ends."""


class Connection(asyncio.Protocol):
    """``open_call``: the call of a path, None for one that is not served. ``all_open``: the server's
    connections, of which this is one while it is open."""

    def __init__(
        self,
        open_call: Callable[[str], Call | None],
        all_open: "MutableSet[Connection]",
        *,
        streams_max: int,
        message_bytes_max: int,
    ) -> None:
        self._open_call, self._all_open = open_call, all_open
        self._streams_max, self._message_bytes_max = streams_max, message_bytes_max
        self._read, self._out = b"", bytearray()
        self._begun = self._is_closing = False
        self._streams: dict[int, _Stream] = {}
        self.lost = asyncio.Event()
        self._closing: asyncio.TimerHandle | None = None
        self._last = 0
        self._window, self._stream_window, self._frame_bytes = _WINDOW_AT_FIRST, _WINDOW_AT_FIRST, FRAME_BYTES
        self._unread_bytes = 0
        self._decoder, self._blocks = Decoder(max_header_list_size=BLOCK_BYTES_MAX), dict[bytes, str]()
        self._block: tuple[int, int, bytes] | None = None  # stream, flags, and what has come of its headers

    @property
    def open(self) -> int:
        """Streams that are open."""
        return len(self._streams)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Says first what it takes."""
        self._transport = cast(asyncio.Transport, transport)
        self._all_open.add(self)
        settings = ((HEADER_TABLE_SIZE, 0), (MAX_STREAMS, self._streams_max), (INITIAL_WINDOW, WINDOW_BYTES))
        self._frame(SETTINGS, 0, 0, b"".join(key.to_bytes(2) + value.to_bytes(4) for key, value in settings))
        self._frame(WINDOW_UPDATE, 0, 0, (16 * WINDOW_BYTES).to_bytes(4))
        self._flush()

    def connection_lost(self, _error: Exception | None) -> None:
        """Every call is over."""
        self._all_open.discard(self)
        self.lost.set()
        if self._closing is not None:
            self._closing.cancel()
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream.call.end()

    def data_received(self, data: bytes) -> None:
        """Whole frames are taken; the rest waits."""
        if self._is_closing:
            return
        self._read += data
        try:
            self._take_frames()
        except (ProtocolError, HPACKError):
            self._close(PROTOCOL_ERROR)
        self._flush()

    def push(self, call: Call, message: bytes) -> None:
        """Sends a message that answers none. Nothing happens for a call that is not open here."""
        for number, stream in list(self._streams.items()):
            if stream.call is call and not stream.status:
                stream.pending += b"\0" + len(message).to_bytes(4) + message
                self._pump(number, stream)
        self._flush()

    def drain(self) -> None:
        """Ends every stream well, and the connection."""
        for number, stream in list(self._streams.items()):
            stream.call.end(drained=True)
            stream.status = OK
            self._pump(number, stream)
        self._close(0)
        self._flush()

    def _take_frames(self) -> None:
        at, read = 0, self._read
        if not self._begun:
            if not PREFACE.startswith(read[: len(PREFACE)]):
                raise ProtocolError("no preface")
            if len(read) < len(PREFACE):
                return
            self._begun, at = True, len(PREFACE)
        while len(read) - at >= 9:
            length = int.from_bytes(read[at : at + 3])
            if length > FRAME_BYTES:
                raise ProtocolError("a frame that is too large")
            end = at + 9 + length
            if len(read) < end:
                break
            kind, flags = read[at + 3], read[at + 4]
            number = int.from_bytes(read[at + 5 : at + 9]) & 0x7FFF_FFFF
            self._take(kind, flags, number, read[at + 9 : end])
            at = end
        self._read = read[at:]

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if (self._block is not None) != (kind == CONTINUATION):
            raise ProtocolError("a header block that is interrupted")
        if kind == DATA:
            self._data(flags, number, payload)
        elif kind == HEADERS:
            payload = _unpadded(payload, flags)
            self._block = number, flags, payload[5:] if flags & WITH_PRIORITY else payload
            self._headers(flags)
        elif kind == CONTINUATION and self._block is not None:
            self._block = number, self._block[1], self._block[2] + payload
            self._headers(flags)
        elif kind == WINDOW_UPDATE:
            self._widen(number, int.from_bytes(payload[:4]) & 0x7FFF_FFFF)
        elif kind == RST_STREAM:
            if (stream := self._streams.pop(number, None)) is not None:
                stream.call.end()
        elif kind == SETTINGS and not flags & ACK:
            self._settings(payload)
        elif kind == PING and not flags & ACK:
            self._frame(PING, ACK, 0, payload)

    def _headers(self, flags: int) -> None:
        assert self._block is not None
        number, first_flags, block = self._block
        if len(block) > BLOCK_BYTES_MAX:
            raise ProtocolError("a header block that is too large")
        if not flags & END_HEADERS:
            return
        self._block = None
        path = self._path(block)
        if number in self._streams:  # trailers of the caller: its side of the stream ends
            self._half_closed(number)
            return
        if number <= self._last or not number % 2:
            raise ProtocolError("a stream that can't begin")
        self._last = number
        if len(self._streams) >= self._streams_max:
            self._frame(RST_STREAM, 0, number, REFUSED_STREAM.to_bytes(4))
        elif (call := self._open_call(path)) is None:
            self._frame(HEADERS, END_HEADERS | END_STREAM, number, _RESPONSE + _trailer(UNIMPLEMENTED))
        else:
            self._streams[number] = _Stream(call, self._stream_window)
            if first_flags & END_STREAM:
                self._half_closed(number)

    def _path(self, block: bytes) -> str:
        if (path := self._blocks.get(block)) is None:
            rows = self._decoder.decode(block, raw=True)
            path = next((value.decode("latin-1") for name, value in rows if name == b":path"), "")
            if not self._decoder.header_table.maxsize and len(self._blocks) < BLOCKS_KEPT_MAX:
                self._blocks[block] = path
        return path

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        self._unread_bytes += len(payload)
        if self._unread_bytes >= WINDOW_BYTES:
            self._frame(WINDOW_UPDATE, 0, 0, self._unread_bytes.to_bytes(4))
            self._unread_bytes = 0
        stream = self._streams.get(number)
        if stream is None:
            return
        stream.unread_bytes += len(payload)
        if stream.unread_bytes >= WINDOW_BYTES // 2:
            self._frame(WINDOW_UPDATE, 0, number, stream.unread_bytes.to_bytes(4))
            stream.unread_bytes = 0
        stream.received += _unpadded(payload, flags)
        self._messages(number, stream)
        if flags & END_STREAM:
            self._half_closed(number)

    def _messages(self, number: int, stream: _Stream) -> None:
        """Takes the whole messages that have come."""
        received = stream.received
        while len(received) >= 5 and not stream.status:
            length = int.from_bytes(received[1:5])
            if received[0] or length > self._message_bytes_max:
                stream.call.end()
                stream.status = UNIMPLEMENTED if received[0] else RESOURCE_EXHAUSTED
                break
            if len(received) < 5 + length:
                break
            message, received = received[5 : 5 + length], received[5 + length :]
            try:
                for answer in stream.call.take(message):
                    stream.pending += b"\0" + len(answer).to_bytes(4) + answer
            except Exception:  # noqa: BLE001 (whoever made the call has logged it)
                stream.call.end()
                stream.status = INTERNAL
            if stream.call.is_done:
                stream.call.end()
                stream.status = stream.status or OK
        stream.received = received
        self._pump(number, stream)

    def _half_closed(self, number: int) -> None:
        stream = self._streams.get(number)
        if stream is not None and not stream.status and not stream.call.goes_on:
            stream.call.end()
            stream.status = OK
            self._pump(number, stream)

    def _pump(self, number: int, stream: _Stream) -> None:
        """Sends what the windows allow, and the status once all is sent."""
        if not stream.answered and (stream.pending or not stream.status):
            if not stream.pending:
                return
            stream.answered = True
            self._frame(HEADERS, END_HEADERS, number, _RESPONSE)
        while (
            stream.pending
            and (size := min(len(stream.pending), self._window, stream.window, self._frame_bytes)) > 0
        ):
            self._frame(DATA, 0, number, stream.pending[:size])
            stream.pending = stream.pending[size:]
            self._window -= size
            stream.window -= size
        if stream.status and not stream.pending:
            head = b"" if stream.answered else _RESPONSE
            self._frame(HEADERS, END_HEADERS | END_STREAM, number, head + _trailer(stream.status))
            self._streams.pop(number, None)

    def _widen(self, number: int, size: int) -> None:
        if number:
            if (stream := self._streams.get(number)) is not None:
                stream.window += size
                self._pump(number, stream)
            return
        self._window += size
        for other, stream in list(self._streams.items()):
            if stream.pending:
                self._pump(other, stream)

    def _settings(self, payload: bytes) -> None:
        for at in range(0, len(payload) - 5, 6):
            key, value = int.from_bytes(payload[at : at + 2]), int.from_bytes(payload[at + 2 : at + 6])
            if key == INITIAL_WINDOW:
                for stream in self._streams.values():
                    stream.window += value - self._stream_window
                self._stream_window = value
            elif key == MAX_FRAME:
                self._frame_bytes = value
        self._frame(SETTINGS, ACK, 0, b"")

    def _close(self, code: int) -> None:
        self._frame(GOAWAY, 0, 0, self._last.to_bytes(4) + code.to_bytes(4))
        self._is_closing = True

    def _frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        self._out += len(payload).to_bytes(3) + bytes((kind, flags)) + number.to_bytes(4) + payload

    def _flush(self) -> None:
        if self._out:
            self._transport.write(bytes(self._out))
            self._out.clear()
        if self._is_closing and self._closing is None:
            # To close while something has come that was not read makes the kernel take back what the caller
            # has not read yet, the ends of its streams. So the caller closes first, as it does after GOAWAY.
            if self._transport.can_write_eof():
                self._transport.write_eof()
            self._closing = asyncio.get_running_loop().call_later(CLOSE_WITHIN_S, self._transport.abort)


def _unpadded(payload: bytes, flags: int) -> bytes:
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ProtocolError("more padding than there is")
    return payload[1 : len(payload) - payload[0]]


def _trailer(status: bytes) -> bytes:
    return b"\x00\x0bgrpc-status" + bytes((len(status),)) + status
