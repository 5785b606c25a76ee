"""Kafka and Valkey together, in a directory of their own, gone when their owner is."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType

from lab.stack.cache import Workplace, cache_directory
from lab.stack.errors import StackError
from lab.stack.jars import Say, ensure_jars
from lab.stack.kafka import Kafka
from lab.stack.valkey import Valkey


def silent(_progress: str) -> None:
    """Says nothing."""


class Stack:
    """A running Kafka and Valkey. Each can be stopped, killed, paused and started again by itself:

        async with await Stack.start() as stack:
            await stack.kafka.stop()
            await stack.kafka.start()  # same port, same data

    Its methods may be called from another event loop than the one that started it.
    """

    def __init__(self, workplace: Workplace, kafka: Kafka, valkey: Valkey) -> None:
        """Use `start`."""
        self._workplace = workplace
        self.kafka = kafka
        self.valkey = valkey

    @classmethod
    async def start(
        cls, directory: Path | None = None, *, cache: Path | None = None, say: Say = silent
    ) -> Stack:
        """Starts both and returns when both answer: seconds once the jars are cached, a download before.

        `directory` is kept at the end and Kafka's data in it used again; without it the data are temporary.
        `cache` is where the jars are; `say` hears of the progress. Raises StackError.
        """
        cache = cache or cache_directory()
        jars = await asyncio.to_thread(ensure_jars, cache, say)
        try:
            workplace = Workplace.claim(cache / "stack", directory)
        except BlockingIOError:
            raise StackError(
                f"another stack runs in {directory}: stop it or choose another directory"
            ) from None
        async with AsyncExitStack() as undo:
            undo.callback(workplace.release)
            stack = cls(workplace, Kafka(workplace.path / "kafka", jars), Valkey(workplace.path / "valkey"))
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
        return self._workplace.path

    async def stop(self) -> None:
        """Ends both and removes a temporary directory. May be called twice.

        Temporary data aren't worth an orderly shutdown: such servers are killed.
        """
        if self._workplace.temporary:
            await asyncio.gather(self.kafka.kill(), self.valkey.kill())
        else:
            await asyncio.gather(self.kafka.stop(), self.valkey.stop())
        self._workplace.release()

    async def __aenter__(self) -> Stack:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
