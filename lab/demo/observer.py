"""Follows a run without touching it: the ordered logs in Kafka, the stand-ins' logs, the callers' notes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from controller.decisions.record import Decision
from controller.routes.record import RoutesRecord, decode_record
from controller.routes.rule import epoch_of
from lab.demo.files import Growing
from lab.demo.picture import Picture
from lab.demo.records import CallerLine, Calls, Ended, collect, parse
from lab.standins import ledger
from tieline.kafka import Brokers, connecting
from tieline.table import TableError
from tieline.topics import Topics

LOOK_EVERY_S = 0.1
POLL_MS = 200
APPENDS_MAX = 200_000
RETRY_AFTER_S = 0.5
_decisions = msgspec.msgpack.Decoder(Decision)


class Observer:
    """Feeds the picture, and keeps what the facts are made of."""

    def __init__(self, picture: Picture, bootstrap: str | Brokers, topics: Topics) -> None:
        self.picture = picture
        self.records: list[RoutesRecord] = []
        self.events_ms: dict[str, int] = {}
        self.log_lines: list[ledger.Line] = []
        self.caller_lines: list[CallerLine] = []
        self._bootstrap = bootstrap
        self._topics = topics
        self._appended: dict[tuple[int, int], int] = {}
        self._logs: list[Growing] = []
        self._notes: list[Growing] = []
        self._epoch = -1
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def calls(self) -> Calls:
        """The callers' notes so far."""
        return collect(self.caller_lines)

    def watch_files(self, logs: list[Path], notes: list[Path]) -> None:
        """Which files to follow."""
        self._logs = [Growing(path) for path in logs]
        self._notes = [Growing(path) for path in notes]

    def start(self) -> None:
        """Follow everything until ``stop``."""
        self._tasks = [
            asyncio.create_task(self._follow_kafka(), name="observe kafka"),
            asyncio.create_task(self._follow_files(), name="observe files"),
        ]

    async def stop(self) -> None:
        """Stop following, and read the files to their ends."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        while self.look():
            pass

    def failure(self) -> BaseException | None:
        """What ended the observation, if anything did."""
        ended = [task for task in self._tasks if task.done() and not task.cancelled()]
        return next((task.exception() for task in ended if task.exception()), None)

    def look(self) -> bool:
        """Read what the files have gained; whether it was anything."""
        gained = False
        for log in self._logs:
            lines = ledger.parse(log.new().splitlines())
            self.log_lines.extend(lines)
            self.picture.standin_lines(lines)
            gained = gained or bool(lines)
        for notes in self._notes:
            said = parse(notes.new())
            self.caller_lines.extend(said)
            self.picture.ended(line for line in said if isinstance(line, Ended))
            gained = gained or bool(said)
        return gained

    async def _follow_files(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _follow_kafka(self) -> None:
        """Every partition from its beginning, without a group. Kafka may go away and come back."""
        topics = self._topics
        consumer: Any = AIOKafkaConsumer(
            **connecting(self._bootstrap),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=10 * 1024 * 1024,
        )
        await self._connect(consumer)
        try:
            places = [
                TopicPartition(topic.name, partition)  # made for this run, so they are as many as we make
                for topic in (topics.routes, topics.decisions, topics.demand)
                for partition in range(topic.partitions)
            ]
            consumer.assign(places)
            while True:
                await self._poll(consumer)
        finally:
            await consumer.stop()

    async def _connect(self, consumer: Any) -> None:
        while True:
            try:
                await consumer.start()
            except KafkaError:
                await asyncio.sleep(RETRY_AFTER_S)
            else:
                return

    async def _poll(self, consumer: Any) -> None:
        try:
            batches = await consumer.getmany(timeout_ms=POLL_MS)
        except KafkaError:
            await asyncio.sleep(RETRY_AFTER_S)
            return
        for place, records in batches.items():
            for record in records:
                if place.topic == self._topics.demand.name:
                    if len(self._appended) < APPENDS_MAX:
                        self._appended[place.partition, record.offset] = record.timestamp
                elif place.topic == self._topics.routes.name:
                    self._take_publication(record)
                elif record.value is not None:
                    self._take_decision(record.value)

    def _take_publication(self, record: Any) -> None:
        """By the counting rule: behind a higher epoch nothing counts."""
        named = epoch_of(record.key)
        if named is None or record.value is None or named[0] < self._epoch:
            return
        self._epoch = named[0]
        try:
            decoded = decode_record(record.value)
        except TableError:
            return
        self.records.append(decoded)
        self.picture.publication(decoded)

    def _take_decision(self, body: bytes) -> None:
        """Remember the newest event that an urgent decision rests on."""
        try:
            made = _decisions.decode(body)
        except msgspec.MsgspecError:
            return
        if not made.ready.urgent:
            return
        if made.changed is not None:
            rows = [row for _, row in (*made.changed.reports, *made.changed.capacities)]
            demand = [row for _, row in made.changed.demand]
        elif made.whole is not None:
            rows = [*made.whole.reports, *made.whole.capacities]
            demand = list(made.whole.demand)
        else:
            return
        times = [row.append_ms for row in rows]
        times += [self._appended.get((row.position.partition, row.position.offset), 0) for row in demand]
        if newest_ms := max(times, default=0):
            self.events_ms[str(made.generation)] = newest_ms
