"""What an older version does with a publication of a newer one, whose bytes hold more than it knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from controller.core.model.memory import Memory, PoolMemory
from controller.core.model.reasons import State
from controller.core.policy.policy import encode_policy
from controller.routes.counting_rule import Publication
from controller.routes.record import RECORD_SCHEMA, RoutesRecord, encode_record
from controller.routes.unread import EVERYTHING_READ, LOOK_EVERY_MS, Unread, UnreadWatch, unread_of
from tests.unit.controller.core.made import policy, pool
from tieline.events import Command
from tieline.table import Generation, PoolInfo, Route, RouteTable, Split

POOL, NOW_MS, END_MS = "azure/r0/gpt", 1_790_000_000_000, 1_790_000_060_000
Change = Callable[[dict[str, Any]], object]


def newer(change: Change = lambda _: None, policy_change: Change = lambda _: None) -> bytes:
    """A publication whose maps were changed as a newer version might write them."""
    generation = Generation("test", 3, 7)
    table = RouteTable(
        generation,
        1,
        (PoolInfo(POOL, "us", "http://x/v1"),),
        routes=(Route("chat", "us", "critical", split=Split((0,), (1_000_000,))),),
    )
    order = Command(
        "cmd-1", "drain", "gcp", actor="kim", reason="test", issued_ms=NOW_MS, expires_ms=NOW_MS + 9
    )
    in_force = msgspec.msgpack.decode(encode_policy(policy((pool("azure/r0"),))))
    policy_change(in_force)
    record = RoutesRecord(
        generation,
        1,
        table,
        memory=Memory(pools={POOL: PoolMemory(State.HEALTHY)}),
        policy=msgspec.msgpack.encode(in_force),
        orders=(order,),
    )
    fields = msgspec.msgpack.decode(encode_record(record))
    change(fields)
    return msgspec.msgpack.encode(fields)


def test_what_this_version_wrote_it_reads_whole() -> None:
    """Also defaults that are left out, and types that are told by a tag."""
    assert unread_of(newer()) == EVERYTHING_READ


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        (lambda record: record.update(tomorrow=1), ("tomorrow",)),
        (lambda record: record["memory"].update(tides={}), ("memory.tides",)),
        (lambda record: record["memory"]["pools"][POOL].update(moon=1), ("memory.pools.*.moon",)),
        (lambda record: record["orders"][0].update(witness="lee"), ("orders.witness",)),
        (lambda record: record["generation"].append("x"), ("generation.3",)),
        (lambda record: record["table"]["routes"][0].update(tide=1), ()),
    ],
    ids=["record", "memory", "pool", "order", "array", "table"],
)
def test_fields_that_would_be_lost_are_named(change: Change, lost: tuple[str, ...]) -> None:
    """Wherever they stand, except in the table, which each leader makes anew."""
    assert unread_of(newer(change)) == Unread(lost=lost)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda record: record.update(schema=RECORD_SCHEMA + 1), "schema 2"),
        (lambda record: record["memory"]["pools"][POOL].update(state="dozing"), "dozing"),
        (lambda record: record["orders"][0].update(verb="levitate"), "levitate"),
        (lambda record: record.update(policy=b"\xc1"), ""),
    ],
    ids=["schema", "state", "verb", "rubbish"],
)
def test_what_can_not_be_read_is_never_continued(change: Change, why: str) -> None:
    """Another schema, an unknown word, and bytes that are no policy: with the reason."""
    refused = unread_of(newer(change)).refused
    assert refused
    assert why in refused


@pytest.mark.parametrize(
    "change",
    [
        lambda in_force: in_force.update(forbidden_pools=["azure/r0/gpt"]),
        lambda in_force: in_force["workloads"][0].update(forbidden_providers=["gcp"]),
    ],
    ids=["policy", "workload"],
)
def test_an_unknown_field_of_the_policy_is_never_ignored(change: Change) -> None:
    """It may be a contract: who does not know it must not decide by the rest of the policy."""
    assert "the policy in force has fields" in unread_of(newer(policy_change=change)).refused


def test_few_of_many_lost_fields_are_named() -> None:
    """A sentence for a person stays short."""
    assert Unread(lost=("a", "b")).lost_words == "a, b"
    assert Unread(lost=tuple("abcdefg")).lost_words == "a, b, c, d, e and 2 more"


def test_a_new_epoch_is_looked_at_at_once_and_others_now_and_then() -> None:
    """A whole record may be large, so of one epoch a publication is read every few seconds."""
    watch = UnreadWatch()
    odd = newer(lambda record: record.update(tomorrow=1))

    def at(epoch: int, offset: int, body: bytes, steady_ms: int) -> Unread:
        return watch.look(Publication(epoch, 1, offset, append_ms=0, body=body), steady_ms)

    assert at(3, 10, newer(), 0) == EVERYTHING_READ
    assert at(3, 11, odd, LOOK_EVERY_MS - 1) == EVERYTHING_READ
    assert at(3, 11, odd, LOOK_EVERY_MS) == Unread(lost=("tomorrow",))
    assert at(12, 13, newer(), LOOK_EVERY_MS + 1) == EVERYTHING_READ
    assert watch.look(None, LOOK_EVERY_MS + 2) == EVERYTHING_READ
