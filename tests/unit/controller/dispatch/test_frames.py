"""Frames between a controller and its solver process."""

import io

import pytest

from controller.core.model.dispatch_plan import Plan, Problem
from controller.dispatch.frames import LENGTH, Answer, Ask, FrameError, answer_in, framed, length_of, read_ask

PROBLEM = Problem("v", 1, (1.0,), (), (float("inf"),), (1.0,), (0,), ())


def test_a_question_comes_back_as_it_was() -> None:
    """Limits without a bound included."""
    ask = Ask(7, PROBLEM, b"policy")
    assert read_ask(io.BytesIO(framed(ask))) == ask


def test_an_answer_comes_back_as_it_was() -> None:
    """With its plan, or without one and the reason."""
    for said in (Answer(1, Plan("v", "i", 1, ())), Answer(2, None, "late")):
        frame = framed(said)
        assert length_of(frame[: LENGTH.size]) == len(frame) - LENGTH.size
        assert answer_in(frame[LENGTH.size :]) == said


def test_the_end_of_the_stream_is_no_error() -> None:
    """Between frames or within one: the other side has gone."""
    frame = framed(Ask(1, PROBLEM))
    for cut in (0, 2, LENGTH.size, len(frame) - 1):
        assert read_ask(io.BytesIO(frame[:cut])) is None


def test_what_is_no_frame_is_refused() -> None:
    """Foreign bytes, and lengths beyond the limit, end the exchange instead of filling the memory."""
    with pytest.raises(FrameError, match="announced"):
        read_ask(io.BytesIO(b"\xff\xff\xff\xff"))
    with pytest.raises(FrameError, match="not a question"):
        read_ask(io.BytesIO(LENGTH.pack(3) + b"\x93\x01\x02"))
    with pytest.raises(FrameError, match="not an answer"):
        answer_in(b"\xc1")
