"""Follows what Kafka and Redis hold over connections that stay open, for whoever shows it again and again.

The live page and `tieline status --watch` follow; a command that shows the status once reads it by
``gather.read_status``. A server that is away leaves out what only it knows, as there, and is tried again.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import NamedTuple

from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from controller.history.entries import Entry
from controller.history.reader import OnceOnly
from controller.kafka.ordered_log import Tail, watch_logs
from controller.leading.presence import RECORDS_READ_MAX, Roster
from controller.leading.routes_reader import RoutesReader
from controller.process.clock import monotonic_ms, now_ms
from controller.process.errors import TopicMissingError, UserError
from controller.process.redis_reader import RedisUnreadError
from controller.process.settings import Settings
from controller.process.supervise import together
from controller.status.controllers import rows_of
from controller.status.dead_letters import DeadLettersSeen, dead_letters_seen
from controller.status.gather import NO_KAFKA, NO_REDIS, FromKafka
from controller.status.leadership import leader_of
from controller.status.redis_side import FromRedis, RedisSide
from tieline.cancelling import end_all
from tieline.table import TableError

LOOK_EVERY_S = 1.0
SPACING_S = 0.4
LETTERS_EVERY_S = 15.0
ENTRIES_KEPT_MAX = 200
RECORDS_OF_HISTORY = 300  # at the end of the log, where the timeline begins
KAFKA_AGAIN_MS = 5_000  # after it could not be read
PROVE_EVERY_S = 2.0
READING_ERRORS = (KafkaError, OSError, TimeoutError, UserError, TableError)


class Findings(NamedTuple):
    """What was read at ``at_ms``. None stands for what could not be read; ``missing`` says why."""

    at_ms: int
    kafka: FromKafka | None
    redis: FromRedis | None
    missing: tuple[str, ...]


class Following:
    """Follows both as long as the context lasts. Entering raises nothing for a server that is away."""

    def __init__(self, settings: Settings, *, with_history: bool = False) -> None:
        self._settings = settings
        self._with_history = with_history
        self._redis = RedisSide(settings)
        self._kafka: KafkaSide | None = None
        self._kafka_missing = NO_KAFKA
        self._again_ms: int | None = None
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> "Following":
        async with AsyncExitStack() as closing:
            await closing.enter_async_context(self._redis)
            if self._settings.kafka:
                await self._follow_kafka(closing)
            self._closing = closing.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The newest of the history."""
        return tuple(self._kafka.entries) if self._kafka is not None else ()

    async def findings(self) -> AsyncIterator[Findings]:
        """What is there, at each publication and otherwise once a second, at most every ``SPACING_S``. Ends
        when Kafka, which could not be read at the beginning, is to be tried again.

        Raises what ended the following, such as ``LogLostError`` for a log that was created anew.
        """
        while self._again_ms is None or monotonic_ms() <= self._again_ms:
            yield await self._now()
            await asyncio.sleep(SPACING_S)
            left_s = LOOK_EVERY_S - SPACING_S
            await (self._kafka.moved(left_s) if self._kafka is not None else asyncio.sleep(left_s))

    async def _follow_kafka(self, closing: AsyncExitStack) -> None:
        try:
            side = KafkaSide(self._settings, with_history=self._with_history)
            self._kafka = await closing.enter_async_context(side)
        except READING_ERRORS as error:
            self._kafka_missing = f"Kafka can't be read: {in_words(error)}"
            self._again_ms = monotonic_ms() + KAFKA_AGAIN_MS

    async def _now(self) -> Findings:
        at_ms, missing = now_ms(), [self._kafka_missing]
        from_kafka = from_redis = None
        if self._kafka is not None:
            self._kafka.check()
            from_kafka, missing = self._kafka.now(at_ms), [self._kafka.error]
        if not self._settings.redis:
            missing.append(NO_REDIS)
        else:
            try:
                from_redis = await self._redis.now(at_ms, with_table=from_kafka is None)
            except RedisUnreadError as error:
                missing.append(f"Redis can't be read: {error.why}")
        return Findings(at_ms, from_kafka, redis=from_redis, missing=tuple(filter(None, missing)))


def in_words(error: BaseException) -> str:
    """What went wrong, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


class KafkaSide:
    """Follows what Kafka holds, as long as the context lasts. ``error`` says that Kafka does not answer now;
    ``entries`` are the newest of the history, if that is wanted. Entering raises KafkaError, TimeoutError or
    ``UserError``."""

    def __init__(self, settings: Settings, *, with_history: bool) -> None:
        self._settings = settings
        self._routes = RoutesReader(settings)
        self._roster = Roster()
        self._controllers = Tail(settings.kafka, settings.topics.controllers.name, self._roster.take)
        self._history = Tail(settings.kafka, settings.topics.history.name, self._note)
        self._letters: DeadLettersSeen | None = None
        self._closing = AsyncExitStack()
        self._following: asyncio.Task[None] | None = None
        self.entries: deque[Entry] = deque(maxlen=ENTRIES_KEPT_MAX)
        self._once = OnceOnly()
        self._drawn_offset = 0
        self._has_history = with_history
        self.error = ""

    async def __aenter__(self) -> "KafkaSide":
        async with AsyncExitStack() as closing:
            await closing.enter_async_context(self._routes)
            await self._controllers.start(last=RECORDS_READ_MAX)
            closing.push_async_callback(self._controllers.stop)
            self._has_history = self._has_history and await self._start_history(closing)
            self._following = asyncio.create_task(self._follow())
            closing.push_async_callback(self._end)
            self._closing = closing.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._closing.aclose()

    def check(self) -> None:
        """Raises what ended the following, such as ``LogLostError`` for a log that was created anew."""
        if self._following is not None and self._following.done():
            self._following.result()

    async def moved(self, within_s: float) -> None:
        """Returns once there is a publication that ``now`` has not given yet, or after ``within_s``."""
        await self._routes.moved_past(self._drawn_offset, within_s)

    def now(self, at_ms: int) -> FromKafka | None:
        """What Kafka holds, as far as it was read; None before the first publication. Raises TableError."""
        self._drawn_offset = self._routes.next_offset
        record = self._routes.newest()
        if record is None:
            return None
        return FromKafka(
            record,
            None if self.error else leader_of(self._routes.leader_log),
            record.orders,
            dead_letters=self._letters,
            controllers=rows_of(self._roster, at_ms),
            pending=tuple(item.brief for item in record.pending),
        )

    async def _follow(self) -> None:
        topics = self._settings.topics
        parts = {"history": self._history.run()} if self._has_history else {}
        await together(
            {
                **parts,
                "routes": self._routes.run(),
                "controllers": self._controllers.run(),
                "dead letters": self._count_letters(),
                "answers": self._note_answers(),
                "logs": watch_logs(self._settings.kafka, [topics.routes.name, topics.leader.name]),
            }
        )

    async def _start_history(self, closing: AsyncExitStack) -> bool:
        """Whether there is a history: a controller of an older version has written none."""
        try:
            await self._history.start(last=RECORDS_OF_HISTORY)
        except TopicMissingError:
            return False
        closing.push_async_callback(self._history.stop)
        return True

    def _note(self, record: ConsumerRecord[bytes | None, bytes | None]) -> None:
        self.entries.extend(self._once.entries(record.value))

    async def _end(self) -> None:
        if self._following is not None:
            await end_all([self._following])

    async def _note_answers(self) -> None:
        """Notes whether Kafka answers: otherwise silence of the leader would be taken for its end."""
        while True:
            try:
                async with asyncio.timeout(PROVE_EVERY_S):
                    await self._routes.end_offset()
                self.error = ""
            except (KafkaError, TimeoutError) as error:
                self.error = f"Kafka can't be read: {in_words(error)}"
            await asyncio.sleep(PROVE_EVERY_S)

    async def _count_letters(self) -> None:
        while True:
            self._letters = await dead_letters_seen(self._settings, now_ms())
            await asyncio.sleep(LETTERS_EVERY_S)
