"""Streams that come in any pieces."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.client.providers.recorded_streams import STREAMS
from tieline.providers.streams import StreamReader


def verdict(reader: StreamReader, *, clean: bool) -> tuple[object, ...]:
    """All that a reader says of a stream that is over."""
    result = reader.close(clean=clean)
    return (
        result,
        reader.phase,
        reader.ended,
        reader.error,
        reader.events,
        reader.usage,
        reader.answer_id,
    )


@settings(max_examples=400)
@given(
    name=st.sampled_from(sorted(STREAMS)),
    clean=st.booleans(),
    cuts=st.lists(st.floats(0, 1), max_size=40),
    until=st.one_of(st.just(1.0), st.floats(0, 1)),
    line_end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
)
def test_pieces_change_nothing(
    name: str, clean: bool, cuts: list[float], until: float, line_end: bytes
) -> None:
    """Any pieces of a recorded stream, or of its beginning, with any line ends, give the same events, end
    and verdict as one piece."""
    row = STREAMS[name]
    body = row.body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", line_end)
    body = body[: round(until * len(body))]
    one_piece, pieces = StreamReader(row.path, row.answers), StreamReader(row.path, row.answers)
    one_piece.feed(body)
    places = [0, *sorted(round(cut * len(body)) for cut in cuts), len(body)]
    for start, end in pairwise(places):
        pieces.feed(body[start:end])
    assert verdict(pieces, clean=clean) == verdict(one_piece, clean=clean)


def test_single_bytes_change_nothing() -> None:
    """One byte at a time, and one event at a time, are the two ends of it."""
    for name, row in STREAMS.items():
        one_piece, single = StreamReader(row.path, row.answers), StreamReader(row.path, row.answers)
        events = StreamReader(row.path, row.answers)
        one_piece.feed(row.body)
        for byte in row.body:
            single.feed(bytes([byte]))
        for block in row.body.split(b"\n\n"):
            events.feed(block + b"\n\n")
        expected = verdict(one_piece, clean=True)
        assert verdict(single, clean=True) == expected, name
        if row.body.endswith(b"\n\n"):
            assert verdict(events, clean=True) == expected, name
