"""The files of the published contract: the document, the schemas, and the kit of golden records. Pure.

A line of the kit is one record: ``name``, ``topic``, ``key``, ``headers``, and ``value`` or, where that is
no JSON, ``value_base64``. In `golden/taken.ndjson` every record is good. In `golden/tolerated.ndjson` each
has something unknown, and ``read_as`` is the body as this version takes it. In `golden/refused.ndjson` each
is wrong in one way, with the reason in ``refused_for``, and in ``place`` a part of what is said about it.
`tieline contract verify` reads all three, and so may any other reader of the contract.
"""

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from controller.cli.contract_document import as_yaml, document, schemas
from controller.cli.contract_examples import EXAMPLES, binary, records, structured
from tieline.cloudevents import Rejection

Line = dict[str, Any]
BY_NAME = {example.name: example for example in EXAMPLES}


def contract_files() -> dict[str, str]:
    """Text by path below the directory of the contract."""
    return {
        "asyncapi.yaml": as_yaml(document()),
        **{f"schemas/{tag}.json": json.dumps(schema, indent=2) + "\n" for tag, schema in schemas().items()},
        "golden/taken.ndjson": _lines(line for example in EXAMPLES for line in records(example)),
        "golden/tolerated.ndjson": _lines(tolerated()),
        "golden/refused.ndjson": _lines(refused()),
    }


def _lines(lines: Iterator[Line]) -> str:
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def tolerated() -> Iterator[Line]:
    """Records of a newer producer of the same version."""
    report, statement = binary(BY_NAME["report-full"]), binary(BY_NAME["statement-full"])
    demand = binary(BY_NAME["demand-full"])
    pool, claim = report["value"]["pools"][0], statement["value"]["claims"][1]
    newer = {**pool, "tokens_cached": 7, "outcomes": {**pool["outcomes"], "overloaded": 5}}
    yield _read_as(
        "unknown-fields", report, {"pools": [newer], "trace": {"id": "4f"}}, taken={"pools": [pool]}
    )
    yield _read_as(
        "unknown-ejected",
        report,
        {"pools": [{**pool, "ejected": "overloaded"}]},
        taken={"pools": [{**pool, "ejected": "server_error"}]},
    )
    yield _read_as(
        "unknown-claim-state",
        statement,
        {"claims": [{**claim, "state": "read_only"}, claim]},
        taken={"claims": [{**claim, "state": "degraded"}, claim]},
    )
    yield _read_as("unknown-client-state", demand, {"state": "draining"}, taken={"state": "live"})
    yield {**_renamed(report, "unknown-header"), "headers": {**report["headers"], "ce_traceparent": "00-4f"}}
    untyped = {name: value for name, value in report["value"].items() if name != "type"}
    yield {**_renamed(report, "without-type"), "value": untyped, "read_as": report["value"]}
    whole = structured(BY_NAME["report-full"])
    yield {**_renamed(whole, "unknown-attribute"), "value": {**whole["value"], "traceparent": "00-4f"}}


def _read_as(name: str, line: Line, written: Line, *, taken: Line) -> Line:
    body = line["value"]
    return {**_renamed(line, name), "value": {**body, **written}, "read_as": {**body, **taken}}


def refused() -> Iterator[Line]:
    """Records that are wrong in one way each."""
    yield from _refused_headers()
    yield from _refused_bodies()
    yield from _refused_structured()
    yield from _refused_orders()


def _refused_headers() -> Iterator[Line]:
    report = binary(BY_NAME["report-full"])
    headers: dict[str, str] = report["headers"]
    for name in ("ce_specversion", "ce_type", "ce_source", "ce_id", "content-type"):
        fewer = {key: text for key, text in headers.items() if key != name}
        yield _refused(f"without-{name}", report, Rejection.NOT_CLOUDEVENTS, name, headers=fewer)
    wrong = {key: text for key, text in headers.items() if key != "content-type"}
    wrong["ce_datacontenttype"] = headers["content-type"]
    cases = (
        ("datacontenttype", wrong, Rejection.NOT_CLOUDEVENTS, "ce_datacontenttype is not read"),
        ("specversion", {"ce_specversion": "0.3"}, Rejection.NOT_CLOUDEVENTS, "ce_specversion is not 1.0"),
        ("media-type", {"content-type": "text/plain"}, Rejection.NOT_CLOUDEVENTS, "text/plain"),
        (
            "batch",
            {"content-type": "application/cloudevents-batch+json"},
            Rejection.NOT_CLOUDEVENTS,
            "only application/cloudevents+json",
        ),
        ("version", {"ce_type": "tieline.report.v9"}, Rejection.UNKNOWN_VERSION, "tieline.report.v9"),
        ("type", {"ce_type": "com.example.order"}, Rejection.UNKNOWN_TYPE, "com.example.order"),
        ("type-of-another-body", {"ce_type": "tieline.capacity.v1"}, Rejection.INVALID, "type"),
    )
    for name, changes, reason, place in cases:
        whole = changes if changes is wrong else {**headers, **changes}
        yield _refused(f"wrong-{name}", report, reason, place, headers=whole)
    yield _refused(
        "wrong-topic", report, Rejection.UNKNOWN_TYPE, "tieline.capacity", topic="tieline.capacity"
    )
    yield _refused("wrong-key", report, Rejection.KEY_MISMATCH, "azure/swedencentral", key="azure")


def _refused_bodies() -> Iterator[Line]:
    report = binary(BY_NAME["report-full"])
    body = report["value"]
    pool = body["pools"][1]
    changes: dict[str, tuple[Line, str]] = {
        "sequence-negative": ({"sequence": -1}, "$.sequence"),
        "sequence-as-text": ({"sequence": "42"}, "$.sequence"),
        "window-reversed": ({"window_end_ms": body["window_start_ms"] - 1}, "window_end_ms"),
        "window-in-seconds": ({"window_end_ms": 1_790_000_000}, "$.window_end_ms"),
        "interval-too-long": ({"interval_ms": 900_001}, "$.interval_ms"),
        "source-with-a-space": ({"source": "prober eu"}, "$.source"),
        "provider-in-capitals": ({"provider": "Azure"}, "$.provider"),
        "pool-of-another-region": ({"pools": [{"pool": "gcp/us-east4/a"}]}, "gcp/us-east4/a is not in"),
        "pool-twice": ({"pools": [pool, pool]}, "named twice"),
        "count-with-a-fraction": ({"pools": [{**pool, "outcomes": {"ok": 0.5}}]}, "outcomes.ok"),
        "share-above-one": ({"pools": [{**pool, "rate_limit_left": 1.5}]}, "rate_limit_left"),
    }
    for name, (fields, place) in changes.items():
        yield _refused(name, report, Rejection.INVALID, place, value={**body, **fields})
    for name in sorted(body.keys() - {"type"}):
        fewer = {key: value for key, value in body.items() if key != name}
        yield _refused(f"without-{name}", report, Rejection.INVALID, name, value=fewer)
    packed = binary(BY_NAME["report-full"], "application/msgpack")
    infinite = msgspec.msgpack.encode({**body, "pools": [{**pool, "units": float("inf")}]})
    yield _refused("units-infinite", packed, Rejection.INVALID, "units", **_packed(infinite))
    yield _refused("body-cut", packed, Rejection.UNDECODABLE, "truncated", **_packed(infinite[:-3]))
    yield _refused("json-cut", report, Rejection.UNDECODABLE, "truncated", value='{"type": "report.v1"')
    yield _refused("no-body", report, Rejection.UNDECODABLE, "no body", value=None)


def _refused_structured() -> Iterator[Line]:
    report = structured(BY_NAME["report-full"])
    value: Line = report["value"]
    bare = {name: item for name, item in value.items() if name != "data"}
    cases: tuple[tuple[str, Line, Rejection, str], ...] = (
        ("without-data", bare, Rejection.NOT_CLOUDEVENTS, "data and data_base64"),
        ("with-both", {**value, "data_base64": "e30="}, Rejection.NOT_CLOUDEVENTS, "data and data_base64"),
        ("without-id", {**value, "id": ""}, Rejection.NOT_CLOUDEVENTS, "attribute id"),
        ("of-another-version", {**value, "specversion": "0.3"}, Rejection.NOT_CLOUDEVENTS, "specversion"),
        ("of-another-type", {**value, "type": "com.example.order"}, Rejection.UNKNOWN_TYPE, "com.example"),
        (
            "with-msgpack-in-data",
            {**value, "datacontenttype": "application/msgpack"},
            Rejection.NOT_CLOUDEVENTS,
            "into data_base64",
        ),
        (
            "with-a-wrong-field",
            {**value, "data": {**value["data"], "sequence": -1}},
            Rejection.INVALID,
            "$.data.sequence",
        ),
    )
    for name, whole, reason, place in cases:
        yield _refused(f"structured-{name}", report, reason, place, value=whole)


def _refused_orders() -> Iterator[Line]:
    drain, verdict = binary(BY_NAME["order-drain"]), binary(BY_NAME["order-verdict"])
    statement = binary(BY_NAME["statement-full"])
    cases: tuple[tuple[str, Line, Line, str], ...] = (
        ("order-of-an-unknown-verb", drain, {"verb": "obliterate"}, "verb"),
        ("order-of-an-unknown-state", verdict, {"state": "exploded"}, "state"),
        ("order-without-an-end", drain, {"expires_ms": None}, "drain needs expires_ms"),
        ("order-without-a-reason", drain, {"reason": ""}, "reason"),
        ("order-with-a-field-of-another", drain, {"guard": "fresh_capacity"}, "drain names no guard"),
        ("statement-of-an-unknown-kind", statement, {"kind": "rumour"}, "kind"),
    )
    for name, line, fields, place in cases:
        yield _refused(name, line, Rejection.INVALID, place, value={**line["value"], **fields})


def _refused(name: str, line: Line, reason: Rejection, place: str, **changes: Any) -> Line:
    whole = {**_renamed(line, name), "refused_for": reason.value, "place": place, **changes}
    if "value" in changes:
        whole.pop("value_base64", None)
    return whole


def _renamed(line: Line, name: str) -> Line:
    return {**line, "name": name}


def _packed(body: bytes) -> dict[str, str]:
    return {"value_base64": msgspec.to_builtins(body)}
