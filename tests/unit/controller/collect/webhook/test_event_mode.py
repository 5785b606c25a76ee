"""Tieline's events over HTTP: CloudEvents in the binary, structured and batch mode."""

import msgspec
import pytest

from controller.collect.collector import UnreadableError
from controller.collect.webhook.event_mode import events_in
from tests.unit.streams.made import capacity, demand, observation, report, statement
from tieline.cloudevents import MSGPACK, STRUCTURED, Rejection, encode, type_of
from tieline.events import Event

SOURCES = ("probe-1", "status-1", "fleet-1")
BATCH = "application/cloudevents-batch+json; charset=utf-8"


def structured(event: Event, **attributes: str) -> dict[str, object]:
    """The event in the structured mode."""
    envelope = {"specversion": "1.0", "type": type_of(type(event)), "source": "/x", "id": "1"}
    return {**envelope, **attributes, "data": msgspec.to_builtins(event)}


@pytest.mark.parametrize("event", [report(1, observation()), statement(1), capacity(1)])
@pytest.mark.parametrize("content_type", [MSGPACK, "application/json"])
def test_an_event_in_the_binary_mode(event: Event, content_type: str) -> None:
    """Its attributes are headers whose names begin with ``ce-``."""
    encoded = encode(event, time_ms=1, content_type=content_type)
    headers = {name.replace("ce_", "ce-"): value.decode() for name, value in encoded.headers}
    assert events_in(headers, encoded.value, SOURCES).events == ((0, event),)


def test_an_event_in_the_structured_mode() -> None:
    """One JSON object."""
    body = msgspec.json.encode(structured(report(1)))
    assert events_in({"content-type": STRUCTURED}, body, SOURCES).events == ((0, report(1)),)


def test_a_batch_goes_on_behind_a_bad_event() -> None:
    """Each is told by its place in the batch."""
    events = [
        structured(report(1)),
        structured(report(2), type="tieline.report.v9"),
        structured(report(3, source="stranger")),
        structured(demand()),
        structured(report(4, observation("gcp/us/x"))),
        structured(capacity(5)),
    ]
    content = events_in({"content-type": BATCH}, msgspec.json.encode(events), SOURCES)
    assert [number for number, _ in content.events] == [0, 5]
    assert [(refused.number, refused.reason) for refused in content.refused] == [
        (1, Rejection.UNKNOWN_VERSION),
        (2, Rejection.UNKNOWN_SOURCE),
        (3, Rejection.UNKNOWN_TYPE),
        (4, Rejection.INVALID),
    ]
    assert "speaks only for probe-1, status-1, fleet-1" in content.refused[1].place
    assert "is not in azure/eu" in content.refused[3].place


def test_a_missing_header_is_named_as_http_has_it() -> None:
    """With a dash."""
    content = events_in({"content-type": "application/json"}, b"{}", SOURCES)
    assert [refused.place for refused in content.refused] == ["header ce-specversion is missing"]


def test_a_batch_that_is_none_is_refused_as_a_whole() -> None:
    """Nothing of it can be told apart."""
    with pytest.raises(UnreadableError, match="no JSON list"):
        events_in({"content-type": BATCH}, b"{}", SOURCES)
    with pytest.raises(UnreadableError, match="more than 1,000 events"):
        events_in({"content-type": BATCH}, b"[" + b",".join([b"{}"] * 1_001) + b"]", SOURCES)
