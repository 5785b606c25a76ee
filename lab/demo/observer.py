"""Watches a run without touching it: the topics in Kafka, the stand-ins' logs, the callers' notes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from controller.decisions.record import Decision
from controller.routes.counting_rule import epoch_of
from controller.routes.record import RoutesRecord, decode_record
from lab.demo.picture import Picture
from lab.demo.records import CallerNote, Calls, RequestEnd, collect, parse
from lab.standins import ledger
from tieline.kafka import Brokers, brokers_of, close_consumer, connect
from tieline.table import TableError
from tieline.topics import Topics

LOOK_EVERY_S = 0.1
POLL_MS = 200
APPENDS_MAX = 200_000
RETRY_AFTER_S = 0.5
BLOCK_MAX_BYTES = 4 * 1024 * 1024
_decisions = msgspec.msgpack.Decoder(Decision)


class GrowingFile:
    """A file that another process appends whole lines to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new_lines(self) -> bytes:
        """The whole lines since the last call, at most 4 MiB; nothing while the file doesn't exist."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                block = file.read(BLOCK_MAX_BYTES)
        except FileNotFoundError:
            return b""
        lines = block[: block.rfind(b"\n") + 1]
        self._offset += len(lines)
        return lines


class Observer:
    """Feeds the picture, and keeps everything that the facts are made of.

    ``events_ms``: generation -> append time of the newest event that an urgent decision rests on.
    """

    def __init__(self, picture: Picture, bootstrap: str | Brokers, topics: Topics) -> None:
        self.picture = picture
        self.records: list[RoutesRecord] = []
        self.events_ms: dict[str, int] = {}
        self.log_lines: list[ledger.LogLine] = []
        self.caller_notes: list[CallerNote] = []
        self._bootstrap = bootstrap
        self._topics = topics
        self._append_ms: dict[tuple[int, int], int] = {}
        self._log_files: list[GrowingFile] = []
        self._note_files: list[GrowingFile] = []
        self._epoch = -1
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def calls(self) -> Calls:
        """The callers' notes so far."""
        return collect(self.caller_notes)

    def watch_files(self, logs: list[Path], notes: list[Path]) -> None:
        """Names the files to read: the stand-ins' logs and the callers' notes."""
        self._log_files = [GrowingFile(path) for path in logs]
        self._note_files = [GrowingFile(path) for path in notes]

    def start(self) -> None:
        """Watches until ``stop``."""
        self._tasks = [
            asyncio.create_task(self._follow_kafka(), name="observe kafka"),
            asyncio.create_task(self._follow_files(), name="observe files"),
        ]

    async def stop(self) -> None:
        """Stops watching Kafka, and reads the files to their ends."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        while self.look():
            pass

    def failure(self) -> BaseException | None:
        """The error that ended the watching, if there is one."""
        ended = [task for task in self._tasks if task.done() and not task.cancelled()]
        return next((task.exception() for task in ended if task.exception()), None)

    def look(self) -> bool:
        """Reads what is new in the files. Returns whether there was anything."""
        count_before = len(self.log_lines) + len(self.caller_notes)
        for file in self._log_files:
            lines = ledger.parse(file.new_lines().splitlines())
            self.log_lines.extend(lines)
            self.picture.standin_lines(lines)
        for file in self._note_files:
            notes = parse(file.new_lines())
            self.caller_notes.extend(notes)
            self.picture.request_ends(note for note in notes if isinstance(note, RequestEnd))
        return len(self.log_lines) + len(self.caller_notes) > count_before

    async def _follow_files(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _follow_kafka(self) -> None:
        """Reads every partition from its beginning, without a group. Kafka may go away and come back."""
        topics = self._topics
        consumer: Any = brokers_of(self._bootstrap).consumer(
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=10 * 1024 * 1024,
        )
        try:
            await self._connect(consumer)
            places = [
                TopicPartition(topic.name, partition)  # the run created the topics, so the counts are ours
                for topic in (topics.routes, topics.decisions, topics.demand)
                for partition in range(topic.partitions)
            ]
            consumer.assign(places)
            while True:
                await self._poll(consumer)
        finally:
            await close_consumer(consumer)

    async def _connect(self, consumer: Any) -> None:
        while True:
            try:
                await connect(consumer)
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
                    if len(self._append_ms) < APPENDS_MAX:
                        self._append_ms[place.partition, record.offset] = record.timestamp
                elif place.topic == self._topics.routes.name:
                    self._take_publication(record)
                elif record.value is not None:
                    self._take_decision(record.value)

    def _take_publication(self, record: Any) -> None:
        """Takes a record of the routes log. It doesn't count if one of a higher epoch came before it."""
        key = epoch_of(record.key)
        if key is None or record.value is None or key[0] < self._epoch:
            return
        self._epoch = key[0]
        try:
            publication = decode_record(record.value)
        except TableError:
            return
        self.records.append(publication)
        self.picture.publication(publication)

    def _take_decision(self, body: bytes) -> None:
        """Remembers when the newest event that an urgent decision rests on was appended."""
        try:
            decision = _decisions.decode(body)
        except msgspec.MsgspecError:
            return
        if not decision.ready.urgent:
            return
        if decision.changed is not None:
            rows = [row for _, row in (*decision.changed.reports, *decision.changed.capacities)]
            demand = [row for _, row in decision.changed.demand]
        elif decision.whole is not None:
            rows = [*decision.whole.reports, *decision.whole.capacities]
            demand = list(decision.whole.demand)
        else:
            return
        times = [row.append_ms for row in rows]
        times += [self._append_ms.get((row.position.partition, row.position.offset), 0) for row in demand]
        if newest_ms := max(times, default=0):
            self.events_ms[str(decision.generation)] = newest_ms
