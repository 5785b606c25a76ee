"""Golden events, and how each looks as a record in every encoding. Pure.

Of each event there is one with every field and one with only those that are required; the orders are one of
each verb. They are the examples in the AsyncAPI document and the kit of golden records (``contract_files``).
An example that was published once is not changed: tests/contract/test_published_records.py has what was
published, and reads it again with today's code.
"""

import base64
from typing import Any, NamedTuple

import msgspec

from tieline.cloudevents import JSON, MSGPACK, STRUCTURED, encode
from tieline.events import (
    Capacity,
    Claim,
    Command,
    Demand,
    Event,
    Flow,
    GroupCapacity,
    Outcomes,
    PlannedChange,
    PolicyChange,
    PoolCapacity,
    PoolObservation,
    Report,
    ResultClass,
    Statement,
)
from tieline.leader_events import Claimed, Heartbeat, Resigned
from tieline.offers import AcceptedCapacity, AskedProvider, OfferAnswer, OfferedCapacity, OfferRequest
from tieline.topics import Topics

NOW_MS = 1_790_000_000_000
POOL = "azure/swedencentral/gpt-4o"
OTHER_POOL = "azure/swedencentral/gpt-4o-mini"
HOUR_MS = 3_600_000


class Example(NamedTuple):
    """A golden event. ``name``: that of its records in the kit."""

    name: str
    event: Event


_SEEN = PoolObservation(
    pool=POOL,
    outcomes=Outcomes(
        ok=190,
        throttled=3,
        server_error=2,
        timeout=1,
        connect=1,
        auth=1,
        not_found=1,
        client_error=4,
        cut=1,
    ),
    units=52_000.5,
    first_token_p50_ms=210.0,
    first_token_p99_ms=800.25,
    per_token_p50_ms=18.5,
    in_flight=3,
    oldest_in_flight_ms=900,
    ejected=ResultClass.THROTTLED,
    rate_limit_left=0.25,
)
_REPORT = Report(
    source="prober-eu",
    provider="azure",
    region="swedencentral",
    incarnation="6f1c2a90",
    sequence=42,
    window_start_ms=NOW_MS - 2_000,
    window_end_ms=NOW_MS,
    interval_ms=2_000,
    pools=(_SEEN, PoolObservation(pool=OTHER_POOL)),
)
_STATEMENT = Statement(
    source="azure-status",
    provider="azure",
    region="*",
    kind="status",
    incarnation="6f1c2a90",
    sequence=7,
    issued_ms=NOW_MS,
    claims=(
        Claim(
            state="degraded",
            expires_ms=NOW_MS + HOUR_MS,
            starts_ms=NOW_MS,
            pools=(POOL,),
            text="Higher latency in Sweden Central",
        ),
        Claim(state="down", expires_ms=NOW_MS + HOUR_MS),
        Claim(state="operational", expires_ms=NOW_MS + HOUR_MS),
    ),
)
_CAPACITY = Capacity(
    source="azure-quota",
    provider="azure",
    region="swedencentral",
    incarnation="6f1c2a90",
    sequence=3,
    issued_ms=NOW_MS,
    expires_ms=NOW_MS + HOUR_MS,
    pools=(
        PoolCapacity(
            pool=POOL,
            limit_units_per_s=20_000.0,
            committed_units_per_s=14_000.0,
            in_use_units_per_s=9_500.5,
            requests_per_s=120.0,
            concurrency=400,
            price_per_million_units=2.5,
        ),
        PoolCapacity(pool=OTHER_POOL, limit_units_per_s=5_000.0),
    ),
    groups=(
        GroupCapacity(
            group="azure-sweden",
            limit_units_per_s=22_000.0,
            in_use_units_per_s=9_500.5,
            requests_per_s=150.0,
            concurrency=500,
        ),
    ),
    planned=(
        PlannedChange(
            pool=POOL,
            from_ms=NOW_MS + HOUR_MS,
            limit_units_per_s=30_000.0,
            until_ms=NOW_MS + 24 * HOUR_MS,
            text="reservation of Monday",
        ),
    ),
)
_DEMAND = Demand(
    client="gateway-1",
    incarnation="6f1c2a90",
    sequence=11,
    window_start_ms=NOW_MS - 1_000,
    window_end_ms=NOW_MS,
    interval_ms=1_000,
    generation="multicloud-1:41:7",
    state="last_good",
    urgent=True,
    flows=(
        Flow(
            workload="chat",
            origin="eu",
            requests=9,
            offered_units=5_400.0,
            shed_requests=1,
            shed_units=600.0,
        ),
    ),
    pools=(_SEEN,),
    version="1.4.0",
)
_POLICY = PolicyChange(
    id="policy-7",
    actor="kim",
    reason="a new region",
    issued_ms=NOW_MS,
    number=7,
    parent="0" * 32,
    version="f" * 32,
    policy=b"\x78\x9c\x00new",
    parent_policy=b"\x78\x9c\xffold",
    forced=("critical_shed",),
    signature="ed25519:0123456789abcdef:c2lnbmF0dXJl",
)
_REQUEST = OfferRequest(
    id="offer-1",
    geographies=("eu",),
    workloads=("chat",),
    cause="n_minus_1",
    units_per_s=9_000.0,
    from_ms=NOW_MS,
    until_ms=NOW_MS + HOUR_MS,
    issued_ms=NOW_MS,
    state="partly_accepted",
    providers=(
        AskedProvider(
            provider="azure",
            asked_ms=NOW_MS,
            deadline_ms=NOW_MS + 60_000,
            answer="accepted",
            answered_ms=NOW_MS + 5_000,
            by="azure-quota",
        ),
    ),
    accepted=(
        AcceptedCapacity(
            pool=POOL,
            units_per_s=5_000.0,
            from_ms=NOW_MS,
            until_ms=NOW_MS + HOUR_MS,
            by="azure-quota",
            accepted_ms=NOW_MS + 5_000,
            price_per_million_units=2.5,
        ),
    ),
    closed_ms=NOW_MS + 60_000,
    lost="gcp",
)
_ANSWER = OfferAnswer(
    source="azure-quota",
    provider="azure",
    offer="offer-1",
    incarnation="6f1c2a90",
    sequence=5,
    issued_ms=NOW_MS,
    offered=(
        OfferedCapacity(
            pool=POOL,
            units_per_s=5_000.0,
            from_ms=NOW_MS,
            until_ms=NOW_MS + HOUR_MS,
            price_per_million_units=2.5,
        ),
    ),
    text="from the reserve",
)
_ORDERS: dict[str, dict[str, Any]] = {
    "drain": {"expires_ms": NOW_MS + HOUR_MS, "signature": "ed25519:0123456789abcdef:c2lnbmF0dXJl"},
    "undrain": {},
    "evacuate": {"expires_ms": NOW_MS + HOUR_MS},
    "freeze": {"scope": "*", "expires_ms": NOW_MS + HOUR_MS},
    "unfreeze": {"scope": "*"},
    "override": {"guard": "fresh_capacity", "expires_ms": NOW_MS + HOUR_MS},
    "restore": {"guard": "fresh_capacity"},
    "verdict": {"state": "down", "expires_ms": NOW_MS + HOUR_MS},
    "retract": {},
    "approve": {"expires_ms": NOW_MS + HOUR_MS},
    "revoke": {},
    "failback": {"expires_ms": NOW_MS + HOUR_MS},
    "countersign": {"countersigns": "order-drain#0123456789abcdef"},
    "pin": {"scope": POOL, "workload": "chat", "expires_ms": NOW_MS + HOUR_MS},
    "unpin": {"scope": POOL, "workload": "chat"},
    "failover": {"scope": POOL, "workload": "chat", "expires_ms": NOW_MS + HOUR_MS},
    "mode": {"mode": "recommend", "expires_ms": NOW_MS + HOUR_MS},
    "accept": {
        "scope": POOL,
        "offer": "offer-1",
        "offered": {"pool": POOL, "units_per_s": 5_000.0},
        "expires_ms": NOW_MS + HOUR_MS,
    },
    "decline": {"offer": "offer-1", "expires_ms": NOW_MS + HOUR_MS},
    "drill": {"expires_ms": NOW_MS + HOUR_MS},
}


def _order(verb: str, fields: dict[str, Any]) -> Example:
    body = {
        "type": "command.v1",
        "id": f"order-{verb}",
        "verb": verb,
        "scope": "azure",
        "actor": "kim",
        "reason": "maintenance",
        "issued_ms": NOW_MS,
    }
    return Example(f"order-{verb}", msgspec.convert({**body, **fields}, Command))


EXAMPLES: tuple[Example, ...] = (
    Example("report-full", _REPORT),
    Example("report-empty", msgspec.structs.replace(_REPORT, sequence=43, pools=())),
    Example("statement-full", _STATEMENT),
    Example("statement-retracted", msgspec.structs.replace(_STATEMENT, sequence=8, claims=())),
    Example(
        "statement-maintenance",
        msgspec.structs.replace(
            _STATEMENT,
            region="swedencentral",
            kind="maintenance",
            claims=(Claim(state="maintenance", expires_ms=NOW_MS + HOUR_MS),),
        ),
    ),
    Example(
        "statement-declined",
        msgspec.structs.replace(
            _STATEMENT, kind="declined", claims=(Claim(state="declined", expires_ms=NOW_MS + HOUR_MS),)
        ),
    ),
    Example("capacity-full", _CAPACITY),
    Example(
        "capacity-empty", msgspec.structs.replace(_CAPACITY, sequence=4, pools=(), groups=(), planned=())
    ),
    Example("demand-full", _DEMAND),
    Example(
        "demand-least",
        Demand(
            client="gateway-2",
            incarnation="6f1c2a90",
            sequence=0,
            window_start_ms=NOW_MS - 1_000,
            window_end_ms=NOW_MS,
            interval_ms=1_000,
        ),
    ),
    *(_order(verb, fields) for verb, fields in _ORDERS.items()),
    Example("policy-full", _POLICY),
    Example("offer-request-full", _REQUEST),
    Example("offer-answer-full", _ANSWER),
    Example("offer-answer-refusal", msgspec.structs.replace(_ANSWER, sequence=6, offered=(), text="")),
    Example("leader-claim", Claimed(identity="c2", names_epoch=40, last_heartbeat_offset=90)),
    Example("leader-heartbeat", Heartbeat(identity="c1", epoch=41)),
    Example("leader-heartbeat-numbered", Heartbeat(identity="c1", epoch=41, number=7)),
    Example("leader-resigned", Resigned(identity="c1", epoch=41)),
)
_TOPIC_OF: dict[type[Event], str] = {
    Report: Topics().reports.name,
    Statement: Topics().statements.name,
    Capacity: Topics().capacity.name,
    Demand: Topics().demand.name,
    Command: Topics().commands.name,
    PolicyChange: Topics().commands.name,
    OfferRequest: Topics().offers.name,
    OfferAnswer: Topics().offers.name,
    Claimed: Topics().leader.name,
    Heartbeat: Topics().leader.name,
    Resigned: Topics().leader.name,
}


def binary(example: Example, content_type: str = JSON) -> dict[str, Any]:
    """The record in the binary mode, as plain values. A body in msgpack is in base64."""
    record = encode(example.event, time_ms=NOW_MS, content_type=content_type)
    is_json = content_type == JSON
    return {
        **_head(example, "json" if is_json else "msgpack"),
        "headers": {name: text.decode() for name, text in record.headers},
        **(
            {"value": msgspec.json.decode(record.value)} if is_json else _base64("value_base64", record.value)
        ),
    }


def structured(example: Example, content_type: str = JSON) -> dict[str, Any]:
    """The record in the structured mode, with its body in ``data``, or for msgpack in ``data_base64``."""
    record = encode(example.event, time_ms=NOW_MS, content_type=content_type)
    is_json = content_type == JSON
    attributes = {name.removeprefix("ce_"): text.decode() for name, text in record.headers if "ce_" in name}
    value = {
        **attributes,
        "datacontenttype": content_type,
        **({"data": msgspec.json.decode(record.value)} if is_json else _base64("data_base64", record.value)),
    }
    return {
        **_head(example, "structured" if content_type == JSON else "structured-msgpack"),
        "headers": {"content-type": STRUCTURED},
        "value": value,
    }


def records(example: Example) -> list[dict[str, Any]]:
    """The record in every encoding."""
    return [encoding(example, media) for encoding in (binary, structured) for media in (JSON, MSGPACK)]


def _head(example: Example, encoding: str) -> dict[str, Any]:
    event = example.event
    return {
        "name": f"{example.name}.{encoding}",
        "topic": _TOPIC_OF[type(event)],
        "key": encode(event, time_ms=NOW_MS).key.decode(),
    }


def _base64(name: str, body: bytes) -> dict[str, str]:
    return {name: base64.b64encode(body).decode()}
