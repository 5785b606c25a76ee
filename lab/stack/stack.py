"""Kafka and Valkey together, in a directory of their own, and ended with the process that owns them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType

from lab.errors import StackError
from lab.stack.cache import RunDirectory, cache_directory
from lab.stack.jars import Say, ensure_jars
from lab.stack.kafka import Kafka
from lab.stack.valkey import Valkey


def silent(_progress: str) -> None:
    """For callers that don't want to hear of the progress."""


class Stack:
    """A running Kafka and Valkey. Each can be stopped, killed, paused and started again by itself:

        async with await Stack.start() as stack:
            await stack.kafka.stop()
            await stack.kafka.start()  # same port, same data

    Its methods may be called from another event loop than the one that started it.
    """

    def __init__(self, directory: RunDirectory, kafka: Kafka, valkey: Valkey) -> None:
        """Use `start`."""
        self._directory = directory
        self.kafka = kafka
        self.valkey = valkey

    @classmethod
    async def start(
        cls, directory: Path | None = None, *, cache: Path | None = None, say: Say = silent
    ) -> Stack:
        """Starts both and returns when both answer. Raises StackError or ChildError.

        With cached jars this takes about 3 s; otherwise the jars are downloaded first (44 MB). With
        `directory`, Kafka's data stays there and is used by the next start; without it the data is temporary.
        `cache` is where the jars are kept; `say` hears of the progress.
        """
        cache = cache or cache_directory()
        jars = await asyncio.to_thread(ensure_jars, cache, say)
        try:
            claim = RunDirectory.claim(cache / "stack", directory)
        except BlockingIOError:
            raise StackError(
                f"another stack runs in {directory}: stop it, or choose another directory"
            ) from None
        async with AsyncExitStack() as undo:
            undo.callback(claim.release)
            stack = cls(claim, Kafka(claim.path / "kafka", jars), Valkey(claim.path / "valkey"))
            undo.push_async_callback(stack.stop)
            await asyncio.gather(stack.kafka.start(), stack.valkey.start())
            undo.pop_all()
        return stack

    @property
    def kafka_bootstrap(self) -> str:
        """Kafka as `host:port`, the setting TIELINE_KAFKA."""
        return self.kafka.bootstrap

    @property
    def redis_url(self) -> str:
        """Valkey as a URL, the setting TIELINE_REDIS."""
        return self.valkey.url

    @property
    def directory(self) -> Path:
        """Where the data and the servers' logs are."""
        return self._directory.path

    async def stop(self) -> None:
        """Ends both and removes a temporary directory. May be called twice.

        Servers whose data is temporary are killed: an orderly shutdown would save data that nobody reads.
        """
        if self._directory.temporary:
            await asyncio.gather(self.kafka.kill(), self.valkey.kill())
        else:
            await asyncio.gather(self.kafka.stop(), self.valkey.stop())
        self._directory.release()

    async def __aenter__(self) -> Stack:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
