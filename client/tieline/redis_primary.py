"""Where the primary is that has the keys of an installation, behind Sentinels and on a cluster.

All keys of an installation have one hash tag (``keys``). So on a cluster they lie on one primary, as they do
behind Sentinels, and whoever finds that primary can talk to it as to any single server. ``find_primary`` asks
all nodes in the address at once, waits until more than half of them have named a primary, and takes the name
with the highest epoch. Each failover raises the epoch, so a node that is cut off from the others, which still
names the former primary, is outvoted whenever the others can be asked.

Tests: tests/unit/client/test_redis_primary.py.
"""

import asyncio
from binascii import crc_hqx
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from tieline.keys import Keys
from tieline.redis_address import SENTINEL, Place, RedisAddress

SLOTS = 16_384
ANSWER_WITHIN_S = 1.0
ERROR_TEXT_MAX = 100

Question: TypeAlias = tuple[str, ...]
Ask: TypeAlias = Callable[[str, Sequence[Question]], Awaitable[list[Any]]]


class PrimaryUnknownError(OSError):
    """No node says where the primary is. The message has what each of them said instead; ``errors`` are the
    same as exceptions."""

    def __init__(self, message: str, errors: Sequence[BaseException] = ()) -> None:
        super().__init__(message)
        self.errors = tuple(errors)


async def find_primary(address: RedisAddress, keys: Keys, ask: Ask) -> Place:
    """Where the primary with these keys is, by most of the nodes and the highest epoch, within
    ``ANSWER_WITHIN_S`` or so. ``ask`` puts questions to the node at a URL. Raises PrimaryUnknownError."""
    nodes = {asyncio.create_task(_named(address, keys, url, ask=ask)): url for url in address.nodes}
    names: list[tuple[int, Place]] = []
    failures: dict[str, BaseException] = {}
    pending = set(nodes)
    try:
        while pending and len(names) * 2 <= len(nodes):
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (error := task.exception()) is None:
                    names.append(task.result())
                else:
                    place = urlsplit(nodes[task]).netloc.rpartition("@")[2]
                    failures[f"{place}: {str(error)[:ERROR_TEXT_MAX] or type(error).__name__}"] = error
    finally:
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending)
    if not names:
        who = "Sentinel" if address.kind == SENTINEL else "node of the cluster"
        words = f"no {who} says where the primary is ({'; '.join(sorted(failures))})"
        raise PrimaryUnknownError(words, tuple(failures.values()))
    return max(names)[1]


async def _named(address: RedisAddress, keys: Keys, url: str, *, ask: Ask) -> tuple[int, Place]:
    """What one node says: the epoch, and the primary."""
    async with asyncio.timeout(ANSWER_WITHIN_S):
        if address.kind == SENTINEL:
            [reply] = await ask(url, [("SENTINEL", "MASTER", address.service)])
            return primary_by_sentinel(reply)
        info, slots = await ask(url, [("CLUSTER", "INFO"), ("CLUSTER", "SLOTS")])
        host = urlsplit(url).hostname or "localhost"
        return primary_by_cluster(info, slots, slot=slot_of(keys), node_host=host)


def primary_by_sentinel(reply: Sequence[bytes] | Mapping[bytes, bytes]) -> tuple[int, Place]:
    """The epoch and the primary, from the answer to ``SENTINEL MASTER``: names and values in turn."""
    fields = dict(reply) if isinstance(reply, Mapping) else dict(zip(reply[::2], reply[1::2], strict=True))
    return int(fields[b"config-epoch"]), Place(fields[b"ip"].decode(), int(fields[b"port"]))


def primary_by_cluster(info: bytes, slots: Sequence[Any], *, slot: int, node_host: str) -> tuple[int, Place]:
    """The epoch and the primary of a slot, from the answers to ``CLUSTER INFO`` and ``CLUSTER SLOTS``.

    Raises ValueError if the node sees the cluster as down, as one does that is cut off from most of the
    others, or if nobody has the slot. A node that does not know its own name stands for the host asked.
    """
    facts = dict(line.split(":", 1) for line in info.decode().split() if ":" in line)
    if facts.get("cluster_state") != "ok":
        raise ValueError("the cluster is down, or this node is cut off from most of it")
    for first, last, primary, *_replicas in slots:
        if first <= slot <= last:
            host = primary[0].decode() if primary[0] else ""
            return int(facts["cluster_current_epoch"]), Place(host.strip("?") or node_host, int(primary[1]))
    raise ValueError(f"no node of the cluster has the slot {slot}")


def slot_of(keys: Keys) -> int:
    """The slot of a cluster that all keys of this installation lie in, by the hash tag that they share."""
    return crc_hqx(keys.namespace.encode(), 0) % SLOTS
