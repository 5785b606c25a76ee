"""The Kafka binary mode of CloudEvents, held against the official SDK; every way a record is wrong."""

import json

import msgspec
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event
from cloudevents.core.formats.json import JSONFormat

from tieline.cloudevents import JSON, MSGPACK, Encoded, Poison, Rejection, decode, encode, key_of, type_of
from tieline.events import (
    Capacity,
    Claim,
    Command,
    Demand,
    Event,
    Flow,
    Outcomes,
    PolicyChange,
    PoolCapacity,
    PoolObservation,
    Report,
    Statement,
)
from tieline.leader_events import Claimed, Heartbeat, Resigned

NOW_MS = 1_790_000_000_000
POOL = "azure/swedencentral/gpt-4o"

REPORT = Report(
    source="prober-eu",
    provider="azure",
    region="swedencentral",
    incarnation="f00d",
    sequence=7,
    window_start_ms=NOW_MS - 1_000,
    window_end_ms=NOW_MS,
    interval_ms=1_000,
    pools=(PoolObservation(pool=POOL, outcomes=Outcomes(ok=9, timeout=1), first_token_p50_ms=180.5),),
)
EVENTS: dict[str, Event] = {
    "azure/swedencentral": REPORT,
    "azure/*/azure-status/status": Statement(
        source="azure-status",
        provider="azure",
        region="*",
        kind="status",
        incarnation="a",
        sequence=1,
        issued_ms=NOW_MS,
        claims=(Claim(state="degraded", expires_ms=NOW_MS + 60_000),),
    ),
    "azure/swedencentral/quota": Capacity(
        source="quota",
        provider="azure",
        region="swedencentral",
        incarnation="a",
        sequence=1,
        issued_ms=NOW_MS,
        expires_ms=NOW_MS + 60_000,
        pools=(PoolCapacity(pool=POOL, limit_units_per_s=5_000),),
    ),
    "gateway-1": Demand(
        client="gateway-1",
        incarnation="a",
        sequence=1,
        window_start_ms=NOW_MS - 1_000,
        window_end_ms=NOW_MS,
        interval_ms=1_000,
        flows=(Flow(workload="chat", origin="eu", requests=3, offered_units=1200.5),),
    ),
    "azure": Command(
        id="c-1",
        verb="drain",
        scope="azure",
        actor="ada",
        reason="maintenance",
        issued_ms=NOW_MS,
        expires_ms=NOW_MS + 3_600_000,
    ),
    "policy": PolicyChange(
        id="p-1",
        actor="ada",
        reason="a new region",
        issued_ms=NOW_MS,
        number=1,
        parent="0" * 32,
        version="f" * 32,
        policy=b"\x00new",
        parent_policy=b"\xffold",
        forced=("critical_shed",),
    ),
    "41": Heartbeat(identity="c1", epoch=41),
    "42": Resigned(identity="c1", epoch=42),
    "40": Claimed(identity="c2", names_epoch=40, last_heartbeat_offset=90),
}


@pytest.mark.parametrize("content_type", [MSGPACK, JSON])
@pytest.mark.parametrize("key", EVENTS, ids=str)
def test_round_trip(key: str, content_type: str) -> None:
    """Every event comes back equal from either body format, under the key of the design."""
    record = encode(EVENTS[key], time_ms=NOW_MS, content_type=content_type)
    assert record.key == key.encode() == key_of(EVENTS[key]).encode()
    assert decode(record.headers, record.value, record.key) == EVENTS[key]


def test_the_official_sdk_reads_our_records() -> None:
    """What we write is CloudEvents 1.0 in Kafka binary mode to the reference implementation."""
    record = encode(REPORT, time_ms=NOW_MS, content_type=JSON)
    headers = dict(record.headers)
    event = from_binary_event(KafkaMessage(headers=headers, key=record.key, value=record.value), JSONFormat())
    assert event.get_type() == type_of(Report) == "tieline.report.v1"
    assert event.get_specversion() == "1.0"
    assert event.get_source() == "/tieline/prober-eu"
    assert event.get_id() == "f00d-7-azure/swedencentral"
    assert event.get_extension("partitionkey") == "azure/swedencentral"
    data = event.get_data()
    assert isinstance(data, dict)
    assert data["pools"][0]["pool"] == POOL


def _with(record: Encoded, **headers: bytes | None) -> list[tuple[str, bytes]]:
    changed = {name.replace("__", "-"): value for name, value in headers.items()}
    named: dict[str, bytes | None] = {**dict(record.headers), **changed}
    return [(name, value) for name, value in named.items() if value is not None]


HEADER_FAULTS = [
    ({"ce_specversion": None}, Rejection.NOT_CLOUDEVENTS, "ce_specversion"),
    ({"ce_specversion": b"0.3"}, Rejection.NOT_CLOUDEVENTS, "ce_specversion"),
    ({"ce_id": b""}, Rejection.NOT_CLOUDEVENTS, "ce_id"),
    ({"ce_source": None}, Rejection.NOT_CLOUDEVENTS, "ce_source"),
    ({"content__type": b"text/plain"}, Rejection.NOT_CLOUDEVENTS, "content-type"),
    ({"ce_type": b"tieline.report.v9"}, Rejection.UNKNOWN_VERSION, "v9"),
    ({"ce_type": b"com.example.order"}, Rejection.UNKNOWN_TYPE, "com.example"),
    ({"ce_type": b"\xff\xfe"}, Rejection.UNKNOWN_TYPE, "ce_type"),
]


@pytest.mark.parametrize(("headers", "reason", "place"), HEADER_FAULTS)
def test_wrong_headers(headers: dict[str, bytes | None], reason: Rejection, place: str) -> None:
    """A record whose headers are wrong is rejected with the reason, naming the header or its value."""
    record = encode(REPORT, time_ms=NOW_MS)
    with pytest.raises(Poison, match=place) as caught:
        decode(_with(record, **headers), record.value, record.key)
    assert caught.value.reason == reason


def _body(**changed: object) -> bytes:
    return msgspec.msgpack.encode({**msgspec.to_builtins(REPORT), **changed})


BODY_FAULTS: list[tuple[bytes | None, Rejection, str]] = [
    (None, Rejection.UNDECODABLE, "no body"),
    (b"", Rejection.UNDECODABLE, "truncated"),
    (_body()[:-3], Rejection.UNDECODABLE, "truncated"),
    (b"\x91" * 100_000, Rejection.INVALID, "object"),
    (_body(type="capacity.v1"), Rejection.INVALID, "type"),
    (_body(sequence=-1), Rejection.INVALID, r"\$\.sequence"),
    (_body(sequence="7"), Rejection.INVALID, r"\$\.sequence"),
    (_body(window_end_ms=NOW_MS - 5_000), Rejection.INVALID, "window_end_ms"),
    (_body(window_end_ms=1), Rejection.INVALID, r"\$\.window_end_ms"),
    (_body(provider="Az ure"), Rejection.INVALID, r"\$\.provider"),
    (_body(source="x" * 200), Rejection.INVALID, r"\$\.source"),
    (_body(pools=[{"pool": "gcp/us/x"}]), Rejection.INVALID, "gcp/us/x is not in azure/swedencentral"),
    (_body(pools=[{"pool": POOL}, {"pool": POOL}]), Rejection.INVALID, "twice"),
    (_body(pools=[{"pool": POOL, "units": float("nan")}]), Rejection.INVALID, "units"),
    (_body(pools=[{"pool": POOL, "units": float("inf")}]), Rejection.INVALID, "units"),
    (_body(pools=[{"pool": POOL, "outcomes": {"ok": 10**13}}]), Rejection.INVALID, "ok"),
    (_body(provider="gcp", pools=[]), Rejection.KEY_MISMATCH, "gcp/swedencentral"),
]


@pytest.mark.parametrize(("body", "reason", "place"), BODY_FAULTS)
def test_wrong_bodies(body: bytes | None, reason: Rejection, place: str) -> None:
    """A body that is cut, of the wrong type, out of range or contradicts itself is rejected at its place."""
    record = encode(REPORT, time_ms=NOW_MS)
    with pytest.raises(Poison, match=place) as caught:
        decode(record.headers, body, record.key)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"type": "report.v1"}', b"\xff\xfe{}", b"[" * 100_000, b"nul"]
)
def test_wrong_json(body: bytes) -> None:
    """JSON that is cut, no object, wrongly encoded or nested without end is rejected."""
    record = encode(REPORT, time_ms=NOW_MS, content_type=JSON)
    with pytest.raises(Poison):
        decode(record.headers, body, record.key)


def test_unknown_fields_are_tolerated() -> None:
    """A newer producer of the same version may add fields."""
    record = encode(REPORT, time_ms=NOW_MS)
    assert decode(record.headers, _body(more={"a": 1}), record.key) == REPORT


def test_encode_refuses_what_decode_would() -> None:
    """A producer learns of a bad event before the broker does."""
    wrong = msgspec.structs.replace(REPORT, sequence=-1)
    with pytest.raises(Poison, match="sequence"):
        encode(wrong, time_ms=NOW_MS)


def test_a_drain_without_expiry_is_refused() -> None:
    """An override always ends."""
    with pytest.raises(Poison, match="expires_ms"):
        encode(msgspec.structs.replace(EVENTS["azure"], expires_ms=None), time_ms=NOW_MS)


def test_json_body_is_readable_by_any_language() -> None:
    """The JSON body holds plain field names, so that a producer needs no library of ours."""
    body = json.loads(encode(REPORT, time_ms=NOW_MS, content_type=JSON).value)
    assert body["type"] == "report.v1"
    assert body["pools"] == [{"pool": POOL, "outcomes": {"ok": 9, "timeout": 1}, "first_token_p50_ms": 180.5}]
