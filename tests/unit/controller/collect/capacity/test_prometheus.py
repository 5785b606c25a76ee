"""Queries give figures, and a missing series states nothing."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from controller.collect.capacity.prometheus import PRESETS, Prometheus, Query
from controller.collect.collector import UnreadableError
from tests.unit.controller.collect.capacity.stamps import FIVE, SIX, limits, stamp, stated

POOLS = {"five": FIVE, "six": SIX}


def answer(values: dict[str, Any], label: str = "deployment", **more: Any) -> bytes:
    """An instant vector as the HTTP API gives it."""
    result = [{"metric": {label: name}, "value": [1.8e9, value]} for name, value in values.items()]
    data = {"resultType": "vector", "result": result}
    return json.dumps({"status": "success", "data": data, **more}).encode()


def queries(*entries: Query) -> Prometheus:
    """A collector with these queries, or with one for replicas."""
    replicas = Query(preset="deployment_replicas", pools=POOLS, times=100.0)
    return Prometheus(name="fleet", url="https://prometheus.example/p/", queries=entries or (replicas,))


def test_a_preset_is_asked_as_it_stands() -> None:
    """At the documented address."""
    parts = urlsplit(queries().requests()[0].url)
    assert parts.path == "/p/api/v1/query"
    assert parse_qs(parts.query) == {"query": [PRESETS["deployment_replicas"].query]}


def test_each_figure_reaches_its_pool() -> None:
    """By the label, multiplied; names that the settings do not map are reported."""
    settings = queries(
        Query(preset="deployment_replicas", pools=POOLS, times=100.0),
        Query(query="sum by (m) (x)", figure="in_use", label="m", pools={"gpt": FIVE}),
        Query(query="max by (m) (y)", figure="concurrency", label="m", pools={"gpt": FIVE}),
    )
    bodies = (
        answer({"five": "3", "six": "0", "web": "7"}),
        answer({"gpt": "42.5"}, "m"),
        answer({"gpt": "8.9"}, "m"),
    )
    findings = settings.read(bodies, stamp())
    assert limits(findings) == {FIVE: 300.0, SIX: 0.0}
    assert (stated(findings)[FIVE].in_use_units_per_s, stated(findings)[FIVE].concurrency) == (42.5, 8)
    assert findings.unmatched == {"deployment=web"}


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1", "1e300", 3.0, None, "many", ["3"]])
def test_a_series_without_a_figure_is_as_a_missing_one(value: Any) -> None:
    """The pool is not stated; the others are. A number that is not written as text is read all the same."""
    findings = queries().read((answer({"five": value, "six": "2"}),), stamp())
    assert limits(findings) == ({FIVE: 300.0, SIX: 200.0} if value == 3.0 else {SIX: 200.0})
    assert limits(queries().read((answer({"six": "2"}),), stamp())) == {SIX: 200.0}


def test_a_figure_beyond_what_an_event_may_hold_is_none() -> None:
    """After it was multiplied."""
    body = answer({"five": "1e11", "six": "2"})
    assert limits(queries().read((body,), stamp())) == {SIX: 200.0}


def test_a_series_that_stands_twice_is_none() -> None:
    """The query does not tell the pools apart."""
    body = json.loads(answer({"five": "2", "six": "1"}))
    body["data"]["result"] += json.loads(answer({"five": "1"}))["data"]["result"]
    assert limits(queries().read((json.dumps(body).encode(),), stamp())) == {SIX: 100.0}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"<html>",
        b'{"status": "error", "errorType": "timeout", "error": "query timed out"}',
        b'{"status": "success"}',
        b'{"status": "success", "data": {"resultType": "matrix", "result": []}}',
        b'{"status": "success", "data": {"resultType": "vector", "result": {}}}',
        b'{"status": "success", "data": {"resultType": "vector", "result": [1, {"metric": 2}]}}',
        answer({}),
        answer({"five": "2", "six": "1"}, warnings=["a store gateway did not answer"]),
    ],
)
def test_a_failed_or_partial_answer_states_nothing(body: bytes) -> None:
    """A sum without some of its parts would be too small."""
    with pytest.raises(UnreadableError):
        queries().read((body,), stamp())


def test_contradictions_are_named() -> None:
    """A query without a label, a figure that is asked for twice, a pool without a limit."""
    settings = queries(
        Query(preset="vllm_in_use", pools={"a": FIVE}),
        Query(query="up", pools={"a": SIX}),
        Query(preset="deployment_replicas", pools={"a": SIX}),
    )
    texts = [fault.text for fault in settings.faults()]
    assert [text.split(" ")[0] for text in texts] == ["give", "the", "no"]
