"""Whatever bytes lie in Kafka, in Redis, in a file or come over HTTP: a decoder gives a value or the error
that it names, never another one, and takes no more memory than the bytes are worth."""

from __future__ import annotations

import gzip
import tempfile
import tracemalloc
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from aiokafka.structs import ConsumerRecord
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.collect.bodies import Body
from controller.collect.collector import UnreadableError
from controller.collect.configuration import parse_collectors
from controller.collect.webhook.alerts import read_push
from controller.collect.webhook.event_mode import BATCH, events_in
from controller.collect.webhook.hooks import AlertHook, AlertmanagerHook, PagerDutyHook, StatuspageHook
from controller.collect.webhook.secrets_shown import shows_secret
from controller.commands.policies import compressed, expanded
from controller.core.policy.policy import decode_policy, encode_policy
from controller.leading.presence import Roster
from controller.policy_file import PolicyError, load_policy, parse_policy
from controller.process.errors import UserError
from controller.routes.adoption import adopted_from
from controller.routes.record import RoutesRecord, decode_record, encode_record, head_of, keyed
from controller.web.admission import TOKENS, Tokens
from controller.web.answers import decompressed
from controller.web.board import newer_table
from controller.web.visitors import SESSION_COOKIE, Caller, ProxyTrust, Visitors
from tests.places import EXAMPLE_POLICY
from tests.unit.client.made_tables import part
from tieline._tables.last_good import read_last_good, write_last_good
from tieline.cloudevents import JSON, MSGPACK, STRUCTURED, Poison, body_of, decode, decode_body, source_of
from tieline.errors import ConfigurationError
from tieline.events import Demand
from tieline.keys import MANIFEST_FIELD
from tieline.order_signing import key_name
from tieline.overlay import Overlay, OverlayError, peek, sign, verify
from tieline.redis_address import RedisAddressError, parse_redis
from tieline.registration import registry_in
from tieline.signatures import decode_private_key, public_keys, sign_parts, signature_flaw
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
from tieline.table_hints import decode_hint, encode_hint

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


SECRET = "a-secret-of-a-hook"
VISITORS = Visitors(Tokens(None, {TOKENS: SECRET}), ProxyTrust("x-user", ()))
HOOKS: dict[str, AlertHook] = {
    "Alertmanager": AlertmanagerHook(name="alerts", secret=SECRET),
    "PagerDuty": PagerDutyHook(name="pager", secret=SECRET, services={"S": ("azure",)}),
    "Statuspage": StatuspageHook(name="page", secret=SECRET, components={"C": ("oci",)}),
}
PUSHES = {
    "Alertmanager": b'{"version":"4","alerts":[{"status":"firing","labels":{},"fingerprint":"f"}]}',
    "PagerDuty": b'{"event_action":"trigger","dedup_key":"k","payload":{"severity":"error","source":"S"}}',
    "Statuspage": b'{"component":{"id":"C","name":"C","status":"major_outage"},"component_update":{}}',
}


def fetched(data: bytes) -> bytes:
    """A compressed body of a source, in two pieces."""
    body = Body("gzip", 1_000_000)
    body.feed(data[: len(data) // 2])
    body.feed(data[len(data) // 2 :])
    return body.end()


def looked(data: bytes) -> bool:
    """A request for the page with these bytes in every header that is looked at."""
    text = data.decode("latin-1")
    cookie = f"{SESSION_COOKIE}={text}"
    return VISITORS.allowed(Caller(text, text, f"Bearer {text}", cookie=cookie, signed_in=text), NOW_MS)


def shown(data: bytes) -> bool:
    """A push with these bytes wherever a secret may be."""
    text = data.decode("latin-1")
    headers = {"authorization": text, "x-pagerduty-signature": text}
    hooks = HOOKS.values()
    fits = [shows_secret(it, SECRET, headers=headers, parameters={"token": text}, body=data) for it in hooks]
    return any(fits)


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
    "hint of a table": Decoder(
        decode_hint, (), encode_hint("l:1:2", urgent=True, fields={MANIFEST_FIELD: MANIFEST})
    ),
    "signature": Decoder(
        lambda data: signature_flaw(data.decode("latin-1"), KEYS, b"part"),
        (),
        sign_parts(PRIVATE, b"part").encode(),
    ),
    "public keys": Decoder(
        lambda data: public_keys([f"-----BEGIN {data.decode('latin-1')}"], "keys"),
        (ConfigurationError,),
        b"PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
    ),
    "private key": Decoder(decode_private_key, (), b"-----BEGIN PRIVATE KEY-----\nAAAA\n"),
    "address of Redis": Decoder(
        lambda data: parse_redis(data.decode("latin-1")),
        (RedisAddressError,),
        b"rediss+sentinel://kim:word@one:1,[::1]:2/name/0?sentinel_user=kim",
    ),
    "compressed policy": Decoder(expanded, (ValueError,), compressed(encode_policy(POLICY))),
    "compressed body of a source": Decoder(fetched, (UnreadableError,), gzip.compress(b"{}")),
    "events of a push": Decoder(
        lambda data: events_in({"content-type": BATCH}, data, ("s",)),
        (UnreadableError,),
        b'[{"specversion":"1.0","type":"tieline.report.v1","source":"s","id":"i","data":{}}]',
    ),
    "secret of a push": Decoder(shown, (), SECRET.encode()),
    "session of a browser": Decoder(looked, (), b"1800000000000." + b"a" * 64),
    "collectors' file": Decoder(parse_collectors, (UserError,), b"collectors: []\n"),
    **{
        f"push of {name}": Decoder(partial(read_push, hook), (UnreadableError,), PUSHES[name])
        for name, hook in HOOKS.items()
    },
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
    "64 MiB in a small gzip body": gzip.compress(bytes(64 * 1024 * 1024)),
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
