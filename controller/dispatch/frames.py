"""What goes between a controller and its solver process: frames of a length and msgpack, one pair a solve."""

import struct
from typing import BinaryIO

import msgspec
from msgspec import Struct

from controller.core.model.dispatch_plan import Plan, Problem

FRAME_MAX_BYTES = 64 * 1024 * 1024
LENGTH = struct.Struct(">I")


class Ask(Struct, frozen=True, omit_defaults=True):
    """``policy`` is packed, and there only when it differs from the last one. ``limit_s`` bounds a run."""

    number: int
    problem: Problem
    policy: bytes = b""
    limit_s: float = 5.0


class Answer(Struct, frozen=True, omit_defaults=True):
    """``plan`` is None where the solver had none; ``why`` then says so. Sizes and time are for people."""

    number: int
    plan: Plan | None = None
    why: str = ""
    solve_ms: int = 0
    rows: int = 0
    columns: int = 0


class FrameError(ValueError):
    """The other side sent what can't be a frame."""


_encoder = msgspec.msgpack.Encoder()
_asks = msgspec.msgpack.Decoder(Ask)
_answers = msgspec.msgpack.Decoder(Answer)


def framed(message: Ask | Answer) -> bytes:
    """The bytes of one message. Raises ``FrameError`` if it is too large."""
    body = _encoder.encode(message)
    if len(body) > FRAME_MAX_BYTES:
        raise FrameError(f"a message of {len(body)} bytes; at most {FRAME_MAX_BYTES} are allowed")
    return LENGTH.pack(len(body)) + body


def length_of(head: bytes) -> int:
    """The body's length. Raises ``FrameError``."""
    size: int = LENGTH.unpack(head)[0]
    if size > FRAME_MAX_BYTES:
        raise FrameError(f"a message of {size} bytes is announced; at most {FRAME_MAX_BYTES} are allowed")
    return size


def answer_in(body: bytes) -> Answer:
    """Raises ``FrameError``."""
    try:
        return _answers.decode(body)
    except msgspec.MsgspecError as error:
        raise FrameError(f"not an answer: {error}") from None


def read_ask(stream: BinaryIO) -> Ask | None:
    """The next question, or None at the end of the stream. Raises ``FrameError``."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    size = length_of(head)
    body = stream.read(size)
    if len(body) < size:
        return None
    try:
        return _asks.decode(body)
    except msgspec.MsgspecError as error:
        raise FrameError(f"not a question: {error}") from None
