"""Which records the judge accepts, and why it refuses the others."""

from __future__ import annotations

from dataclasses import replace as replace_field
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from streams.contract_check import Judge, Record, is_stale, refuse_future
from tests.unit.streams.made import T0_MS, capacity, demand, observation, record, report, statement
from tieline.cloudevents import Poison, Rejection
from tieline.events import Capacity, Claim, Demand, Event, GroupCapacity, Report, Statement
from tieline.order_signing import encode_public_key
from tieline.registration import Registry, SourceRule
from tieline.signatures import sign_event
from tieline.topics import Topics

TOPICS = Topics("t")
REGISTRY = Registry(
    frozenset({"azure"}),
    {"probe-1": SourceRule("probe"), "status-1": SourceRule("status"), "fleet-1": SourceRule("fleet")},
    frozenset({"azure/eu/a"}),
)
JUDGE = Judge(TOPICS, REGISTRY)
GOOD: list[tuple[Event, str]] = [
    (report(1, observation(ok=1)), TOPICS.reports.name),
    (statement(1, Claim("down", T0_MS + 9_000, pools=("azure/eu/a",))), TOPICS.statements.name),
    (capacity(1), TOPICS.capacity.name),
    (demand(), TOPICS.demand.name),
]


def rejected(record: Record) -> Rejection:
    """Why the record is refused."""
    with pytest.raises(Poison) as raised:
        JUDGE.event(record)
    assert raised.value.place
    return raised.value.reason


@pytest.mark.parametrize(("event", "topic"), GOOD)
@pytest.mark.parametrize("json", [False, True])
def test_good_records_are_accepted(event: Event, topic: str, json: bool) -> None:
    """Every kind of event is accepted, in both encodings."""
    assert JUDGE.event(record(event, topic, json=json)) == event


def test_an_event_on_the_wrong_topic_is_refused() -> None:
    """A demand report on the reports topic would be folded by the wrong rule."""
    assert rejected(record(demand(), TOPICS.reports.name)) is Rejection.UNKNOWN_TYPE


@pytest.mark.parametrize(
    ("event", "topic", "reason"),
    [
        (report(1, provider="nebula"), TOPICS.reports.name, Rejection.UNKNOWN_PROVIDER),
        (report(1, source="stranger"), TOPICS.reports.name, Rejection.UNKNOWN_SOURCE),
        (report(1, observation("azure/eu/zz")), TOPICS.reports.name, Rejection.UNKNOWN_POOL),
        (
            statement(1, Claim("down", T0_MS, pools=("azure/eu/zz",))),
            TOPICS.statements.name,
            Rejection.UNKNOWN_POOL,
        ),
    ],
)
def test_what_the_policy_does_not_name_is_refused(event: Event, topic: str, reason: Rejection) -> None:
    """Provider, source and pools of an event must be in the policy."""
    assert rejected(record(event, topic)) is reason


@pytest.mark.parametrize(
    ("event", "topic"),
    [
        (replace(report(1), source="fleet-1"), TOPICS.reports.name),
        (replace(report(1), source="status-1"), TOPICS.reports.name),
        (replace(capacity(1), source="probe-1"), TOPICS.capacity.name),
        (replace(statement(1), source="probe-1"), TOPICS.statements.name),
    ],
)
def test_a_source_sends_only_what_its_kind_does(event: Event, topic: str) -> None:
    """A prober states no capacity, a fleet monitor sees no requests."""
    assert rejected(record(event, topic)) is Rejection.NOT_ITS_KIND


def limited(kind: str, scope: str, event: Event, topic: str) -> Event | Rejection:
    """What becomes of an event of a source with this scope."""
    name = getattr(event, "source", "")
    pools = frozenset({"azure/eu/a", "azure/us/b"})
    groups = {"near": frozenset({"azure/eu/a"}), "far": frozenset({"azure/us/b"})}
    registry = Registry(frozenset({"azure"}), {name: SourceRule(kind, scope)}, pools, groups=groups)
    try:
        return Judge(TOPICS, registry).event(record(event, topic))
    except Poison as poison:
        return poison.reason


@pytest.mark.parametrize("scope", ["*", "azure", "azure/eu", "azure/eu/a"])
def test_a_source_speaks_of_its_scope(scope: str) -> None:
    """A provider, a region or a pool."""
    event = report(1, observation("azure/eu/a", ok=1))
    assert limited("probe", scope, event, TOPICS.reports.name) == event
    assert limited("fleet", scope, capacity(1), TOPICS.capacity.name) == capacity(1)


@pytest.mark.parametrize("scope", ["azure/us", "azure/eu/aa", "gcp"])
def test_a_source_speaks_of_nothing_else(scope: str) -> None:
    """Neither of a pool, nor of a whole region, nor of a quota group beyond it."""
    event, down = report(1, observation("azure/eu/a", ok=1)), statement(1, Claim("down", T0_MS + 9_000))
    assert limited("probe", scope, event, TOPICS.reports.name) is Rejection.OUT_OF_SCOPE
    assert limited("fleet", scope, capacity(1), TOPICS.capacity.name) is Rejection.OUT_OF_SCOPE
    assert limited("status", scope, down, TOPICS.statements.name) is Rejection.OUT_OF_SCOPE


def test_a_source_of_one_pool_speaks_of_no_whole_region() -> None:
    """Nor a source of one region of the whole provider."""
    down = statement(1, Claim("down", T0_MS + 9_000))
    assert limited("status", "azure/eu", down, TOPICS.statements.name) == down
    assert limited("status", "azure/eu/a", down, TOPICS.statements.name) is Rejection.OUT_OF_SCOPE
    everywhere = replace(down, region="*")
    assert limited("status", "azure", everywhere, TOPICS.statements.name) == everywhere
    assert limited("status", "azure/eu", everywhere, TOPICS.statements.name) is Rejection.OUT_OF_SCOPE


def test_a_quota_group_is_in_scope_with_one_of_its_pools() -> None:
    """A group that the policy does not have counts for nothing and is no reason to refuse the record."""
    for name, outcome in (("near", True), ("unknown", True), ("far", False)):
        event = replace(capacity(1), groups=(GroupCapacity(name, 10.0),))
        taken = limited("quota", "azure/eu", event, TOPICS.capacity.name)
        assert taken == (event if outcome else Rejection.OUT_OF_SCOPE)


def test_a_longer_interval_than_the_policy_allows_counts_as_that() -> None:
    """Else one report could claim to count for a quarter of an hour."""
    registry = Registry(
        frozenset({"azure"}),
        {"probe-1": SourceRule("probe", interval_max_ms=10_000)},
        frozenset({"azure/eu/a"}),
    )
    for interval_ms, counts_ms in ((900_000, 10_000), (10_000, 10_000), (1_000, 1_000)):
        event = report(1, interval_ms=interval_ms)
        bounded = Judge(TOPICS, registry).event(record(event, TOPICS.reports.name))
        assert bounded == replace(event, interval_ms=counts_ms)


def test_clients_need_no_entry() -> None:
    """Any client may report, also about pools that the policy no longer has."""
    event = demand("never-heard-of", 1, observation("gone/eu/a", ok=1))
    assert JUDGE.event(record(event, TOPICS.demand.name)) == event


@pytest.mark.parametrize("event", [report(1), statement(1), demand(), capacity(1)])
def test_more_than_a_minute_ahead_is_poison(event: Report | Statement | Demand | Capacity) -> None:
    """A window or an issue over 60 s after the broker's time is refused with the field's name."""
    refuse_future(event, T0_MS - 60_000)
    with pytest.raises(Poison, match="_ms lies 60 s after") as raised:
        refuse_future(event, T0_MS - 60_001)
    assert raised.value.reason is Rejection.FUTURE


def test_future_key_and_absence_are_refused() -> None:
    """A record from the future, without its event's key, without a body or without headers is refused."""
    good = record(report(1), TOPICS.reports.name)
    assert rejected(good._replace(append_ms=T0_MS - 60_001)) is Rejection.FUTURE
    assert rejected(good._replace(key=b"azure/us")) is Rejection.KEY_MISMATCH
    assert rejected(good._replace(key=None)) is Rejection.KEY_MISMATCH
    assert rejected(good._replace(value=None)) is Rejection.UNDECODABLE
    assert rejected(good._replace(value=b"")) is Rejection.UNDECODABLE
    assert rejected(good._replace(headers=())) is Rejection.NOT_CLOUDEVENTS


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"a":' * 100_000, b"\xc1", b"\x91" * 100_000])
@pytest.mark.parametrize("content_type", [b"application/json", b"application/msgpack"])
def test_depth_and_rubbish_never_escape(body: bytes, content_type: bytes) -> None:
    """No body, however odd, raises anything but ``Poison``."""
    good = record(report(1), TOPICS.reports.name)
    headers = tuple((n, content_type if n == "content-type" else v) for n, v in good.headers)
    assert rejected(good._replace(value=body, headers=headers)) in {Rejection.UNDECODABLE, Rejection.INVALID}


@pytest.mark.parametrize(
    "headers", [None, ((None, None),), (("ce_type", None),), ((b"ce_type", "x"),), (1, 2)]
)
def test_headers_of_any_kind_never_escape(headers: Any) -> None:
    """No headers, however odd, raise anything but ``Poison``."""
    good = record(report(1), TOPICS.reports.name)
    assert rejected(good._replace(headers=headers)) in {Rejection.NOT_CLOUDEVENTS, Rejection.INVALID}


def test_only_perishables_go_stale() -> None:
    """Reports and demand go stale after three intervals, at least 15 s; statements and capacity expire."""
    assert not is_stale(report(1), T0_MS, T0_MS + 15_000)
    assert is_stale(report(1), T0_MS, T0_MS + 15_001)
    assert is_stale(demand(), T0_MS, T0_MS + 15_001)
    assert not is_stale(statement(1), T0_MS, T0_MS + 10**9)
    assert not is_stale(capacity(1), T0_MS, T0_MS + 10**9)


def test_a_report_that_was_late_at_the_broker_is_news_all_the_same() -> None:
    """A report that was old at its append is not stale: if it were dropped, nobody would notice its clock."""
    assert not is_stale(report(1), T0_MS + 60_000, T0_MS + 60_000)


PRIVATE, NEXT, STRANGER = (Ed25519PrivateKey.from_private_bytes(mark * 32) for mark in (b"a", b"b", b"c"))
LINES = tuple(encode_public_key(private.public_key().public_bytes_raw()) for private in (PRIVATE, NEXT))
BOUND = replace_field(
    REGISTRY, sources={**REGISTRY.sources, "probe-1": SourceRule("probe", public_keys=LINES)}
)


def signed(event: Event, private: Ed25519PrivateKey, topic: str, signed_for: str = "") -> Record:
    """The event as its source writes it with this key, perhaps for another topic."""
    plain = record(event, topic)
    header = sign_event(private, signed_for or topic, plain)
    return plain._replace(headers=(*plain.headers, header))


def test_a_source_that_the_policy_binds_to_a_key_must_sign() -> None:
    """Nobody else can speak in its name: without a signature, with a stranger's, with one for another topic,
    and with a body that was changed an event is refused. Either of two keys will do."""
    judge, topic = Judge(TOPICS, BOUND), TOPICS.reports.name
    event = report(1, observation(ok=1))
    for private in (PRIVATE, NEXT):
        assert judge.event(signed(event, private, topic)) == event
    changed = record(report(1, observation(ok=999)), topic).value
    for wrong in (
        record(event, topic),
        signed(event, STRANGER, topic),
        signed(event, PRIVATE, topic, TOPICS.demand.name),
        signed(event, PRIVATE, topic)._replace(value=changed),
    ):
        with pytest.raises(Poison) as refused:
            judge.event(wrong)
        assert refused.value.reason is Rejection.BAD_SIGNATURE
        assert "source probe-1 must sign its events" in refused.value.place


def test_a_source_without_keys_needs_no_signature() -> None:
    """One that it carries all the same is not looked at."""
    event = capacity(1)
    assert Judge(TOPICS, BOUND).event(record(event, TOPICS.capacity.name)) == event
    assert Judge(TOPICS, BOUND).event(signed(event, STRANGER, TOPICS.capacity.name)) == event
