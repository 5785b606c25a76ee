"""Redis behind Sentinels, as a cluster and behind a load balancer: a projection and a client, while the
primary dies, is cut off or gives its keys away, and while connections lead nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError

from controller.process.redis_reader import RedisReader, RedisUnreadError
from controller.web.board import Board
from controller.web.follow import Follower
from lab.stack.server import LOOPBACK
from lab.stack.valkey import Valkey
from lab.stack.valkey_groups import ValkeyCluster, WatchedServer, WatchedValkey, ask
from tests.integration.balancer import Balancer
from tests.integration.projecting import Leader, following, follows
from tests.integration.redis_servers import single_valkey
from tests.waiting import until
from tieline.keys import Keys
from tieline.redis_client import connect, leave_former_primary, refusal_behind


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[WatchedValkey]:
    """A primary, a replica and three Sentinels."""
    group = WatchedValkey(tmp_path)
    try:
        await group.start()
        yield group
    finally:
        await group.kill()


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[ValkeyCluster]:
    """Three primaries and three replicas."""
    group = ValkeyCluster(tmp_path)
    try:
        await group.start()
        yield group
    finally:
        await group.kill()


async def test_a_lost_primary_is_replaced_by_sentinels(watched: WatchedValkey, prefix: str) -> None:
    """SIGKILL of the primary and of one Sentinel: projection, client and the reader of short commands find
    the replica by themselves, and the next table arrives."""
    primary = await until(lambda: watched.primary(prefix), what="a primary")
    async with Leader(watched.url, prefix) as leader:
        leader.publish(1)
        async with following(watched.url, prefix) as client:
            await asyncio.gather(primary.kill(), watched.sentinels[0].kill())
            generation = leader.publish(2)
            await follows(client, generation)
        async with RedisReader(watched.url, leader.keys) as reader:
            await until(lambda: _reads(reader, leader.keys, b"2"), what="the reader too")
        await until(lambda: _is_primary(watched, prefix, watched.servers[1]), what="the replica as primary")


async def test_a_primary_that_is_cut_off_is_left(watched: WatchedValkey, prefix: str) -> None:
    """Sentinels and replica have lost it, and it goes on answering and taking writes. The controller and
    `tieline web` leave it for the new primary, so its heartbeat there ends, and the client follows."""
    former = await until(lambda: watched.primary(prefix), what="a primary")
    board = Board()
    async with Leader(watched.url, prefix) as leader, connect(watched.url, leader.keys) as redis:
        leader.publish(1)
        serving = asyncio.create_task(Follower(redis, leader.keys, board).run())
        async with following(watched.url, prefix) as client:
            await until(lambda: board.served is not None, what="a table to serve")
            await former.cut_off()
            # A controller asks so once a second.
            await until(lambda: leave_former_primary(leader.redis), what="another primary")
            other = next(server for server in watched.servers if server is not former)
            await until(lambda: _is_primary(watched, prefix, other), what="a Sentinel that names the other")
            generation = leader.publish(2)
            await follows(client, generation)
            await until(lambda: _serves(board, generation), what="the table to serve")
        serving.cancel()
        await asyncio.wait({serving})


async def test_a_lost_node_of_a_cluster_is_replaced(cluster: ValkeyCluster, prefix: str) -> None:
    """SIGKILL of the node that has all keys of the installation: its replica takes over."""
    keys = Keys(prefix)
    primary = await until(lambda: cluster.primary(prefix), what="a primary")
    async with Leader(cluster.url, prefix) as leader:
        leader.publish(1)
        async with following(cluster.url, prefix) as client:
            await primary.kill()
            generation = leader.publish(2)
            await follows(client, generation)
        async with RedisReader(cluster.url, keys) as reader:
            await until(lambda: _reads(reader, keys, b"2"), what="the reader there too")


async def test_a_slot_that_moves_is_followed(cluster: ValkeyCluster, prefix: str) -> None:
    """All keys of an installation lie in one slot. When it is given to another node, everybody goes there."""
    keys = Keys(prefix)
    owner = await until(lambda: cluster.primary(prefix), what="a primary")
    target = next(server for server in cluster.servers[:3] if server is not owner)
    async with Leader(cluster.url, prefix) as leader, RedisReader(cluster.url, keys) as reader:
        leader.publish(1)
        async with following(cluster.url, prefix) as client:
            assert await reader.ask(("HGET", keys.routes, "seq")) == [b"1"]
            await _move_slot(cluster, prefix, owner.port, target.port)
            generation = leader.publish(2)
            await follows(client, generation)
            assert await ask(target, "HGET", keys.routes, "seq") == b"2"
            await until(lambda: _reads(reader, keys, b"2"), what="the reader there too")


async def test_a_connection_that_a_load_balancer_forgot_is_left(tmp_path: Path, prefix: str) -> None:
    """No FIN and no RST: the client opens another connection, and has the next table."""
    valkey, balancer = Valkey(tmp_path / "valkey"), Balancer()
    await asyncio.gather(valkey.start(), balancer.start())
    balancer.leads_to = valkey.port
    try:
        async with Leader(valkey.url, prefix) as leader:
            leader.publish(1)
            async with following(f"redis://{LOOPBACK}:{balancer.port}", prefix) as client:
                balancer.forget()
                await follows(client, leader.publish(2))
    finally:
        await balancer.stop()
        await valkey.kill()


async def test_a_wrong_name_of_the_primary_is_told(watched: WatchedValkey) -> None:
    """A short command says which Sentinel said what."""
    url = watched.url.replace("/tieline/", "/orders/")
    async with RedisReader(url, Keys()) as reader:
        with pytest.raises(RedisUnreadError, match=r"no Sentinel says where the primary is .*No such master"):
            await reader.ask(("PING",))


async def test_a_wrong_password_of_a_cluster_is_told(tmp_path: Path) -> None:
    """The nodes refuse it when they are asked for the primary. The error leads to that refusal."""
    async with single_valkey(tmp_path) as node:
        url = f"redis+cluster://nobody:wrong@{LOOPBACK}:{node.port}"
        async with connect(url, Keys()) as redis:
            with pytest.raises(RedisConnectionError, match="no node of the cluster says") as error:
                await redis.get(Keys().routes)
    assert isinstance(refusal_behind(error.value), AuthenticationError)


async def _is_primary(watched: WatchedValkey, namespace: str, server: WatchedServer) -> bool:
    """Whether the first Sentinel that answers names this server. They learn of a failover one by one."""
    return await watched.primary(namespace) is server


async def _reads(reader: RedisReader, keys: Keys, seq: bytes) -> bool:
    """Whether a short command finds this publication. It tries once; people try again."""
    try:
        return bool(await reader.ask(("HGET", keys.routes, "seq")) == [seq])
    except RedisUnreadError:
        return False


def _serves(board: Board, generation: str) -> bool:
    return board.served is not None and str(board.served.generation) == generation


async def _move_slot(cluster: ValkeyCluster, namespace: str, owner_port: int, target_port: int) -> None:
    """As `CLUSTER SETSLOT` by hand: key by key, then everybody is told."""
    by_port = {server.port: server for server in cluster.servers}
    owner, target = by_port[owner_port], by_port[target_port]
    slot = await ask(owner, "CLUSTER", "KEYSLOT", Keys(namespace).routes)
    owner_id, target_id = [(await ask(node, "CLUSTER", "MYID")).decode() for node in (owner, target)]
    await ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", owner_id)
    await ask(owner, "CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
    while names := await ask(owner, "CLUSTER", "GETKEYSINSLOT", slot, 100):
        words = [name.decode() for name in names]
        await ask(owner, "MIGRATE", "127.0.0.1", target.port, "", 0, 2_000, "KEYS", *words)
    for node in (target, owner):
        await ask(node, "CLUSTER", "SETSLOT", slot, "NODE", target_id)
