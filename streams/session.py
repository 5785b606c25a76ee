"""One life of the ingesting part: lanes, agents, progress and dead letters, started and stopped together."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from streams.consumer_thread import abandon, prepare
from streams.deadletter import DeadLetters
from streams.handling import Gate, Handler
from streams.judge import Judge
from streams.lane import Lane
from streams.positions import ClockOffsets, Offsets, Place
from streams.progress import ProgressReporter
from streams.settings import IngestSettings
from streams.store import Tables
from streams.storing import DemandStorer, RowStorer, Storer

STALLED_AFTER_S = 30.0

log = structlog.get_logger(__name__)


class Session:
    """Everything that reads one installation's events, over one Faust app that it starts and stops."""

    def __init__(
        self,
        settings: IngestSettings,
        tables: Tables,
        judge: Judge,
        clock: ClockOffsets,
        recover: Callable[[], Awaitable[None]],
        on_material: Callable[[], None],
    ) -> None:
        self._settings = settings
        self.gate = Gate()
        self.handlers: dict[str, Handler] = {}
        self.lanes: dict[str, Lane] = {}
        self._dead_letters = DeadLetters(settings.bootstrap, settings.topics.deadletter.name)
        self._offsets = Offsets(settings.bootstrap, settings.group)
        for topic in settings.consumed:
            self._add_lane(topic, tables, judge, clock, recover, on_material)
        self.progress = ProgressReporter(tables, self._offsets, self.lanes, clock, self.assigned, recover)
        self.on_assigned: Callable[[int], None] = lambda _: None  # hears of each assignment's size
        self._agent_error: BaseException | None = None
        self._app: Any = None
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self, app: Any) -> None:
        """Starts reading through ``app``, a Faust app whose agents feed the lanes."""
        self._app = app
        prepare(app)
        self.gate.rebalancing = lambda: bool(app.rebalancing)
        app.on_partitions_revoked.connect(self._on_revoked)
        app.on_partitions_assigned.connect(self._on_assigned)
        await self._offsets.start()
        for topic, lane in self.lanes.items():
            self._tasks[topic] = asyncio.create_task(lane.run(), name=f"lane {topic}")
        await app.start()
        every_s = self._settings.progress_every_s
        self._tasks["progress"] = asyncio.create_task(self.progress.run(every_s), name="progress")

    async def stop(self) -> None:
        """Lets running work end, within the grace; whatever is not safe then stays uncommitted.

        Never raises: the caller is on its way out, or about to start another session.
        """
        self.gate.close()
        if self._app is not None:
            await self._end("app", self._app.stop())
            await abandon(self._app)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._end("dead letters", self._dead_letters.stop())
        await self._end("offsets", self._offsets.stop())

    def assigned(self) -> set[Place]:
        """The partitions that this process reads now."""
        if self._app is None or self._app.rebalancing:
            return set()
        return {(tp.topic, tp.partition) for tp in self._app.consumer.assignment()}

    def note_agent_error(self, error: BaseException) -> None:
        """An agent has ended: this session can't go on, as nobody knows what the agent had in hand."""
        self._agent_error = error

    def complaint(self) -> str | None:
        """What is wrong, or None. A lane that is held back by Redis or Kafka is not: it waits for them."""
        for name, task in self._tasks.items():
            if task.done():
                error = None if task.cancelled() else task.exception()
                return f"{name} has ended: {type(error).__name__}: {error}"
        if self._agent_error is not None:
            return f"an agent has ended: {type(self._agent_error).__name__}: {self._agent_error}"
        if self._app.should_stop or self._app.crashed:
            return f"the Faust app has stopped: {self._app.crash_reason!r}"
        for name, agent in sorted(self._app.agents.items()):
            if agent.should_stop or agent.crashed:
                return f"agent {name} has stopped"
        place = self.progress.stalled(STALLED_AFTER_S)
        if place is not None and self.handlers[place[0]].held_back_since is None:
            return f"partition {place[1]} of {place[0]} does not advance"
        return None

    def counts(self) -> Counter[str]:
        """What all handlers counted so far."""
        total: Counter[str] = Counter()
        for handler in self.handlers.values():
            total.update(handler.counts)
        return total

    def _add_lane(
        self,
        topic: str,
        tables: Tables,
        judge: Judge,
        clock: ClockOffsets,
        recover: Callable[[], Awaitable[None]],
        on_material: Callable[[], None],
    ) -> None:
        counts: Counter[str] = Counter()

        def count(name: str) -> None:
            counts[name] += 1

        storer: Storer
        if topic == self._settings.topics.demand.name:
            storer = DemandStorer(tables, count, lambda: judge.registered.pools)
        else:
            storer = RowStorer(tables, count)
        handler = Handler(
            judge, storer, self._dead_letters, self.gate, recover, on_material, clock.broker_now_ms
        )
        handler.counts = counts
        self.handlers[topic] = handler
        self.lanes[topic] = Lane(
            handler.handle,
            group_max=self._settings.records_per_batch_max,
            waiting_max=self._settings.records_waiting_max,
        )

    async def _on_revoked(self, _app: Any, revoked: set[Any], **_: Any) -> None:
        for tp in revoked:
            self.lanes[tp.topic].forget(tp.topic, tp.partition)

    async def _on_assigned(self, _app: Any, assigned: set[Any], **_: Any) -> None:
        self.on_assigned(len(assigned))

    async def _end(self, what: str, ending: Coroutine[Any, Any, None]) -> None:
        """Waits for it within the grace, then leaves it: Faust swallows cancellations while it stops."""
        task = asyncio.create_task(ending, name=f"end {what}")
        done, _ = await asyncio.wait({task}, timeout=self._settings.stop_within_s)
        if not done:
            task.cancel()
            task.add_done_callback(_look_at)
            log.warning("stopped_hard", what=what, why=f"took over {self._settings.stop_within_s} s")
        elif error := task.exception():
            log.warning("stopped_hard", what=what, why=f"{type(error).__name__}: {error}")


def _look_at(task: asyncio.Task[None]) -> None:
    """An error that nobody waits for any more is no news."""
    if not task.cancelled():
        task.exception()
