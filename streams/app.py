"""``Ingest``: events in, rows out, inside the caller's event loop."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import structlog

from streams.agents import FaustReader
from streams.clock_offsets import ClockOffsets
from streams.contract_check import Judge
from streams.logs import limit_library_logs
from streams.readers import OpenReader
from streams.rebuild import Recovery
from streams.rows import Progress
from streams.session import Session
from streams.settings import IngestSettings
from streams.store import Tables
from streams.topic_ids import TopicFacts, topic_facts
from streams.watchdog import keep_running, watch
from tieline.cancelling import end_all, whole
from tieline.registration import Registry

__all__ = ["Ingest", "IngestSettings", "Registry"]

log = structlog.get_logger(__name__)


def _steady_ms() -> int:
    return round(asyncio.get_running_loop().time() * 1_000)


class Ingest:
    """Keeps the live tables up to date from the four event topics, restarting itself when it has to.

    ``registry`` may be replaced while it runs. ``now_ms`` is the wall clock. ``on_material`` is called, in
    this loop, after rows that could change a decision were stored, with the append time of the oldest;
    readers in other processes have the hint channel. ``open_reader`` makes what reads the topics.
    """

    def __init__(
        self,
        settings: IngestSettings,
        registry: Registry,
        tables: Tables,
        now_ms: Callable[[], int],
        on_material: Callable[[int], None] = lambda _append_ms: None,
        *,
        open_reader: OpenReader = FaustReader,
    ) -> None:
        self._settings = settings
        self._open_reader = open_reader
        self._tables = tables
        self._judge = Judge(settings.topics, registry)
        self._clock = ClockOffsets(now_ms, steady_ms=_steady_ms)
        self._on_material = on_material
        self._recovery = Recovery(settings, tables, registry=lambda: self.registry, now_ms=now_ms)
        self._facts: dict[str, TopicFacts] = {}
        self._session: Session | None = None
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._counts_before: Counter[str] = Counter()  # of the sessions that have ended

    @property
    def registry(self) -> Registry:
        """What the policy names; assign when a policy change takes effect."""
        return self._judge.registry

    @registry.setter
    def registry(self, value: Registry) -> None:
        self._judge.registry = value

    @property
    def counts(self) -> Counter[str]:
        """Records, refusals, skips, dead letters and retries since the start, by name; 0 for any other."""
        live = self._session.counts() if self._session else Counter[str]()
        return Counter(dict(sorted((self._counts_before + live).items())))

    @property
    def progress(self) -> list[Progress]:
        """How far this process's partitions are read, and what is in the way; empty without any."""
        return self._session.progress() if self._session else []

    async def start(self) -> None:
        """Begins in the background and returns; Kafka and Redis may come later. ``ready`` waits for them."""
        limit_library_logs()
        self._task = asyncio.create_task(keep_running(self._live), name="ingest")

    async def ready(self, within_s: float) -> bool:
        """Whether it came to own partitions within that time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._ready.wait()
        return self._ready.is_set()

    async def wait(self) -> None:
        """Returns when stopped; raises what ended it if it could not be kept running. Await it beside your
        own tasks, so that an ingest that has died is noticed."""
        if self._task is not None:
            with suppress(asyncio.CancelledError):
                await asyncio.shield(self._task)

    async def stop(self) -> None:
        """Ends within the time of the settings. May be called twice."""
        if self._task is not None:
            task, self._task = self._task, None
            await end_all([task])
            if not task.cancelled():
                task.result()

    async def _live(self) -> NoReturn:
        """One session: from the ids of the topics until something is wrong, which it raises."""
        self._facts = await topic_facts(self._settings.bootstrap, self._settings.consumed)
        await self._recover()
        session = Session(
            self._settings,
            self._tables,
            judge=self._judge,
            clock=self._clock,
            facts=self._facts,
            recover=self._recover,
            on_material=self._on_material,
            open_reader=self._open_reader,
        )
        session.on_assigned = self._note_assigned
        try:
            self._session = session
            await session.start()
            limit_library_logs()
            await watch(session)
        finally:
            # Also after an error: an app that was started and not stopped keeps the process alive.
            self._ready.clear()
            # Stopped by half it would leave an app behind that keeps its partitions.
            await whole(session.stop())
            self._counts_before += session.counts()
            self._session = None

    async def _recover(self) -> None:
        await self._recovery.ensure(self._facts)

    def _note_assigned(self, partitions: int) -> None:
        """A spare member of the group owns nothing: it is never ready, and need not be."""
        if partitions:
            self._ready.set()
        log.info("partitions_assigned", partitions=partitions, group=self._settings.group)
