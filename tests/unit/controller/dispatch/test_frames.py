"""Frames between a controller and its solver process."""

import io

import pytest

from controller.core.model.dispatch_plan import Plan, Problem
from controller.dispatch.frames import (
    LENGTH,
    FrameError,
    SolveReply,
    SolveRequest,
    decode_reply,
    framed,
    length_of,
    read_request,
)

PROBLEM = Problem("v", 1, (1.0,), (), (float("inf"),), (1.0,), (0,), ())


def test_a_request_comes_back_as_it_was() -> None:
    """Limits without a bound included."""
    request = SolveRequest(7, PROBLEM, b"policy")
    assert read_request(io.BytesIO(framed(request))) == request


def test_a_reply_comes_back_as_it_was() -> None:
    """With its plan, or without one and the reason."""
    for reply in (SolveReply(1, Plan("v", "i", 1, ())), SolveReply(2, None, "late")):
        frame = framed(reply)
        assert length_of(frame[: LENGTH.size]) == len(frame) - LENGTH.size
        assert decode_reply(frame[LENGTH.size :]) == reply


def test_the_end_of_the_stream_is_no_error() -> None:
    """Between frames or within one: the other side has gone."""
    frame = framed(SolveRequest(1, PROBLEM))
    for cut in (0, 2, LENGTH.size, len(frame) - 1):
        assert read_request(io.BytesIO(frame[:cut])) is None


def test_what_is_no_frame_is_refused() -> None:
    """Foreign bytes, and lengths beyond the limit, end the exchange instead of filling the memory."""
    with pytest.raises(FrameError, match="announced"):
        read_request(io.BytesIO(b"\xff\xff\xff\xff"))
    with pytest.raises(FrameError, match="no request"):
        read_request(io.BytesIO(LENGTH.pack(3) + b"\x93\x01\x02"))
    with pytest.raises(FrameError, match="no reply"):
        decode_reply(b"\xc1")
