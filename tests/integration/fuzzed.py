"""Seeded records for the fuzz test: valid or invalid by construction, each with its own (source, region).

A fuzzed record starts as a good one; at most one thing is then spoilt. Its id travels as a header that
nothing reads, so that it can be found on the dead-letter topic however broken the rest is.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from tests.integration.ingesting import now_ms
from tieline.cloudevents import JSON, MSGPACK, STRUCTURED, encode
from tieline.events import Capacity, Claim, Outcomes, PoolCapacity, PoolObservation, Report, Statement

PROVIDER = "azure"
SOURCES = tuple(f"source-{number}" for number in range(100))
VALID_FOR_MS = 3_600_000  # longer than any machine takes to read them all
POOLS_PER_REGION = 3
LIMIT_BYTES = 1_000_000


@dataclass(frozen=True)
class Fuzzed:
    """One record as it goes to the topic of its kind."""

    id: str
    kind: str  # reports, statements, capacity
    valid: bool
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    spoilt: str = ""


def regions(count: int) -> tuple[str, ...]:
    """The regions that the records of ``fuzz(seed, count)`` use."""
    return tuple(f"r{number}" for number in range(-(-count // len(SOURCES))))


def fuzz(seed: int, count: int) -> list[Fuzzed]:
    """``count`` records, about half of them invalid; the same for the same seed but for the clock."""
    chance = random.Random(seed)
    return [_one(chance, number) for number in range(count)]


def _one(chance: random.Random, number: int) -> Fuzzed:
    source = SOURCES[number % len(SOURCES)]
    region = f"r{number // len(SOURCES)}"
    kind = chance.choices(("reports", "statements", "capacity"), (8, 1, 1))[0]
    event = _event(chance, kind, source, region)
    content_type = chance.choice((JSON, MSGPACK))
    key, value, headers = encode(event, time_ms=now_ms(), content_type=content_type)
    made = Fuzzed(
        f"{source}/{region}", kind, True, key, value, [*headers, ("fuzz", f"{source}/{region}".encode())]
    )
    if chance.random() < 0.5:
        return _oddly_valid(chance, made)
    spoil = chance.choice(SPOILERS)
    return replace(spoil(chance, made), valid=False, spoilt=spoil.__name__)


def _event(chance: random.Random, kind: str, source: str, region: str) -> Report | Statement | Capacity:
    at_ms = now_ms()
    place = (source, PROVIDER, region)
    pools = [f"{PROVIDER}/{region}/p{number}" for number in range(chance.randint(1, POOLS_PER_REGION))]
    stamp = ("one", chance.choice((0, 1, 2**53)))
    if kind == "statements":
        claim = Claim(
            "down", at_ms + VALID_FOR_MS, pools=tuple(pools), text=chance.choice(("", "Störung \U0001f525"))
        )
        return Statement(*place, "status", *stamp, at_ms, (claim,) * chance.randint(0, 2))
    if kind == "capacity":
        limits = tuple(PoolCapacity(pool, chance.choice((0.0, 1e12, 7.5))) for pool in pools)
        return Capacity(*place, *stamp, at_ms, at_ms + VALID_FOR_MS, limits)
    count = chance.choice((0, 1, 10**12))
    seen = tuple(PoolObservation(pool, Outcomes(ok=count, timeout=chance.randint(0, 9))) for pool in pools)
    return Report(*place, *stamp, at_ms - 1_000, at_ms, 900_000, seen)


def _oddly_valid(chance: random.Random, made: Fuzzed) -> Fuzzed:
    """Still valid: fields and headers of tomorrow, a content type with a parameter, the structured mode, or
    a body near the limit."""
    oddity = chance.randrange(40)
    if oddity == 0:
        return _with_field(made, "from_the_future", {"deep": [1, None, "x"]})
    if oddity == 1:
        return replace(made, headers=[*made.headers, ("ce_traceparent", b"\xff\xfe"), ("x", b"")])
    if oddity == 2:
        return _with_header(made, "content-type", _header(made, "content-type") + b"; charset=utf-8")
    if oddity == 3 and made.id.endswith("r1"):
        return _with_field(made, "padding", "x" * LIMIT_BYTES)
    return _structured(made) if oddity in (4, 5) else made


def not_cloudevents(chance: random.Random, made: Fuzzed) -> Fuzzed:
    """A required header is missing, empty or wrong."""
    name = chance.choice(("ce_specversion", "ce_type", "ce_source", "ce_id", "content-type"))
    if chance.random() < 0.5:
        return _without_header(made, name)
    if name in ("ce_source", "ce_id"):
        return _with_header(made, name, b"")
    return _with_header(made, name, chance.choice((b"", b"0.3", b"\xff\xff", b"text/plain")))


def unknown_type(chance: random.Random, made: Fuzzed) -> Fuzzed:
    """A type or version that nobody wrote, or one that belongs on another topic."""
    names = (b"tieline.report.v2", b"tieline.report", b"report.v1", b"com.example.x", b"tieline.command.v1")
    return _with_header(made, "ce_type", chance.choice(names))


def wrong_type(chance: random.Random, made: Fuzzed) -> Fuzzed:
    """A field of another type, or missing."""
    name = chance.choice(("source", "provider", "region", "incarnation", "sequence"))
    if chance.random() < 0.3:
        return _without_field(made, name)
    wrong: tuple[Any, ...] = (None, [], {"a": 1}, True, 1.5, "", "\x00", "a b", "../..", "x" * 200)
    return _with_field(made, name, chance.choice(wrong))


def not_a_number(chance: random.Random, made: Fuzzed) -> Fuzzed:
    """NaN and infinities, as msgpack can carry them and as text."""
    value = float(chance.choice(("nan", "inf", "-inf")))
    name = chance.choice(("sequence", "interval_ms", "issued_ms", "window_end_ms"))
    if _header(made, "content-type") == MSGPACK.encode():
        return _with_field(made, name if name in _body(made) else "sequence", value)
    assert made.value is not None
    return replace(made, value=made.value.replace(b'"sequence":', b'"sequence":NaN,"was":', 1))


def absurd_number(chance: random.Random, made: Fuzzed) -> Fuzzed:
    """Negative, beyond its range, or beyond 64 bits."""
    absurd = chance.choice((-1, -(2**63), 2**53 + 1, 2**63, 2**64 - 1))
    return _with_field(made, "sequence", absurd)


def absurd_count(chance: random.Random, made: Fuzzed) -> Fuzzed:
    """A negative or absurd number deep in the body."""
    name = {"reports": "pools", "statements": "claims", "capacity": "pools"}[made.kind]
    region = made.id.split("/")[1]
    pool = f"{PROVIDER}/{region}/p0"
    row = {
        "reports": {"pool": pool, "outcomes": {"ok": chance.choice((-1, 10**12 + 1, "3", 0.5))}},
        "statements": {"state": "down", "expires_ms": chance.choice((-1, 10**15, "soon"))},
        "capacity": {"pool": pool, "limit_units_per_s": chance.choice((-0.1, 1e13, "many", None))},
    }[made.kind]
    return _with_field(made, name, [row])


def unknown_provider(chance: random.Random, made: Fuzzed) -> Fuzzed:
    """A provider that the policy does not name, consistently throughout the record."""
    body = _body(made)
    text = msgspec.json.encode(body).replace(b'"azure', b'"nebula')
    assert made.key is not None
    return replace(_reencoded(made, msgspec.json.decode(text)), key=made.key.replace(b"azure", b"nebula"))


def unknown_source(chance: random.Random, made: Fuzzed) -> Fuzzed:
    """A source that the policy does not name."""
    source = made.id.split("/")[0].encode()
    assert made.key is not None
    return replace(_with_field(made, "source", "stranger"), key=made.key.replace(source, b"stranger"))


def unknown_pool(chance: random.Random, made: Fuzzed) -> Fuzzed:
    """A pool that the policy does not name, or one of another region."""
    region = made.id.split("/")[1]
    pool = chance.choice((f"azure/{region}/nobody", "azure/elsewhere/p0", "gcp/r0/p0", "p0"))
    row: dict[str, Any] = {"pool": pool, "limit_units_per_s": 1.0}
    if made.kind == "statements":
        return _with_field(made, "claims", [{"state": "down", "expires_ms": now_ms(), "pools": [pool]}])
    return _with_field(made, "pools", [row])


def from_the_future(chance: random.Random, made: Fuzzed) -> Fuzzed:
    """An hour or a thousand years ahead, or before any computer."""
    ahead_ms = chance.choice((3_600_000, 10**12 * 30, -(10**12 * 2)))
    name = "window_end_ms" if made.kind == "reports" else "issued_ms"
    return _with_field(made, name, now_ms() + ahead_ms)


def truncated(chance: random.Random, made: Fuzzed) -> Fuzzed:
    """The end of the body is missing."""
    assert made.value is not None
    return replace(made, value=made.value[: chance.randint(1, len(made.value) - 1)])


def wrong_encoding(chance: random.Random, made: Fuzzed) -> Fuzzed:
    """JSON as UTF-16, broken UTF-8, or the other encoding than the header says."""
    text = msgspec.json.encode(_body(made)).decode()
    bodies = (
        text.encode("utf-16"),
        text.encode("utf-32"),
        b"\xff" + text.encode(),
        text[:-1].encode() + b"\x80}",
    )
    if chance.random() < 0.3:
        return replace(
            _with_header(made, "content-type", JSON.encode()), value=msgspec.msgpack.encode(_body(made))
        )
    return replace(_with_header(made, "content-type", JSON.encode()), value=chance.choice(bodies))


def deep_nesting(chance: random.Random, made: Fuzzed) -> Fuzzed:
    """A hundred thousand brackets."""
    json = chance.random() < 0.5
    body = chance.choice((b"[" * 100_000, b'{"type":' * 100_000)) if json else b"\x91" * 100_000
    return replace(_with_header(made, "content-type", (JSON if json else MSGPACK).encode()), value=body)


def no_body(chance: random.Random, made: Fuzzed) -> Fuzzed:
    """An empty body, or (where a topic may hold it) none at all."""
    return replace(made, value=None if made.kind == "reports" and chance.random() < 0.5 else b"")


def wrong_key(chance: random.Random, made: Fuzzed) -> Fuzzed:
    """A key that is not the event's; none at all where the topic is not compacted."""
    if made.kind == "reports" and chance.random() < 0.5:
        return replace(made, key=None)
    return replace(made, key=chance.choice((b"", b"azure", b"\xff\x00", (made.key or b"") + b"/")))


def huge(chance: random.Random, made: Fuzzed) -> Fuzzed:
    """Rubbish close to the broker's limit; only now and then, as a thousand of them would fill a disk."""
    if not made.id.startswith(("source-1/", "source-2/")):
        return truncated(chance, made)
    return replace(made, value=chance.randbytes(1_000) * (LIMIT_BYTES // 1_000))


SPOILERS: tuple[Callable[[random.Random, Fuzzed], Fuzzed], ...] = (
    not_cloudevents,
    unknown_type,
    wrong_type,
    not_a_number,
    absurd_number,
    absurd_count,
    unknown_provider,
    unknown_source,
    unknown_pool,
    from_the_future,
    truncated,
    wrong_encoding,
    deep_nesting,
    no_body,
    wrong_key,
    huge,
)


def _body(made: Fuzzed) -> dict[str, Any]:
    assert made.value is not None
    decode = msgspec.json.decode if _is_json(made) else msgspec.msgpack.decode
    body: dict[str, Any] = decode(made.value)
    return body


def _structured(made: Fuzzed) -> Fuzzed:
    whole = {
        **{name: _header(made, f"ce_{name}").decode() for name in ("specversion", "type", "source", "id")},
        "data": _body(made),
    }
    marks = [header for header in made.headers if header[0] == "fuzz"]
    headers = [*marks, ("content-type", STRUCTURED.encode())]
    return replace(made, value=msgspec.json.encode(whole), headers=headers)


def _reencoded(made: Fuzzed, body: dict[str, Any]) -> Fuzzed:
    encode_ = msgspec.json.encode if _is_json(made) else msgspec.msgpack.encode
    return replace(made, value=encode_(body))


def _with_field(made: Fuzzed, name: str, value: Any) -> Fuzzed:
    return _reencoded(made, _body(made) | {name: value})


def _without_field(made: Fuzzed, name: str) -> Fuzzed:
    return _reencoded(made, {field: value for field, value in _body(made).items() if field != name})


def _header(made: Fuzzed, name: str) -> bytes:
    return dict(made.headers)[name]


def _with_header(made: Fuzzed, name: str, value: bytes) -> Fuzzed:
    return replace(made, headers=[(n, value if n == name else v) for n, v in made.headers])


def _without_header(made: Fuzzed, name: str) -> Fuzzed:
    return replace(made, headers=[(n, v) for n, v in made.headers if n != name])


def _is_json(made: Fuzzed) -> bool:
    return _header(made, "content-type").startswith(JSON.encode())
