"""The dead letters of one producer: what ingestion refused of what this process sent."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tieline._sending.reading import reader
from tieline.backoff import Backoff
from tieline.cancelling import end_all, whole
from tieline.kafka import Brokers
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
        self._next_offset: int | None = None
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
        from aiokafka import TopicPartition

        async with reader(self._bootstrap, LETTER_MAX_BYTES) as consumer:
            partition = TopicPartition(self._topic, 0)
            if not await whole(self._seek(consumer, partition)):
                self.error = f"Kafka has no topic {self._topic}"
                return
            self.error = ""
            backoff.reset()
            while True:
                batches = await consumer.getmany(partition, timeout_ms=READ_FOR_MS)
                for record in batches.get(partition, ()):
                    self._take(record)

    async def _seek(self, consumer: Any, partition: Any) -> bool:
        """Goes to where reading begins; False if there is no such topic. A whole step, because aiokafka may
        leave a socket open when it is cancelled while it connects."""
        if self._topic not in await consumer.topics():
            return False
        consumer.assign([partition])
        consumer.seek(partition, await self._begin(consumer, partition))
        return True

    async def _begin(self, consumer: Any, partition: Any) -> int:
        """The offset to read from: where the last connection stopped, else the first letter since the first
        acknowledgement."""
        if self._next_offset is None:
            # The end is asked first: a letter that arrives between the two questions lies behind it.
            end = (await consumer.end_offsets([partition]))[partition]
            first = (await consumer.offsets_for_times({partition: self._since_ms}))[partition]
            self._next_offset = first.offset if first is not None else end
        return self._next_offset

    def _take(self, record: Any) -> None:
        self._next_offset = record.offset + 1
        if (letter := own_letter(record.headers, self._authors)) is not None:
            self._on_letter(letter)


def _texts(headers: Sequence[Header]) -> dict[str, str]:
    """Headers as text; of two with one name the later counts, so ours count before those of the record."""
    return {name: (text or b"").decode("utf-8", "replace") for name, text in headers}
