"""Where the primary is: by most of the nodes, and the newest failover."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tieline.keys import Keys
from tieline.redis_address import Place, parse_redis
from tieline.redis_primary import (
    PrimaryUnknownError,
    Question,
    find_primary,
    primary_by_cluster,
    primary_by_sentinel,
    slot_of,
)

SENTINELS = parse_redis("redis+sentinel://:pw@s1:1,s2:1,s3:1/orders")
OLD, NEW = Place("10.0.0.1", 6379), Place("10.0.0.2", 6379)
KEYS = Keys("tieline")
LATE_BY_S = 0.02


def by_sentinel(place: Place, epoch: int) -> list[bytes]:
    facts = {"name": "orders", "ip": place.host, "port": place.port, "config-epoch": epoch}
    return [str(word).encode() for pair in facts.items() for word in pair]


class Nodes:
    """Answers by host; an error is raised, and None never answers. ``late`` answer after all others."""

    def __init__(self, *late: str, **answers: list[bytes] | Exception | None) -> None:
        self._late = late
        self._answers = answers

    async def __call__(self, url: str, questions: Sequence[Question]) -> list[Any]:
        host = url.removeprefix("redis://").partition(":")[0]
        if host in self._late:
            due = asyncio.Event()
            asyncio.get_running_loop().call_later(LATE_BY_S, due.set)
            await due.wait()
        answer = self._answers[host]
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            await asyncio.Event().wait()
        return [answer] * len(questions)


async def test_a_sentinel_that_is_cut_off_is_outvoted() -> None:
    """It still names the former primary, at a lower epoch, also when it answers first."""
    nodes = Nodes("s2", s1=by_sentinel(OLD, 3), s2=by_sentinel(NEW, 4), s3=OSError("refused"))
    assert await find_primary(SENTINELS, KEYS, nodes) == NEW


async def test_a_silent_node_is_not_waited_for() -> None:
    """Two of three that answer are enough."""
    nodes = Nodes(s1=None, s2=by_sentinel(NEW, 4), s3=by_sentinel(OLD, 3))
    async with asyncio.timeout(0.5):
        assert await find_primary(SENTINELS, KEYS, nodes) == NEW


async def test_the_last_node_that_answers_is_believed() -> None:
    """A minority that is all there is counts: clients follow the controllers that are on its side."""
    nodes = Nodes(s1=OSError("refused"), s2=by_sentinel(OLD, 3), s3=OSError("no route"))
    assert await find_primary(SENTINELS, KEYS, nodes) == OLD


async def test_nodes_that_say_nothing_are_named_without_secrets() -> None:
    """The error says what each of them said instead."""
    nodes = Nodes(s1=OSError("refused"), s2=ValueError("No such master"), s3=OSError(""))
    with pytest.raises(PrimaryUnknownError) as error:
        await find_primary(SENTINELS, KEYS, nodes)
    assert str(error.value) == (
        "no Sentinel says where the primary is (s1:1: refused; s2:1: No such master; s3:1: OSError)"
    )
    assert {type(answer) for answer in error.value.errors} == {OSError, ValueError}


def test_a_sentinel_names_epoch_and_place() -> None:
    """Its answer is a list of names and values, or a mapping in the newer protocol."""
    reply = by_sentinel(NEW, 7)
    assert primary_by_sentinel(reply) == (7, NEW)
    assert primary_by_sentinel(dict(zip(reply[::2], reply[1::2], strict=True))) == (7, NEW)


def by_cluster(state: str = "ok") -> bytes:
    return f"cluster_state:{state}\r\ncluster_size:3\r\ncluster_current_epoch:9\r\n".encode()


def test_all_keys_of_an_installation_lie_in_one_slot() -> None:
    """The slot is that of the hash tag, as the specification of Redis Cluster computes it."""
    assert slot_of(Keys("123456789")) == 0x31C3
    assert slot_of(Keys("user1000")) == 3443


def test_every_key_of_an_installation_lies_in_that_slot() -> None:
    """Also a key that is added later: what stands between the first braces is the namespace."""
    keys = Keys("eu-1")
    properties = [name for name, value in vars(Keys).items() if isinstance(value, property)]
    names = [getattr(keys, name) for name in properties]
    names += [keys.controller("host-1"), keys.table("health")]
    assert len(properties) >= 6
    for name in names:
        tag = name.partition("{")[2].partition("}")[0]
        assert slot_of(Keys(tag)) == slot_of(keys), name


def test_a_node_of_a_cluster_names_who_has_the_slot() -> None:
    """A node that does not know its own name, or has none to tell, stands for the host that was asked."""
    slots = [
        [0, 99, [b"10.0.0.1", 1, b"id"]],
        [100, 16_383, [b"10.0.0.2", 2, b"id"], [b"10.0.0.3", 3, b"id"]],
    ]
    place = primary_by_cluster(by_cluster(), slots, slot=100, node_host="n1")
    assert place == (9, Place("10.0.0.2", 2))
    for host in (b"", None, b"?"):
        answer = primary_by_cluster(by_cluster(), [[0, 16_383, [host, 2]]], slot=5, node_host="n1")
        assert answer == (9, Place("n1", 2))


def test_a_node_that_is_cut_off_names_nobody() -> None:
    """It still has its slots, but no say."""
    slots = [[0, 16_383, [b"10.0.0.1", 1]]]
    with pytest.raises(ValueError, match="cut off"):
        primary_by_cluster(by_cluster("fail"), slots, slot=5, node_host="n1")
    with pytest.raises(ValueError, match="no node of the cluster has the slot 5"):
        primary_by_cluster(by_cluster(), [[9, 16_383, [b"10.0.0.1", 1]]], slot=5, node_host="n1")
