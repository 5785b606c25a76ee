"""Signed orders from end to end: what hostile records on the command topic change, and who is told what."""

from __future__ import annotations

import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace as changed
from pathlib import Path
from typing import NamedTuple

import pytest
from aiokafka import AIOKafkaProducer
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from msgspec.structs import replace

from controller.routes.record import OrderAnswer, RoutesRecord
from tests.integration.controllers import POLICY, Fleet, newest, settings_of, tieline
from tests.unit.controller.operating import KEYS, STRANGER, public_line
from tieline.cloudevents import JSON, MSGPACK, Encoded, encode
from tieline.events import Command
from tieline.order_signing import sign_order

FUZZED = 1_000
TOLD_WITHIN_MS = 20_000  # a safety net: on a quiet machine it takes less than a second
FORCED = (
    "--within",
    "60s",
    "--force",
    "critical_shed",
    "--force",
    "last_pool",
    "--force",
    "no_n_minus_1",
    "--yes",
)
OPERATORS = f"""
operators:
  - {{id: kim, public_keys: [{public_line("kim")}], may: ["*"]}}
  - {{id: lee, public_keys: [{public_line("lee")}], may: ["drain:azure/*"]}}
approvals:
  - {{orders: ["drain:azure/*"]}}
"""


class World(NamedTuple):
    """One controller whose policy names operators, and the files of their keys."""

    fleet: Fleet
    keys: dict[str, Path]

    async def order(self, name: str, *words: str) -> tuple[int, str]:
        """Gives an order with this operator's key; the exit status, and all that was said."""
        ended = await tieline(
            self.fleet.settings, *words, "--reason", "a drill", "--key", str(self.keys[name]), *FORCED
        )
        return ended.status, ended.out + ended.err


@pytest.fixture
async def world(kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[World]:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.read_text() + OPERATORS)
    keys = {}
    for name in ("kim", "lee"):
        keys[name] = tmp_path / f"{name}.key"
        keys[name].write_bytes(KEYS[name].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        keys[name].chmod(0o600)
    settings = changed(settings_of(kafka_bootstrap, redis_url, prefix), policy=policy, unsigned=False)
    async with Fleet(settings, tmp_path) as fleet:
        controller = await fleet.add()
        await controller.until_said("decides now")
        yield World(fleet, keys)


def drain(id: str, scope: str, actor: str = "kim", **more: int) -> Command:
    """An order that was issued just now."""
    now_ms = time.time_ns() // 1_000_000
    order = Command(id, "drain", scope, actor=actor, reason="x", issued_ms=now_ms)
    return replace(order, expires_ms=now_ms + 3_600_000, **more)


def signed(order: Command, name: str, namespace: str, lineage: str = "multicloud-1") -> Command:
    return sign_order(order, KEYS[name], namespace=namespace, lineage=lineage)


def hostile(here: str) -> dict[str, Command]:
    """By what is wrong with it, an order that must change nothing in the namespace ``here``."""
    now_ms = time.time_ns() // 1_000_000
    good = signed(drain("true", "gcp"), "kim", here)
    stranger = sign_order(drain("c-stranger", "gcp"), STRANGER, namespace=here, lineage="multicloud-1")
    expired = replace(drain("c-expired", "gcp"), expires_ms=now_ms - 1)
    return {
        "the signature is not by kim's key": replace(good, id="c-forged"),
        "none of kim's": stranger,
        "none of lee's": replace(signed(drain("c-actor", "gcp"), "kim", here), actor="lee"),
        "names no operator 'eve'": replace(good, id="c-eve", actor="eve"),
        "it is unsigned": drain("c-unsigned", "gcp"),
        "not written as": replace(drain("c-odd", "gcp"), signature="odd"),
        "lee may not give drain:gcp": signed(drain("c-scope", "gcp", "lee"), "lee", here),
        "it had expired": signed(expired, "kim", here),
        "after it was signed": signed(drain("c-old", "gcp", issued_ms=now_ms - 120_000), "kim", here),
        "installation": signed(drain("c-staging", "gcp"), "kim", "staging"),
        "another": signed(drain("c-lineage", "gcp"), "kim", here, "staging-1"),
    }


Record = tuple[bytes, bytes, list[tuple[str, bytes]]]


def fuzzed(chance: random.Random, number: int, good: Command) -> Record:
    """A signed order of which something was changed, as a record."""
    changes = {
        "scope": "oci",
        "verb": "freeze",
        "reason": "y",
        "actor": "lee",
        "issued_ms": good.issued_ms + 1,
    }
    name = chance.choice(sorted(changes))
    order = replace(good, **{name: changes[name], "id": f"f-{number}"})
    key, body, headers = encode(order, time_ms=order.issued_ms, content_type=chance.choice((JSON, MSGPACK)))
    spoilt = bytearray(body)
    for _ in range(chance.choice((0, 0, 1, 3))):
        spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
    cut = len(spoilt) if chance.random() < 0.8 else chance.randrange(len(spoilt))
    return key, bytes(spoilt[:cut]), headers


def routes_of(record: RoutesRecord) -> object:
    """What a table says, without its number and time."""
    assert record.table is not None
    return (record.table.pools, record.table.routes)


def answer(record: RoutesRecord, order_id: str) -> OrderAnswer:
    """What the leader said to this order."""
    said = record.answer_to(order_id)
    assert said is not None, order_id
    return said


async def test_hostile_records_change_nothing_and_are_answered(world: World) -> None:
    """Each is answered by its id, with who and why, within seconds, and an accepted order that is copied
    stays taken back. 1,000 fuzzed ones change nothing either, and the good order after them is taken."""
    here, leader = world.fleet.settings.namespace, world.fleet._all[0]
    async with world.fleet.routes() as routes, sending(world.fleet) as send:
        first = signed(drain("g-1", "oci"), "kim", here)
        back = replace(drain("g-2", "oci"), verb="undrain", expires_ms=None)
        await send(encode(first, time_ms=first.issued_ms))
        assert await routes.until(lambda record: [item.id for item in record.orders] == ["g-1"], 60.0)
        await send(encode(signed(back, "kim", here), time_ms=back.issued_ms))
        before = await routes.until(lambda record: record.answer_to("g-2") is not None, 60.0)
        assert before is not None
        await send(encode(first, time_ms=first.issued_ms))
        bad = hostile(here)
        for order in bad.values():
            await send(encode(order, time_ms=order.issued_ms))
        record = await routes.until(lambda record: record.answer_to("c-lineage") is not None, 60.0)
        assert record is not None
        for why, order in bad.items():
            assert why in answer(record, order.id).refused, (why, answer(record, order.id))
            assert answer(record, order.id).actor == order.actor
        assert record.published_ms - answer(record, "c-lineage").append_ms <= TOLD_WITHIN_MS
        chance, true = random.Random(7), signed(drain("f", "gcp"), "kim", here)
        for number in range(FUZZED):
            await send(fuzzed(chance, number, true))
        status, said = await world.order("kim", "drain", "coreweave", "--for", "1h")
        assert status == 0, said
        assert "UNSIGNED" not in said
        after = routes.newest()
        assert after is not None
    assert (before.orders, record.orders, record.pending) == ((), (), ())
    assert routes_of(record) == routes_of(before)
    assert after.generation.epoch == before.generation.epoch
    assert [(order.scope, order.actor) for order in after.orders] == [("coreweave", "kim")]
    assert after.pending == ()
    assert len(leader.said("an order was refused")) <= 20


Send = Callable[[Record | Encoded], Awaitable[None]]


@asynccontextmanager
async def sending(fleet: Fleet) -> AsyncIterator[Send]:
    """Writes records straight to the command topic."""
    producer = AIOKafkaProducer(bootstrap_servers=str(fleet.settings.kafka), linger_ms=2)
    await producer.start()

    async def send(record: Record | Encoded) -> None:
        key, value, headers = record
        await producer.send(fleet.settings.topics.commands.name, value, key=key, headers=headers)

    try:
        yield send
    finally:
        await producer.stop()


async def test_a_second_person_countersigns(world: World) -> None:
    """The order waits and is shown until another operator signs it; who gave it can't. What the policy does
    not allow is told before anything is sent."""
    settings = world.fleet.settings
    status, said = await world.order("lee", "drain", "azure/westus3", "--for", "1h", "--json")
    assert status == 4, said
    order_id = json.loads(said.splitlines()[0])["order"]["id"]
    assert "one more person must sign it until" in said
    shown = await tieline(settings, "status", COLUMNS="250")
    assert f"tieline countersign {order_id}" in shown.out
    assert "UNSIGNED DEV MODE" not in shown.out
    status, said = await world.order("lee", "countersign", order_id)
    assert status == 1, said
    assert "it needs another person" in said
    status, said = await world.order("kim", "countersign", order_id)
    assert status == 0, said
    assert "drain azure/westus3 until" in said
    assert "by lee: a drill; countersigned by kim: a drill" in said
    record = await newest(world.fleet)
    assert [(order.scope, order.actor) for order in record.orders] == [("azure/westus3", "lee")]
    status, said = await world.order("lee", "freeze", "--for", "1h")
    assert (status, "lee may not give freeze:*" in said) == (2, True), said
    keyless = await tieline(settings, "undrain", "azure/westus3", "--reason", "x")
    assert (keyless.status, "TIELINE_OPERATOR_KEY_FILE" in keyless.err) == (2, True), keyless.err
    listed = await tieline(settings, "keys", "list", "--json")
    assert [row["id"] for row in json.loads(listed.out)["operators"]] == ["kim", "lee"]
    refused = await tieline(settings, "controller", TIELINE_UNSIGNED_DEV_MODE="1")
    assert (refused.status, "every order must be signed" in refused.err) == (2, True), refused.err
