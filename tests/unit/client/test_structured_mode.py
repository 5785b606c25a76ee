"""The structured mode of CloudEvents, held against the official SDK; every way such a record is wrong."""

import base64
import json
from typing import Any

import msgspec
import pytest
from cloudevents.core.bindings.kafka import to_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from tests.unit.client.test_cloudevents import EVENTS, NOW_MS, REPORT
from tieline.cloudevents import Encoded, Poison, Rejection, decode, encode, source_of, type_of
from tieline.events import Event

KEY = b"azure/swedencentral"
STRUCTURED = [("content-type", b"application/cloudevents+json; charset=UTF-8")]


def _attributes(event: Event) -> dict[str, Any]:
    return {"specversion": "1.0", "type": type_of(type(event)), "source": "/gateways/eu", "id": "f00d-7"}


def _record(event: Event, **changes: object) -> bytes:
    """One JSON object; an attribute that is None is left out."""
    whole = {**_attributes(event), "data": msgspec.to_builtins(event), **changes}
    return json.dumps({name: value for name, value in whole.items() if value is not None}).encode()


@pytest.mark.parametrize("key", EVENTS, ids=str)
def test_every_event_is_read_from_data(key: str) -> None:
    """The body stands in ``data`` as plain JSON."""
    assert decode(STRUCTURED, _record(EVENTS[key]), key.encode()) == EVENTS[key]


@pytest.mark.parametrize("media_type", ["application/msgpack", "application/json", "Application/JSON; a=b"])
def test_a_body_in_base64_is_what_datacontenttype_says(media_type: str) -> None:
    """``data_base64`` may hold msgpack, or JSON."""
    body = (msgspec.msgpack if media_type == "application/msgpack" else msgspec.json).encode(REPORT)
    packed = base64.b64encode(body).decode()
    value = _record(REPORT, data=None, data_base64=packed, datacontenttype=media_type)
    assert decode(STRUCTURED, value, KEY) == REPORT


def test_what_the_official_sdk_writes_is_read() -> None:
    """The reference implementation's structured mode needs no change."""
    attributes = {**_attributes(REPORT), "datacontenttype": "application/json", "partitionkey": KEY.decode()}
    message = to_structured_event(CloudEvent(attributes, msgspec.to_builtins(REPORT)), JSONFormat())
    assert decode(list(message.headers.items()), message.value, KEY) == REPORT


def test_the_body_counts_and_not_headers_that_repeat_it() -> None:
    """Kafka's binding allows ``ce_*`` headers beside a structured record; they decide nothing."""
    headers = [*STRUCTURED, ("ce_type", b"com.example.order"), ("ce_specversion", b"0.3")]
    assert decode(headers, _record(REPORT), KEY) == REPORT


FAULTS: list[tuple[bytes | None, Rejection, str]] = [
    (None, Rejection.UNDECODABLE, "no body"),
    (b"", Rejection.UNDECODABLE, "truncated"),
    (b'{"specversion": "1.0"', Rejection.UNDECODABLE, "truncated"),
    (b"[" * 100_000, Rejection.NOT_CLOUDEVENTS, "object"),
    (b'{"specversion":"1.0","data":' + b"[" * 100_000, Rejection.UNDECODABLE, "recursion"),
    (b"\xff\xfe{}", Rejection.UNDECODABLE, "malformed"),
    (_record(REPORT, specversion=None), Rejection.NOT_CLOUDEVENTS, "attribute specversion is missing"),
    (_record(REPORT, specversion="0.3"), Rejection.NOT_CLOUDEVENTS, "attribute specversion is not 1.0"),
    (_record(REPORT, id=""), Rejection.NOT_CLOUDEVENTS, "attribute id is missing"),
    (_record(REPORT, source=7), Rejection.NOT_CLOUDEVENTS, r"\$\.source"),
    (_record(REPORT, type="tieline.report.v9"), Rejection.UNKNOWN_VERSION, "attribute type is .*v9"),
    (_record(REPORT, type="com.example.order"), Rejection.UNKNOWN_TYPE, "com.example"),
    (_record(REPORT, data=None), Rejection.NOT_CLOUDEVENTS, "data and data_base64"),
    (_record(REPORT, data_base64="e30="), Rejection.NOT_CLOUDEVENTS, "data and data_base64"),
    (_record(REPORT, data=None, data_base64="%"), Rejection.NOT_CLOUDEVENTS, r"\$\.data_base64"),
    (_record(REPORT, datacontenttype="application/msgpack"), Rejection.NOT_CLOUDEVENTS, "into data_base64"),
    (
        _record(REPORT, data=None, data_base64="e30=", datacontenttype="text/plain"),
        Rejection.NOT_CLOUDEVENTS,
        "attribute datacontenttype is 'text/plain': write application/json or application/msgpack",
    ),
    (_record(REPORT, data={"type": "report.v1"}), Rejection.INVALID, "source"),
    (
        _record(REPORT, data={**msgspec.to_builtins(REPORT), "sequence": -1}),
        Rejection.INVALID,
        r"`\$\.data\.sequence`",
    ),
]


@pytest.mark.parametrize(("value", "reason", "place"), FAULTS)
def test_a_wrong_record_is_refused_at_its_place(value: bytes | None, reason: Rejection, place: str) -> None:
    """Attributes and body have reasons of their own, and the place is that in the whole record."""
    with pytest.raises(Poison, match=place) as caught:
        decode(STRUCTURED, value, KEY)
    assert caught.value.reason == reason


def test_the_key_must_fit_here_too() -> None:
    """A structured record lies under the key that follows from its event."""
    with pytest.raises(Poison, match="the key should be"):
        decode(STRUCTURED, _record(REPORT), b"azure/elsewhere")


@pytest.mark.parametrize("media_type", ["application/cloudevents-batch+json", "application/cloudevents+avro"])
def test_other_structured_formats_are_named(media_type: str) -> None:
    """Batches and Avro are refused with what to write instead."""
    record = encode(REPORT, time_ms=NOW_MS)
    with pytest.raises(Poison, match=r"only application/cloudevents\+json is read"):
        decode(_with_content_type(record, media_type), _record(REPORT), KEY)


def test_a_content_type_in_the_wrong_header_is_told_apart() -> None:
    """Kafka's binding has the media type in ``content-type``; ``ce_datacontenttype`` is a common mistake."""
    record = encode(REPORT, time_ms=NOW_MS)
    headers = [(name, text) for name, text in record.headers if name != "content-type"]
    with pytest.raises(Poison, match=r"ce_datacontenttype is not read.*header content-type") as caught:
        decode([*headers, ("ce_datacontenttype", b"application/json")], record.value, record.key)
    assert caught.value.reason == Rejection.NOT_CLOUDEVENTS
    both = [*record.headers, ("ce_datacontenttype", b"application/json")]
    assert decode(both, record.value, record.key) == REPORT


def test_the_source_is_named_in_either_mode() -> None:
    """A rebuild tells the producers of one region apart by it; rubbish has none."""
    record = encode(REPORT, time_ms=NOW_MS)
    assert source_of(record.headers, record.value) == "/tieline/prober-eu"
    assert source_of(STRUCTURED, _record(REPORT)) == "/gateways/eu"
    assert [source_of(STRUCTURED, value) for value in (None, b"{", b"[]")] == ["", "", ""]
    assert source_of([], b"rubbish") == ""


def _with_content_type(record: Encoded, media_type: str) -> list[tuple[str, bytes]]:
    return [(n, media_type.encode() if n == "content-type" else text) for n, text in record.headers]
