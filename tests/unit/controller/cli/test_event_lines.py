"""Lines of JSON become events, or one clear sentence; chunks become lines however they are cut."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.cli.event_input import Identity, InputError
from controller.cli.event_lines import Line, LineSplitter, event_in_line
from tests.unit.streams.made import capacity, demand, observation, report, statement
from tieline.cloudevents import type_of
from tieline.events import Capacity, Event, Report

NOW_MS = 1_790_000_000_000
ME = Identity("prober", "inc", NOW_MS)


def read(text: str, number: int = 1) -> Event | None:
    """The event of a line."""
    return event_in_line(Line(number, text.encode()), ME)


def test_what_a_line_leaves_out_is_filled_in() -> None:
    """The source from the command, the sequence from the line's number, place and time from the event."""
    event = read('{"type": "report.v1", "pools": [{"pool": "azure/eastus/a", "outcomes": {"ok": 9}}]}', 7)
    assert isinstance(event, Report)
    assert (event.source, event.incarnation, event.sequence) == ("prober", "inc", 7)
    assert (event.provider, event.region) == ("azure", "eastus")
    assert (event.window_start_ms, event.window_end_ms, event.interval_ms) == (
        NOW_MS - 10_000,
        NOW_MS,
        10_000,
    )
    limits = read('{"type": "capacity.v1", "pools": [{"pool": "oci/uk/a", "limit_units_per_s": 5}]}')
    assert isinstance(limits, Capacity)
    assert (limits.issued_ms, limits.expires_ms) == (NOW_MS, NOW_MS + 600_000)


@pytest.mark.parametrize("event", [report(1, observation()), statement(2), capacity(3), demand()])
def test_a_whole_event_is_taken_as_it_is(event: Event) -> None:
    """As its body, or as a CloudEvent in the structured mode."""
    body = msgspec.json.encode(event).decode()
    assert read(body) == event
    attributes = f'"specversion": "1.0", "type": "{type_of(type(event))}", "source": "/x", "id": "1"'
    assert read(f'{{{attributes}, "data": {body}}}') == event


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "it is not JSON"),
        ("[]", "expected one event: a JSON object"),
        ('{"type": "command.v1"}', "field type is 'command.v1': expected report.v1, statement.v1"),
        ('{"type": "report.v1", "pool": []}', "field pool: there is no such field"),
        ('{"type": "report.v1", "pools": []}', "missing required field provider"),
        (
            '{"type": "report.v1", "pools": [{"pool": "a/b/c", "in_flight": -1}]}',
            r"pools\[0\].in_flight",
        ),
        ('{"type": "report.v1", "pools": [{"pool": "a/b/c"}, {"pool": "a/d/c"}]}', "a/d/c is not in a/b"),
        ('{"specversion": "1.0"}', "attribute type is missing"),
    ],
)
def test_a_bad_line_is_one_clear_sentence(text: str, why: str) -> None:
    """With the field, and what is expected there."""
    with pytest.raises(InputError, match=why):
        read(text)


def test_empty_lines_say_nothing_and_long_ones_are_left_out() -> None:
    """A long line is named by its number."""
    assert read("  ") is None
    with pytest.raises(InputError, match="it has more than 1048576 bytes"):
        event_in_line(Line(3, None), ME)


@given(
    st.lists(st.sampled_from([b"\n", b"bb", b"seven..", b"more than twenty bytes"])).map(b"".join),
    st.lists(st.integers(0, 200)),
)
def test_chunks_may_be_cut_anywhere(data: bytes, cuts: list[int]) -> None:
    """The lines are the same, and those beyond the limit keep their numbers."""
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    splitter = LineSplitter(line_max_bytes=20)
    chunks = [data[begin:end] for begin, end in pairwise(places)]
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    lines += splitter.end()
    expected = data.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    assert lines == [
        Line(number, text if len(text) <= 20 else None) for number, text in enumerate(expected, start=1)
    ]
