"""The production trace and its replay."""

import itertools

import pytest

from lab.demo.trace import TraceError, TraceRequest, begin_at, mean_tokens, parse, rate_per_s, read, replay

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
TWO = [HEADER, "2023-11-16 18:15:46.6805900,374,44\n", "2023-11-16 18:15:47.1805900,396,109\n"]


def test_offsets_count_from_the_first_request() -> None:
    """Timestamps with seven decimals become seconds after the first row."""
    assert parse(TWO, "t") == (TraceRequest(0.0, 374, 44), TraceRequest(0.5, 396, 109))


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["a,b\n"], "line 1: the header must be"),
        ([HEADER], "has no request"),
        ([HEADER, "yesterday,1,2\n"], "line 2: it must have the fields"),
        ([HEADER, "2023-11-16 18:15:46.1,1\n"], "line 2: it must have the fields"),
        ([HEADER, "2023-11-16 18:15:46.1,-1,2\n"], "line 2: the numbers of tokens must not be below zero"),
        ([TWO[0], TWO[2], TWO[1]], "line 3: it arrives before"),
    ],
)
def test_a_wrong_trace_is_refused_with_its_line(lines: list[str], says: str) -> None:
    """Every error names the line."""
    with pytest.raises(TraceError, match=says):
        parse(lines, "t")


def test_a_higher_rate_compresses_time_and_begins_anew() -> None:
    """Twice the rate is half the time between requests; a longer duration plays the trace again."""
    requests = parse(TWO, "t")
    offsets = [request.offset_s for request in replay(requests, rate_factor=2, duration_s=1.0)]
    assert offsets == [0.0, 0.25, 0.5, 0.75]
    assert list(replay(requests)) == list(requests)
    with pytest.raises(ValueError, match="above zero"):
        next(replay(requests, rate_factor=0))


def test_callers_may_begin_anywhere() -> None:
    """Offsets count from the row that a caller begins with; a row that isn't there is the first."""
    requests = parse(TWO, "t")
    assert begin_at(requests, 1) == (TraceRequest(0.0, 396, 109),)
    assert begin_at(requests, 2) == requests


def test_the_sample_is_whole() -> None:
    """The sample kept here is twenty minutes of about five requests a second, in order."""
    requests = read()
    assert len(requests) == 5_985
    assert 1_190 < requests[-1].offset_s < 1_200
    assert all(a.offset_s <= b.offset_s for a, b in itertools.pairwise(requests))
    assert rate_per_s(requests) == pytest.approx(5.0, rel=0.01)
    assert 1_300 < mean_tokens(requests) < 1_500
