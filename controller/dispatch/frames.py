"""The messages between a controller and its solver process.

A frame is the length of its body (4 bytes, big-endian) and the body, which is msgpack.
"""

import struct
from typing import BinaryIO

import msgspec
from msgspec import Struct

from controller.core.model.dispatch_plan import Plan, Problem

FRAME_MAX_BYTES = 64 * 1024 * 1024
LENGTH = struct.Struct(">I")


class SolveRequest(Struct, frozen=True, omit_defaults=True):
    """One problem to solve. ``number`` comes back in the reply; ``limit_s`` bounds each run of the solver.

    ``policy`` is the packed policy of the problem. It is empty if the request before had the same one.
    """

    number: int
    problem: Problem
    policy: bytes = b""
    limit_s: float = 5.0


class SolveReply(Struct, frozen=True, omit_defaults=True):
    """The plan, or None and why there is none. ``solve_ms``, ``rows`` and ``columns`` are for the log."""

    number: int
    plan: Plan | None = None
    why: str = ""
    solve_ms: int = 0
    rows: int = 0
    columns: int = 0


class FrameError(ValueError):
    """The bytes are no frame, or no message of the expected kind."""


_encoder = msgspec.msgpack.Encoder()
_request_decoder = msgspec.msgpack.Decoder(SolveRequest)
_reply_decoder = msgspec.msgpack.Decoder(SolveReply)


def framed(message: SolveRequest | SolveReply) -> bytes:
    """The bytes of one message. Raises ``FrameError`` if it is too large."""
    body = _encoder.encode(message)
    if len(body) > FRAME_MAX_BYTES:
        raise FrameError(f"a message has {len(body)} bytes: at most {FRAME_MAX_BYTES} are allowed")
    return LENGTH.pack(len(body)) + body


def length_of(head: bytes) -> int:
    """The length of the body in bytes. Raises ``FrameError`` if it is larger than any message may be."""
    size: int = LENGTH.unpack(head)[0]
    if size > FRAME_MAX_BYTES:
        raise FrameError(f"a message of {size} bytes is announced: at most {FRAME_MAX_BYTES} are allowed")
    return size


def decode_reply(body: bytes) -> SolveReply:
    """The reply from its body. Raises ``FrameError``."""
    try:
        return _reply_decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise FrameError(f"the body is no reply of a solver: {error}") from None


def read_request(stream: BinaryIO) -> SolveRequest | None:
    """The next request, or None when the stream ends, also within a frame. Raises ``FrameError``."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    size = length_of(head)
    body = stream.read(size)
    if len(body) < size:
        return None
    try:
        return _request_decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise FrameError(f"the body is no request to a solver: {error}") from None
