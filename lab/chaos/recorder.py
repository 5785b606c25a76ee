"""Records a run from outside: the routes log, Redis, what callers noted, what stand-ins logged.

It reads past all links, so that a fault between two parts blinds nobody here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from controller.process.clock import now_ms
from controller.routes.counting_rule import epoch_of
from controller.routes.record import RoutesRecord, decode_record
from lab.chaos.facts import ClientLife, Publication, RedisView
from lab.demo.observer import GrowingFile
from lab.demo.records import parse
from lab.standins import ledger
from tieline.cancelling import end_all
from tieline.kafka import close_consumer
from tieline.keys import MANIFEST_FIELD, Keys
from tieline.table import Generation, TableError, decode_manifest
from tieline.topics import Topics

LOOK_EVERY_S = 0.1
POLL_MS = 200
RETRY_AFTER_S = 0.3
REDIS_WITHIN_S = 1.0
ANSWERS_WITHIN_MS = 3_000  # a broker that stands still must not blind the recorder for longer
RECORD_BYTES_MAX = 10 * 1024 * 1024


class Places(NamedTuple):
    """Where the recorder looks: Kafka and Redis directly, and the namespace."""

    kafka: str
    redis: str
    namespace: str


class Recorder:
    """Follows everything until ``stop``. Lists only grow; a fault's own part begins at a ``mark``."""

    def __init__(self, places: Places) -> None:
        self.publications: list[Publication] = []
        self.redis_views: list[RedisView] = []
        self.log_lines: list[ledger.LogLine] = []
        self.lives: dict[str, ClientLife] = {}
        self._places = places
        self._topic = Topics(places.namespace).routes.name
        self._highest_epoch = -1
        self._history = 0  # how often the log has begun anew
        self._next_offset = 0
        self._logs: list[GrowingFile] = []
        self._notes: dict[str, GrowingFile] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def watch_logs(self, paths: Iterable[Path]) -> None:
        """Names the stand-ins' logs."""
        self._logs = [GrowingFile(path) for path in paths]

    def watch_caller(self, life: str, notes: Path) -> None:
        """Names the notes of one life of a calling process."""
        self.lives[life] = ClientLife(life)
        self._notes[life] = GrowingFile(notes)

    def start(self) -> None:
        """Follows from now on."""
        for name, task in (
            ("routes", self._follow_routes()),
            ("redis", self._follow_redis()),
            ("files", self._follow_files()),
        ):
            self._tasks[name] = asyncio.create_task(task, name=f"record {name}")

    async def stop(self) -> None:
        """Follows no more, and reads the files to their ends."""
        await end_all(self._tasks.values())
        self._look_at_files()

    async def reopen_routes(self) -> None:
        """Reads the routes log anew from its beginning, because it is another one now."""
        await end_all([self._tasks["routes"]])
        self._highest_epoch, self._next_offset = -1, 0
        self._history += 1
        self._tasks["routes"] = asyncio.create_task(self._follow_routes(), name="record routes")

    def failure(self) -> BaseException | None:
        """The error that ended the following, if there is one."""
        ended = [task for task in self._tasks.values() if task.done() and not task.cancelled()]
        return next((error for task in ended if (error := task.exception())), None)

    @property
    def newest(self) -> RoutesRecord | None:
        """The newest publication that counts."""
        counting = (item.record for item in reversed(self.publications) if item.counts)
        return next((record for record in counting if record is not None and record.table is not None), None)

    @property
    def redis(self) -> RedisView | None:
        """What Redis held when it was last looked at; None before."""
        return self.redis_views[-1] if self.redis_views else None

    async def _follow_files(self) -> None:
        while True:
            self._look_at_files()
            await asyncio.sleep(LOOK_EVERY_S)

    def _look_at_files(self) -> None:
        for log in self._logs:
            self.log_lines.extend(ledger.parse(log.new_lines().splitlines()))
        for life, file in self._notes.items():
            self.lives[life].add(parse(file.new_lines()))

    async def _follow_routes(self) -> None:
        """Reads the log from its beginning; Kafka may go away and come back."""
        place = TopicPartition(self._topic, 0)
        while True:
            consumer: Any = AIOKafkaConsumer(
                bootstrap_servers=self._places.kafka,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                max_partition_fetch_bytes=RECORD_BYTES_MAX,
                metadata_max_age_ms=2_000,
                request_timeout_ms=ANSWERS_WITHIN_MS,
            )
            try:
                await consumer.start()
                consumer.assign([place])
                consumer.seek(place, self._next_offset)
                while True:
                    for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                        for record in records:
                            self._take(record)
            except (KafkaError, OSError, TimeoutError):
                await asyncio.sleep(RETRY_AFTER_S)
            finally:
                with suppress(KafkaError, OSError):
                    await close_consumer(consumer)

    def _take(self, record: Any) -> None:
        """Takes one record. It counts only if none of a higher epoch lies before it."""
        self._next_offset = record.offset + 1
        key = epoch_of(record.key)
        if key is None or record.value is None:
            return
        epoch = key[0]
        counts = epoch >= self._highest_epoch
        self._highest_epoch = max(self._highest_epoch, epoch)
        try:
            body: RoutesRecord | None = decode_record(record.value)
        except TableError:
            body = None
        self.publications.append(
            Publication(
                self._history,
                record.offset,
                epoch,
                seen_ms=now_ms(),
                append_ms=record.timestamp,
                counts=counts,
                record=body,
            )
        )

    async def _follow_redis(self) -> None:
        keys = Keys(self._places.namespace)
        async with Redis.from_url(
            self._places.redis, socket_timeout=REDIS_WITHIN_S, socket_connect_timeout=REDIS_WITHIN_S
        ) as redis:
            while True:
                view = await _look_at_redis(redis, keys)
                before = self.redis
                if before is None or view._replace(seen_ms=before.seen_ms) != before:
                    self.redis_views.append(view)
                await asyncio.sleep(LOOK_EVERY_S)


async def _look_at_redis(redis: Any, keys: Keys) -> RedisView:
    """What lies there now: the generation and the checksums of the slices."""
    at_ms = now_ms()
    try:
        lineage, epoch, seq, data = await redis.hmget(keys.routes, "lineage", "epoch", "seq", MANIFEST_FIELD)
    except (RedisError, OSError, TimeoutError):
        return RedisView(at_ms, "away")
    if None in (lineage, epoch, seq, data):
        return RedisView(at_ms, "empty")
    manifest = decode_manifest(data)
    place = Generation(lineage.decode(), int(epoch), int(seq))
    return RedisView(at_ms, "", place, slices=manifest.slices)
