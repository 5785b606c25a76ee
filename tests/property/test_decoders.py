"""Whatever bytes lie in Kafka, in Redis, in a file or come over HTTP: a decoder gives a value or the error
that it names, never another one, and takes no more memory than the bytes are worth."""

from __future__ import annotations

import tempfile
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from aiokafka.structs import ConsumerRecord
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core.policy.policy import decode_policy, encode_policy
from controller.leading.presence import Roster
from controller.policy_file import PolicyError, load_policy, parse_policy
from controller.routes.adoption import adopted_from
from controller.routes.record import RoutesRecord, decode_record, encode_record, head_of, keyed
from controller.web.answers import decompressed
from controller.web.board import newer_table
from tests.places import EXAMPLE_POLICY
from tests.unit.client.made_tables import part
from tieline._tables.last_good import read_last_good, write_last_good
from tieline.cloudevents import JSON, MSGPACK, STRUCTURED, Poison, body_of, decode, decode_body, source_of
from tieline.events import Demand
from tieline.keys import MANIFEST_FIELD
from tieline.order_signing import key_name
from tieline.overlay import Overlay, OverlayError, peek, sign, verify
from tieline.registration import registry_in
from tieline.table import (
    Bundle,
    Generation,
    PoolInfo,
    Route,
    RouteTable,
    Split,
    TableError,
    checksum,
    decode_bundle,
    decode_manifest,
    decode_slice,
    decode_table,
    encode_bundle,
    encode_table,
    manifest,
    slices,
)

EXAMPLES = 40
PEAK_MAX_BYTES = 40 * 1024 * 1024  # a file is read into room for the largest one, 32 MiB
NOW_MS = 1_800_000_000_000
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
KEYS = {key_name(PRIVATE.public_key().public_bytes_raw()): PRIVATE.public_key()}
POLICY = load_policy(EXAMPLE_POLICY)
TABLE = RouteTable(
    Generation("l", 1, 2),
    1,
    (PoolInfo("a/r/x", "eu", "https://a.test/v1"),),
    (Route("chat", "eu", "critical", Split((0,), (1_000_000,))),),
)
PARTS = slices(TABLE)
MANIFEST = manifest(TABLE, PARTS, urgent_seq=0)
OVERLAY = sign(
    Overlay("o", "tieline", ("a",), NOW_MS, expires_ms=NOW_MS + 60_000, actor="kim", reason="fire"), PRIVATE
)
HEADERS = {
    MSGPACK: [
        ("ce_specversion", b"1.0"),
        ("ce_type", b"tieline.report.v1"),
        ("ce_source", b"s"),
        ("ce_id", b"i"),
    ],
    STRUCTURED: [("content-type", STRUCTURED.encode())],
}
HEADERS[MSGPACK].append(("content-type", MSGPACK.encode()))


class Decoder(NamedTuple):
    """What is tried: a function of bytes, the errors that it may raise, and bytes that it takes."""

    run: Callable[[bytes], Any]
    errors: tuple[type[Exception], ...]
    good: bytes


def last_good(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "routes.bin"
        body = data
        path.write_bytes(b"tieline-last-good-1\n" + checksum(body).encode() + b"\n" + body)
        read_last_good(path, "chat", ["eu"])


def good_file() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "routes.bin"
        write_last_good(
            path, Generation("l", 1, 4), {"eu": msgspec.msgpack.encode(part({"a/r/x": 1_000_000}))}
        )
        return path.read_bytes().split(b"\n", 2)[2]


def read(value: bytes) -> ConsumerRecord[bytes | None, bytes | None]:
    """A record of Kafka with these bytes wherever bytes can be."""
    return ConsumerRecord(
        "t",
        0,
        0,
        timestamp=0,
        timestamp_type=1,
        key=value,
        value=value,
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=0,
        headers=(("ce_id", value), ("ce_source", None), ("ce_source", value)),
    )


DECODERS: dict[str, Decoder] = {
    "event in the binary mode": Decoder(lambda data: decode(HEADERS[MSGPACK], data), (Poison,), b"\x80"),
    "event in the structured mode": Decoder(
        lambda data: decode(HEADERS[STRUCTURED], data), (Poison,), b'{"specversion":"1.0","data":{}}'
    ),
    "body of an event": Decoder(lambda data: body_of(HEADERS[MSGPACK], data), (Poison,), b"\x80"),
    "source of an event": Decoder(lambda data: source_of(HEADERS[STRUCTURED], data), (), b'{"source":"s"}'),
    "report over HTTP": Decoder(lambda data: decode_body(Demand, data, JSON), (Poison,), b'{"client":"c"}'),
    "compressed body": Decoder(
        lambda data: decompressed(data, "gzip", 1_000), (ValueError, zlib.error), b"\x1f\x8b"
    ),
    "table": Decoder(decode_table, (TableError,), encode_table(TABLE)),
    "manifest": Decoder(decode_manifest, (TableError,), MANIFEST),
    "slice": Decoder(lambda data: decode_slice(data, checksum(data)), (TableError,), PARTS["chat/eu"]),
    "bundle": Decoder(decode_bundle, (TableError,), encode_bundle(Bundle(MANIFEST, PARTS, OVERLAY))),
    "table in Redis": Decoder(
        lambda data: newer_table({MANIFEST_FIELD: data}, b"", None), (TableError,), MANIFEST
    ),
    "last good file": Decoder(last_good, (TableError,), good_file()),
    "routes record": Decoder(
        decode_record, (TableError,), encode_record(RoutesRecord(TABLE.generation, 1, TABLE))
    ),
    "head of a routes record": Decoder(
        head_of, (TableError,), encode_record(RoutesRecord(TABLE.generation, 1, TABLE))
    ),
    "key and headers of a routes record": Decoder(lambda data: keyed(read(data)), (), b"l:1:2"),
    "controller's word": Decoder(lambda data: Roster().take(read(data)), (), b"\x80"),
    "adoption": Decoder(lambda data: adopted_from(data, "l", "m"), (), b"{}"),
    "overlay that is shown": Decoder(peek, (OverlayError,), OVERLAY),
    "overlay that is checked": Decoder(
        lambda data: verify(data, KEYS, namespace="tieline", now_ms=NOW_MS), (OverlayError,), OVERLAY
    ),
    "policy in the log": Decoder(decode_policy, (msgspec.MsgspecError,), encode_policy(POLICY)),
    "registry in the log": Decoder(registry_in, (msgspec.MsgspecError,), encode_policy(POLICY)),
    "policy file": Decoder(
        parse_policy,
        (PolicyError,),
        b"lineage: l\n",
    ),
}
HOSTILE = {
    "deep lists in msgpack": b"\x91" * 100_000,
    "deep maps in msgpack": b"\x81\xa1a" * 100_000,
    "deep lists in JSON and YAML": b"[" * 100_000,
    "deep lists in YAML": b"- " * 100_000,
    "deep lists behind an unknown field": b"\x81\xa1z" + b"\x91" * 100_000,
    "a list that claims to be long": b"\xdd\xff\xff\xff\xff",
    "a map that claims to be long": b"\xdf\xff\xff\xff\xff\xa1a",
    "a text that claims to be long": b"\xdb\xff\xff\xff\xffabc",
    "bytes that claim to be long": b"\xc6\xff\xff\xff\xffabc",
    "no text at all": b"\xa4\xff\xfe\xfd\xfc",
    "a number beyond all": b"9" * 5_000,
    "nothing": b"",
}


def tried(decoder: Decoder, data: bytes) -> None:
    """A value or a named error; any other error fails the test."""
    try:
        decoder.run(data)
    except decoder.errors:
        pass


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_bytes_are_refused_in_little_memory(name: str, kind: str) -> None:
    """Deep nesting, lengths that are not there and what is no text give the named error; no decoder makes
    room for what bytes only claim to hold."""
    tracemalloc.start()
    try:
        tried(DECODERS[name], HOSTILE[kind])
        assert tracemalloc.get_traced_memory()[1] < PEAK_MAX_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", DECODERS)
@settings(max_examples=EXAMPLES)
@given(data=st.binary(max_size=300))
def test_any_bytes_are_a_value_or_a_named_error(name: str, data: bytes) -> None:
    """Bytes that mean nothing."""
    tried(DECODERS[name], data)


@pytest.mark.parametrize("name", DECODERS)
@settings(max_examples=EXAMPLES)
@given(place=st.floats(0, 1), cut=st.integers(0, 8), put=st.binary(max_size=8))
def test_good_bytes_that_were_changed_are_a_value_or_a_named_error(
    name: str, place: float, cut: int, put: bytes
) -> None:
    """Some bytes of a good example are left out, and others put in their place."""
    good = DECODERS[name].good
    at = int(place * len(good))
    tried(DECODERS[name], good[:at] + put + good[at + cut :])
