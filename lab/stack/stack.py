"""Kafka and Valkey together, in a directory of their own, and ended with the process that owns them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

from lab.errors import StackError
from lab.stack.cache import RunDirectory, cache_directory
from lab.stack.jars import Say, ensure_jars
from lab.stack.kafka import Kafka
from lab.stack.kafka_cluster import KafkaCluster
from lab.stack.valkey import Valkey
from lab.stack.valkey_groups import ValkeyCluster, WatchedValkey
from tieline.redis_address import SENTINEL

BROKERS = 3

AnyKafka = TypeVar("AnyKafka", bound=Kafka | KafkaCluster)
AnyValkey = TypeVar("AnyValkey", bound=Valkey | WatchedValkey | ValkeyCluster)


def silent(_progress: str) -> None:
    """For callers that don't want to hear of the progress."""


class ServerStack(Generic[AnyKafka, AnyValkey]):
    """A running Kafka and Valkey, of whichever kind. Start one by `Stack.start` or `ClusterStack.start`.

    Its methods may be called from another event loop than the one that started it.
    """

    def __init__(self, directory: RunDirectory, kafka: AnyKafka, valkey: AnyValkey) -> None:
        """The servers don't run yet."""
        self._directory = directory
        self.kafka = kafka
        self.valkey = valkey

    @property
    def kafka_bootstrap(self) -> str:
        """Kafka as `host:port`, the setting TIELINE_KAFKA."""
        return self.kafka.bootstrap

    @property
    def redis_url(self) -> str:
        """Valkey's address, the setting TIELINE_REDIS."""
        return self.valkey.url

    @property
    def directory(self) -> Path:
        """Where the data and the servers' logs are."""
        return self._directory.path

    async def run(self) -> Self:
        """Returns when both answer. Otherwise both are ended. Raises ChildError."""
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self.stop)
            await asyncio.gather(self.kafka.start(), self.valkey.start())
            undo.pop_all()
        return self

    async def stop(self) -> None:
        """Ends both and removes a temporary directory. May be called twice.

        Servers whose data is temporary are killed: an orderly shutdown would save data that nobody reads.
        """
        if self._directory.temporary:
            await asyncio.gather(self.kafka.kill(), self.valkey.kill())
        else:
            await asyncio.gather(self.kafka.stop(), self.valkey.stop())
        self._directory.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


class Stack(ServerStack[Kafka, Valkey]):
    """One Kafka and one Valkey. Each can be stopped, killed, paused and started again by itself:

    async with await Stack.start() as stack:
        await stack.kafka.stop()
        await stack.kafka.start()  # same port, same data
    """

    @classmethod
    async def start(
        cls, directory: Path | None = None, *, cache: Path | None = None, say: Say = silent
    ) -> Stack:
        """Starts both and returns when both answer. Raises StackError or ChildError.

        With cached jars this takes about 3 s; otherwise the jars are downloaded first (44 MB). With
        `directory`, Kafka's data stays there and is used by the next start; without it the data is temporary.
        `cache` is where the jars are kept; `say` hears of the progress.
        """
        claim, jars = await prepared(directory, cache or cache_directory(), say)
        return await cls(claim, Kafka(claim.path / "kafka", jars), Valkey(claim.path / "valkey")).run()


class ClusterStack(ServerStack[KafkaCluster, WatchedValkey | ValkeyCluster]):
    """Three brokers, and Valkey behind Sentinels or as a cluster. Each server can be killed by itself:

    async with await ClusterStack.start() as stack:
        await stack.kafka.nodes[0].kill()
        await stack.valkey.servers[0].kill()
    """

    @classmethod
    async def start(
        cls,
        directory: Path | None = None,
        *,
        redis: str = SENTINEL,
        cache: Path | None = None,
        say: Say = silent,
    ) -> ClusterStack:
        """Starts all servers and returns when they have come together, after some 10 s on two free cores.

        `redis`: `sentinel` or `cluster`. For the rest see `Stack.start`.
        """
        claim, jars = await prepared(directory, cache or cache_directory(), say)
        valkey = WatchedValkey if redis == SENTINEL else ValkeyCluster
        kafka = KafkaCluster(claim.path / "kafka", jars, BROKERS)
        return await cls(claim, kafka, valkey(claim.path / "valkey")).run()


async def prepared(directory: Path | None, cache: Path, say: Say) -> tuple[RunDirectory, list[Path]]:
    """The directory of a run, and Kafka's jars. Raises StackError."""
    jars = await asyncio.to_thread(ensure_jars, cache, say)
    try:
        return RunDirectory.claim(cache / "stack", directory), jars
    except BlockingIOError:
        raise StackError(f"another stack runs in {directory}: stop it, or choose another directory") from None
