"""Which records the judge accepts, and why it refuses the others."""

from __future__ import annotations

from typing import Any

import pytest

from streams.contract_check import Judge, Record, is_stale, refuse_future
from streams.settings import Registry
from tests.unit.streams.made import T0_MS, capacity, demand, observation, record, report, statement
from tieline.cloudevents import Poison, Rejection
from tieline.events import Capacity, Claim, Demand, Event, Report, Statement
from tieline.topics import Topics

TOPICS = Topics("t")
REGISTRY = Registry(
    frozenset({"azure"}), frozenset({"probe-1", "status-1", "fleet-1"}), frozenset({"azure/eu/a"})
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
