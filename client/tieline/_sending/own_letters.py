"""The dead letters of one producer: what ingestion refused of what this process sent."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tieline.backoff import Backoff
from tieline.cancelling import end_all
from tieline.kafka import REQUEST_TIMEOUT_MS, Brokers, connecting
from tieline.topics import MIB

AUTHORS_MAX = 256  # (source, incarnation) that one producer is taken to speak for
RETRY_FIRST_S, RETRY_LONGEST_S = 1.0, 30.0
READ_FOR_MS = 1_000
LETTER_MAX_BYTES = 2 * MIB
REASON, PLACE = "tieline_reason", "tieline_place"

Header = tuple[str, bytes | None]


class Author(NamedTuple):
    """Who sent an event: the CloudEvents source, and the incarnation of the process."""

    source: str
    incarnation: str


class OwnLetter(NamedTuple):
    """What a dead letter says of its record."""

    event_id: str
    reason: str
    place: str


def author_of(headers: Sequence[Header]) -> Author | None:
    """Who sent the record of a report, statement or capacity with these headers; None for any other."""
    by_name = _texts(headers)
    key = by_name.get("ce_partitionkey", "")
    event_id = by_name.get("ce_id", "")
    if not key or not event_id.endswith(f"-{key}"):
        return None
    incarnation, _, sequence = event_id.removesuffix(f"-{key}").rpartition("-")
    return Author(by_name.get("ce_source", ""), incarnation) if incarnation and sequence.isdigit() else None


def own_letter(headers: Sequence[Header], authors: OrderedDict[Author, None]) -> OwnLetter | None:
    """The letter with these headers, if one of ``authors`` sent its record."""
    author = author_of(headers)
    if author is None or author not in authors:
        return None
    by_name = _texts(headers)
    if REASON not in by_name:  # what an operator did about a letter
        return None
    return OwnLetter(by_name["ce_id"], by_name[REASON], by_name.get(PLACE, ""))


class OwnLetters:
    """Reads the dead-letter topic from the first acknowledgement on, and hands over the letters of its own.

    Reading begins with ``sent``, at the broker's time of that record, so that no letter is missed however
    late the connection comes about. Used in one event loop.
    """

    def __init__(self, bootstrap: str | Brokers, topic: str, on_letter: Callable[[OwnLetter], None]) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._on_letter = on_letter
        self._authors: OrderedDict[Author, None] = OrderedDict()
        self._since_ms = 0
        self._next_offsets: dict[int, int] = {}  # by partition
        self._reading: asyncio.Task[None] | None = None
        self.error = ""

    def sent(self, headers: Sequence[Header], append_ms: int) -> None:
        """A record with these headers was acknowledged at ``append_ms``, the broker's time."""
        author = author_of(headers)
        if author is None:
            return
        self._authors[author] = None
        self._authors.move_to_end(author)
        if len(self._authors) > AUTHORS_MAX:
            self._authors.popitem(last=False)
        if self._reading is None:
            self._since_ms = append_ms
            self._reading = asyncio.create_task(self._run(), name="tieline producer dead letters")

    async def stop(self) -> None:
        """End the reading."""
        reading, self._reading = self._reading, None
        if reading is not None:
            await end_all([reading])

    async def _run(self) -> None:
        from aiokafka.errors import KafkaError

        backoff = Backoff(RETRY_FIRST_S, RETRY_LONGEST_S)
        while True:
            try:
                await self._read(backoff)
            except (KafkaError, OSError, TimeoutError) as error:
                self.error = f"{self._topic} can't be read: {str(error) or type(error).__name__}"
            await asyncio.sleep(backoff.next_s())

    async def _read(self, backoff: Backoff) -> None:
        from aiokafka import AIOKafkaConsumer, TopicPartition

        consumer = AIOKafkaConsumer(
            **connecting(self._bootstrap),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            max_partition_fetch_bytes=LETTER_MAX_BYTES,
        )
        try:
            await consumer.start()
            await consumer.topics()
            numbers = consumer.partitions_for_topic(self._topic)
            if not numbers:
                self.error = f"Kafka has no topic {self._topic}"
                return
            partitions = [TopicPartition(self._topic, number) for number in sorted(numbers)]
            consumer.assign(partitions)
            await self._seek(consumer, partitions)
            self.error = ""
            backoff.reset()
            while True:
                batches = await consumer.getmany(timeout_ms=READ_FOR_MS)
                for partition, records in batches.items():
                    self._take(partition.partition, records)
        finally:
            await consumer.stop()

    async def _seek(self, consumer: Any, partitions: list[Any]) -> None:
        times = await consumer.offsets_for_times(dict.fromkeys(partitions, self._since_ms))
        ends = await consumer.end_offsets(partitions)
        for partition in partitions:
            first = times.get(partition)
            offset = first.offset if first is not None else ends[partition]
            consumer.seek(partition, self._next_offsets.setdefault(partition.partition, offset))

    def _take(self, partition: int, records: Sequence[Any]) -> None:
        for record in records:
            self._next_offsets[partition] = record.offset + 1
            if (letter := own_letter(record.headers, self._authors)) is not None:
                self._on_letter(letter)


def _texts(headers: Sequence[Header]) -> dict[str, str]:
    """Headers as text; of two with one name the later counts, so ours count before those of the record."""
    return {name: (text or b"").decode("utf-8", "replace") for name, text in headers}
