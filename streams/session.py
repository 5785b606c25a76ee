"""One life of the ingesting part: lanes, agents, progress and dead letters, started and stopped together."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from typing import Any

import structlog

from streams.clock_offsets import ClockOffsets
from streams.consumer_thread import FetchedOffsets
from streams.contract_check import Judge
from streams.handling import Gate, Handler
from streams.lane import Lane
from streams.letters import DeadLetters, LetterNotes
from streams.positions import Offsets, Partition
from streams.progress import ProgressReporter
from streams.readers import Feed, OpenReader, Reader
from streams.rows import Progress
from streams.settings import IngestSettings
from streams.store import Tables
from streams.storing import DemandStorer, RowStorer, Storer
from streams.topic_ids import TopicChangedError, TopicFacts, topic_facts, watch_topics
from tieline.cancelling import end_all

STALLED_AFTER_S = 30.0

log = structlog.get_logger(__name__)


class Session:
    """Everything that reads one installation's events, over one reader that it starts and stops.

    ``recover`` and ``on_material``: see ``Handler``.
    """

    def __init__(
        self,
        settings: IngestSettings,
        tables: Tables,
        *,
        judge: Judge,
        clock: ClockOffsets,
        facts: Mapping[str, TopicFacts],
        recover: Callable[[], Awaitable[None]],
        on_material: Callable[[int], None],
        open_reader: OpenReader,
    ) -> None:
        self._settings = settings
        self._tables = tables
        self._judge = judge
        self._clock = clock
        self._recover_tables = recover
        self._topic_ids = {topic: fact.id for topic, fact in facts.items()}
        self._on_material = on_material
        self._gate = Gate()
        self._dead_letters = DeadLetters(
            settings.bootstrap,
            settings.topics.deadletter.name,
            notes=LetterNotes(tables),
            now_ms=clock.now_ms,
        )
        self._offsets = Offsets(settings.bootstrap, settings.group, self._topic_ids)
        self._handlers = {topic: self._handler(topic) for topic in settings.consumed}
        self.lanes = {topic: self._lane(handler) for topic, handler in self._handlers.items()}
        self.fetched = FetchedOffsets()
        self._progress = ProgressReporter(
            tables=tables,
            offsets=self._offsets,
            lanes=self.lanes,
            fetched=self.fetched,
            letters=self._dead_letters,
            stale_share=self._stale_share,
            topic_ids=self._topic_ids,
            clock=clock,
            assigned=self.assigned,
            recover=self._recover,
        )
        self.on_assigned: Callable[[int], None] = lambda _: None  # is told the size of each assignment
        self._reading_error: BaseException | None = None
        self._reader: Reader = open_reader(
            Feed(
                settings,
                facts,
                self.lanes,
                clock=clock,
                fetched=self.fetched,
                on_assigned=self._on_assigned,
                on_revoked=self._on_revoked,
                on_error=self._note_reading_error,
            )
        )
        self._gate.rebalancing = lambda: self._reader.rebalancing
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Starts reading."""
        await self._offsets.start()
        for topic, lane in self.lanes.items():
            self._tasks[topic] = asyncio.create_task(lane.run(), name=f"lane {topic}")
        await self._reader.start()
        every_s = self._settings.progress_every_s
        resending = self._dead_letters.run(self.assigned, self._topic_facts)
        self._tasks["letters"] = asyncio.create_task(resending, name="letters")
        self._tasks["topics"] = asyncio.create_task(self._watch_topics(), name="topics")
        self._tasks["progress"] = asyncio.create_task(self._progress.run(every_s), name="progress")

    async def stop(self) -> None:
        """Lets running work end, within its time; whatever is not safe then stays uncommitted.

        Never raises: the caller is on its way out, or about to start another session.
        """
        self._gate.close()
        await self._end("reader", self._reader.stop())
        await self._reader.abandon()
        await end_all(self._tasks.values())
        await self._end("dead letters", self._dead_letters.stop())
        await self._end("offsets", self._offsets.stop())

    def assigned(self) -> set[Partition]:
        """The partitions that this process reads now."""
        return self._reader.assigned()

    def _note_reading_error(self, error: BaseException) -> None:
        """This session can't go on, as nobody knows what was being worked on."""
        self._reading_error = error

    def complaint(self) -> str | None:
        """What is wrong, or None. A lane that is held back by Redis or Kafka is not: it waits for them."""
        for name, task in self._tasks.items():
            if task.done():
                error = None if task.cancelled() else task.exception()
                return f"{name} has ended: {type(error).__name__}: {error}"
        if self._reading_error is not None:
            return f"an agent has ended: {type(self._reading_error).__name__}: {self._reading_error}"
        if (complaint := self._reader.complaint()) is not None:
            return complaint
        stalled = self._progress.stalled(STALLED_AFTER_S)
        if stalled is not None and self._handlers[stalled.topic].held_back_since is None:
            return f"partition {stalled.number} of {stalled.topic} does not advance"
        return None

    def progress(self) -> list[Progress]:
        """How far this process's partitions are read, as of about half a second ago."""
        return self._progress.rows

    def counts(self) -> Counter[str]:
        """What all handlers counted so far."""
        total: Counter[str] = Counter()
        for handler in self._handlers.values():
            total.update(handler.counts)
        total.update(self._dead_letters.counts)
        return total

    def _handler(self, topic: str) -> Handler:
        counts: Counter[str] = Counter()
        storer: Storer
        if topic == self._settings.topics.demand.name:
            storer = DemandStorer(
                self._tables, counts, lambda: self._judge.registry, on_shown=self._on_material
            )
        else:
            storer = RowStorer(self._tables, counts, self._on_material)
        return Handler(
            judge=self._judge,
            storer=storer,
            dead_letters=self._dead_letters,
            gate=self._gate,
            recover=self._recover,
            on_material=self._on_material,
            live_now_ms=self._clock.broker_now_ms,
            counts=counts,
        )

    def _lane(self, handler: Handler) -> Lane:
        return Lane(
            handler.handle,
            group_max=self._settings.records_per_batch_max,
            waiting_max=self._settings.records_waiting_max,
        )

    def _on_revoked(self, revoked: Collection[Partition]) -> None:
        for partition in revoked:
            self._progress.forget(partition)

    async def _recover(self) -> None:
        await self._recover_tables()
        self._dead_letters.notes.forget()

    def _stale_share(self, topic: str) -> float:
        return self._handlers[topic].stale_share.at(asyncio.get_running_loop().time())

    async def _watch_topics(self) -> None:
        try:
            await watch_topics(self._settings.bootstrap, self._topic_ids)
        except TopicChangedError:
            self._reader.commit_nothing_more()
            raise

    async def _topic_facts(self) -> dict[str, TopicFacts]:
        return await topic_facts(self._settings.bootstrap, self._settings.consumed, skip_missing=True)

    def _on_assigned(self, assigned: Collection[Partition]) -> None:
        self._dead_letters.notes.forget()
        self.on_assigned(len(assigned))

    async def _end(self, part: str, ending: Coroutine[Any, Any, None]) -> None:
        """Waits for the end of a part within its time, then leaves it alone.

        A wait with a time limit would not do: Faust swallows cancellations while it stops.
        """
        task = asyncio.create_task(ending, name=f"end {part}")
        done, _ = await asyncio.wait({task}, timeout=self._settings.stop_within_s)
        if not done:
            task.cancel()
            task.add_done_callback(_retrieve_error)
            log.warning("stopped_hard", what=part, why=f"took over {self._settings.stop_within_s} s")
        elif error := task.exception():
            log.warning("stopped_hard", what=part, why=f"{type(error).__name__}: {error}")


def _retrieve_error(task: asyncio.Task[None]) -> None:
    """Keeps asyncio from logging an error that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
