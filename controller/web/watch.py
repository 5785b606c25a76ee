"""Draws the live page's picture while somebody looks at it, from what Kafka and Redis hold.

Nothing is followed while nobody looks, so that an endpoint that only serves tables costs no more than before.
A picture is made at each publication and otherwise once a second, at most every ``SPACING_S``. Making it is
work for a thread, so that tables and reports are served meanwhile.
"""

import asyncio
from collections import deque
from contextlib import AsyncExitStack
from typing import Any

from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord
from redis.exceptions import RedisError

from controller.history.entries import Entry
from controller.history.reader import OnceOnly
from controller.kafka.ordered_log import Tail, watch_logs
from controller.leading.fitness_watch import RECORDS_READ_MAX
from controller.leading.presence import Roster
from controller.leading.routes_reader import RoutesReader
from controller.process.clock import monotonic_ms, now_ms
from controller.process.connections import connect_redis
from controller.process.errors import TopicMissingError, UserError
from controller.process.settings import KAFKA, Settings
from controller.process.supervise import together
from controller.status.controllers import rows_of
from controller.status.gather import FromKafka, FromRedis, projected_table, status_of
from controller.status.leadership import leader_of
from controller.status.live import Moment, snapshot_of
from controller.status.outlook import Outlook, outlook_of
from controller.status.sightings import DeadLettersSeen, dead_letters_seen, overlay_seen
from controller.web.live import Sections, View, sections_of
from controller.web.picture import Picture
from streams.store import Contents
from streams.tables import RedisTables
from tieline.backoff import Backoff
from tieline.cancelling import end_all
from tieline.table import TableError

LOOK_EVERY_S = 1.0
SPACING_S = 0.4
OUTLOOK_EVERY_MS = 5_000
LETTERS_EVERY_S = 15.0
REDIS_WITHIN_S = 3.0
ENTRIES_KEPT_MAX = 200
RECORDS_OF_HISTORY = 300  # at the end of the log, where the timeline begins
LINGER_MS = 30_000  # what was followed is followed on for so long after the last reader left
KAFKA_AGAIN_MS = 5_000  # after it could not be read
PROVE_EVERY_S = 2.0
RETRY_FIRST_S = 0.5
RETRY_LONGEST_S = 5.0
READING_ERRORS = (KafkaError, RedisError, OSError, TimeoutError, UserError, TableError)


class KafkaSide:
    """Follows what Kafka holds, as long as the context lasts. ``error`` says that Kafka does not answer now;
    ``entries`` are the newest of the history. Entering raises KafkaError, TimeoutError or ``UserError``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._routes = RoutesReader(settings.kafka, settings.topics)
        self._roster = Roster()
        self._controllers = Tail(settings.kafka, settings.topics.controllers.name, self._roster.take)
        self._history = Tail(settings.kafka, settings.topics.history.name, self._note)
        self._letters: DeadLettersSeen | None = None
        self._closing = AsyncExitStack()
        self._following: asyncio.Task[None] | None = None
        self.entries: deque[Entry] = deque(maxlen=ENTRIES_KEPT_MAX)
        self._once = OnceOnly()
        self._drawn_offset = 0
        self._has_history = False
        self.error = ""

    async def __aenter__(self) -> "KafkaSide":
        async with AsyncExitStack() as closing:
            await closing.enter_async_context(self._routes)
            await self._controllers.start(last=RECORDS_READ_MAX)
            closing.push_async_callback(self._controllers.stop)
            self._has_history = await self._start_history(closing)
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
                self.error = f"Kafka can't be read: {_words(error)}"
            await asyncio.sleep(PROVE_EVERY_S)

    async def _count_letters(self) -> None:
        while True:
            self._letters = await dead_letters_seen(self._settings, now_ms())
            await asyncio.sleep(LETTERS_EVERY_S)


class Watch:
    """Keeps a picture at what Kafka and Redis hold, while somebody looks at it."""

    def __init__(self, settings: Settings, picture: Picture) -> None:
        self._settings = settings
        self._picture = picture
        self._outlook: Outlook | None = None
        self._outlook_due_ms = 0
        self._at_work: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Draws until cancelled."""
        backoff = Backoff(RETRY_FIRST_S, RETRY_LONGEST_S)
        while True:
            await self._picture.wanted()
            try:
                await self._draw_while_looked_at(backoff)
            except READING_ERRORS as error:
                self._picture.fail(_words(error))
                await asyncio.sleep(backoff.next_s())

    async def _draw_while_looked_at(self, backoff: Backoff) -> None:
        """Returns when nobody has looked for a while, or to try Kafka again where it could not be read."""
        async with AsyncExitStack() as closing:
            redis = connect_redis(self._settings.redis)
            closing.push_async_callback(redis.aclose)
            closing.push_async_callback(self._end_work)
            source = _RedisSide(self._settings, redis)
            kafka, missing = await self._kafka_side(closing)
            until_ms = monotonic_ms() + KAFKA_AGAIN_MS if self._settings.kafka and kafka is None else None
            left_ms: int | None = None
            while left_ms is None or monotonic_ms() - left_ms < LINGER_MS:
                if kafka is not None:
                    kafka.check()
                await self._draw(kafka, source, missing)
                if kafka is not None:
                    backoff.reset()
                if until_ms is not None and monotonic_ms() > until_ms:
                    return
                await asyncio.sleep(SPACING_S)
                left_s = LOOK_EVERY_S - SPACING_S
                await (kafka.moved(left_s) if kafka is not None else asyncio.sleep(left_s))
                left_ms = None if self._picture.readers else left_ms or monotonic_ms()

    async def _kafka_side(self, closing: AsyncExitStack) -> tuple[KafkaSide | None, tuple[str, ...]]:
        """Kafka's side, or why there is none: the picture is then made of what Redis has."""
        if not self._settings.kafka:
            return None, (f"{KAFKA} is not set: so states, reasons and the leader are not known",)
        try:
            return await closing.enter_async_context(KafkaSide(self._settings)), ()
        except READING_ERRORS as error:
            return None, (f"Kafka can't be read: {_words(error)}",)

    async def _draw(self, kafka: KafkaSide | None, source: "_RedisSide", missing: tuple[str, ...]) -> None:
        at_ms = now_ms()
        from_kafka = kafka.now(at_ms) if kafka is not None else None
        if kafka is not None and kafka.error:
            missing = (*missing, kafka.error)
        from_redis = await source.now(with_table=from_kafka is None)
        if from_redis is None:
            missing = (*missing, f"Redis can't be read: {source.error}")
        entries = tuple(kafka.entries) if kafka is not None else ()
        sections, moment = await asyncio.to_thread(
            _drawn, from_kafka, from_redis, missing, outlook=self._outlook, entries=entries
        )
        self._picture.show(sections, now_ms(), moment)
        self._renew_outlook(moment)

    def _renew_outlook(self, moment: Moment | None) -> None:
        """Begins to work it out anew if that is due, beside the pictures, which never wait for it."""
        at_work = self._at_work is not None and not self._at_work.done()
        if moment is not None and not at_work and monotonic_ms() >= self._outlook_due_ms:
            self._at_work = asyncio.create_task(self._work_out(moment))

    async def _work_out(self, moment: Moment) -> None:
        """At most every ``OUTLOOK_EVERY_MS``, and at most a tenth of the time."""
        begin_ms = monotonic_ms()
        self._outlook = await asyncio.to_thread(outlook_of, moment.snapshot, moment.at_ms)
        took_ms = monotonic_ms() - begin_ms
        self._outlook_due_ms = begin_ms + max(OUTLOOK_EVERY_MS, 10 * took_ms)

    async def _end_work(self) -> None:
        if self._at_work is not None:
            await asyncio.gather(self._at_work, return_exceptions=True)


class _RedisSide:
    """Reads what Redis holds; ``error`` says why it could not be read."""

    def __init__(self, settings: Settings, redis: Any) -> None:
        self._settings = settings
        self._redis = redis
        self._tables = RedisTables(redis, settings.keys)
        self.error = ""

    async def now(self, *, with_table: bool) -> FromRedis | None:
        try:
            async with asyncio.timeout(REDIS_WITHIN_S):
                contents = await self._tables.read()
                overlay = await overlay_seen(self._redis, self._settings, now_ms())
                projected = await projected_table(self._redis, self._settings) if with_table else None
                return FromRedis(contents, projected, overlay)
        except (RedisError, OSError, TimeoutError) as error:
            self.error = _words(error)
            return None


def _drawn(
    from_kafka: FromKafka | None,
    from_redis: FromRedis | None,
    missing: tuple[str, ...],
    *,
    outlook: Outlook | None,
    entries: tuple[Entry, ...],
) -> tuple[Sections, Moment | None]:
    """The sections of a picture, and the moment it shows where everything could be read. Raises
    ``UserError`` when there is nothing to show."""
    at_ms = now_ms()
    status = status_of(from_kafka, from_redis, at_ms, missing=missing)
    contents = from_redis.contents if from_redis is not None else Contents()
    moment = None
    if from_kafka is not None and from_kafka.record.table is not None:
        snapshot = snapshot_of(from_kafka.record, contents, status.commands)
        moment = Moment(at_ms, snapshot, from_kafka.record.unsigned_commands)
    view = View(status, contents, moment.snapshot if moment else None, outlook=outlook, timeline=entries)
    return sections_of(view), moment if not missing else None


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
