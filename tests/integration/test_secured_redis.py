"""TLS to Redis: to one server, to Sentinels and to the nodes of a cluster, and certificates that are refused.

The servers are real. The wheel's Valkey has no TLS of its own, so a port that speaks TLS is in front of each,
and Sentinels and nodes name that port as the server's.
"""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from redis.exceptions import ConnectionError as RedisConnectionError

from controller.cli.mistakes import sentence_of
from controller.leading.redis_check import check_redis
from controller.process.connections import connect_redis, redis_address
from controller.process.redis_reader import RedisReader, RedisUnreadError
from lab.stack.server import LOOPBACK
from lab.stack.valkey import Valkey
from lab.stack.valkey_groups import SERVICE, ClusterNode, Sentinel, ask
from tests.integration.certificates import certificate
from tests.integration.secured import tls_in_front
from tests.waiting import until
from tieline.keys import Keys
from tieline.redis_primary import SLOTS

pytestmark = pytest.mark.asyncio(loop_scope="module")
KEYS = Keys("secured")


class SentinelOfTls(Sentinel):
    """Names the port of the primary that speaks TLS. It can't watch the primary there, and says so, but it
    names it all the same."""

    tls_port = 0

    async def prepare(self) -> None:
        """Writes the settings of one Sentinel that stands alone."""
        lines = (
            f"port {self.port}",
            f"bind {LOOPBACK}",
            f"dir {self.place}",
            f"sentinel monitor {SERVICE} {LOOPBACK} {self.tls_port} 1",
        )
        self._settings.write_text("".join(f"{line}\n" for line in lines))


@dataclass
class Doors:
    """Addresses of one Valkey by kind of address, and directories with certificates."""

    urls: dict[str, str]
    place: Path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Doors]:
    """One server, the same behind a Sentinel, and a cluster of one node; and the server once more behind
    certificates that must be refused."""
    place = tmp_path_factory.mktemp("doors")
    good = certificate(place, "good")
    bad = {
        "other-authority": certificate(place, "other-authority"),
        "other-host": certificate(place, "other-host", address="127.0.0.9"),
        "expired": certificate(place, "expired", ends_in=-datetime.timedelta(days=1)),
    }
    valkey, node = Valkey(place / "valkey"), ClusterNode(place / "node")
    sentinel = SentinelOfTls(place / "sentinel", 1, valkey)
    async with AsyncExitStack() as closing:
        for server in (valkey, node, sentinel):
            closing.push_async_callback(server.kill)
        await valkey.start()
        await node.start()
        sentinel.tls_port = server_port = await closing.enter_async_context(tls_in_front(valkey.port, good))
        await sentinel.start()
        sentinel_port = await closing.enter_async_context(tls_in_front(sentinel.port, good))
        node_port = await closing.enter_async_context(tls_in_front(node.port, good))
        await ask(node, "CONFIG", "SET", "cluster-announce-port", node_port)
        await ask(node, "CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)

        async def is_whole() -> bool:
            return b"cluster_state:ok" in await ask(node, "CLUSTER", "INFO")

        await until(is_whole, what="the cluster of one node")
        urls = {
            "server": f"rediss://{LOOPBACK}:{server_port}/0",
            "sentinel": f"rediss+sentinel://{LOOPBACK}:{sentinel_port}/{SERVICE}/0",
            "cluster": f"rediss+cluster://{LOOPBACK}:{node_port}",
        }
        for name, file in bad.items():
            port = await closing.enter_async_context(tls_in_front(valkey.port, file))
            urls[name] = f"rediss://{LOOPBACK}:{port}/0"
        yield Doors(urls, place)


def trusting(doors: Doors, kind: str, authority: str) -> str:
    """The address of this kind, with one authority that is trusted."""
    return redis_address(
        doors.urls[kind], {"TIELINE_REDIS_CA_FILE": str(doors.place / f"{authority}.pem")}, "TIELINE_REDIS"
    )


@pytest.mark.parametrize("kind", ["server", "sentinel", "cluster"])
async def test_tls_leads_to_one_server_to_sentinels_and_to_a_cluster(doors: Doors, kind: str) -> None:
    """Both ways to Redis: the library, which controllers and clients use, and the reader of short commands.
    With another authority neither comes in, and the error names the setting."""
    redis = connect_redis(trusting(doors, kind, "good"), KEYS)
    try:
        assert await redis.set(KEYS.adoption, kind)
    finally:
        await redis.aclose()
    async with RedisReader(trusting(doors, kind, "good"), KEYS) as reader:
        assert await reader.ask(("GET", KEYS.adoption)) == [kind.encode()]
    await refused(
        trusting(doors, kind, "other-authority"), "no authority that is trusted here", "TIELINE_REDIS_CA_FILE"
    )


@pytest.mark.parametrize(
    ("wrong", "why", "remedy"),
    [
        ("other-host", "its certificate is for another host", "name the server in TIELINE_REDIS as"),
        ("expired", "its certificate has expired", "renew it at the server"),
    ],
)
async def test_a_wrong_certificate_is_refused_with_the_remedy(
    doors: Doors, wrong: str, why: str, remedy: str
) -> None:
    """Although its authority is trusted."""
    await refused(trusting(doors, wrong, wrong), why, remedy)


async def refused(url: str, why: str, remedy: str) -> None:
    """Commands that write, commands that only read, and a controller's fault say the same."""
    redis = connect_redis(url, KEYS)
    try:
        with pytest.raises(RedisConnectionError) as failure:
            await redis.get(KEYS.adoption)
        fault = (await check_redis(redis, KEYS, "one", "there")).fault
    finally:
        await redis.aclose()
    async with RedisReader(url, KEYS) as reader:
        with pytest.raises(RedisUnreadError) as unread:
            await reader.ask(("GET", KEYS.adoption))
    assert fault is not None
    for text in (sentence_of(failure.value) or "", str(unread.value), fault.words):
        assert why in text, text
        assert remedy in text, text
