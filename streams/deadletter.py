"""Records that can never be taken, appended whole to the dead-letter topic with the reason and the place."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from streams.contract_check import Record
from tieline.cloudevents import Poison
from tieline.kafka import Brokers, connecting
from tieline.topics import MIB

# The broker counts bodies as they were compressed and the producer counts them plain, so the producer's limit
# is wide, and the broker's decides.
REQUEST_MAX_BYTES = 32 * MIB
CUT_TO_BYTES = MIB
DELIVERY_WITHIN_MS = 10_000


class DeadLetter(NamedTuple):
    """A record and why it is not taken."""

    record: Record
    poison: Poison


class DeadLetters:
    """Appends dead letters and waits until Kafka has them."""

    def __init__(self, bootstrap: str | Brokers, topic: str) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()  # several lanes share one producer

    async def send(self, letters: Sequence[DeadLetter]) -> None:
        """Returns when every letter is on the topic; raises ``KafkaError`` or ``OSError`` if one may not be.

        May be called again with the same letters: some are then there twice, and none is missing.
        """
        if not letters:
            return
        producer = await self._ready()
        deliveries = [await self._append(producer, letter.record, headers_of(letter)) for letter in letters]
        for letter, delivery in zip(letters, deliveries, strict=True):
            try:
                await delivery
            except MessageSizeTooLargeError:
                await (await self._append_cut(producer, letter))

    async def stop(self) -> None:
        """Closes the producer; ``send`` would open another."""
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await producer.stop()

    async def _ready(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                self._producer = await self._started()
            return self._producer

    async def _started(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **connecting(self._bootstrap),
            acks="all",
            enable_idempotence=True,
            max_request_size=REQUEST_MAX_BYTES,
            request_timeout_ms=DELIVERY_WITHIN_MS,
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    async def _append(
        self, producer: AIOKafkaProducer, record: Record, headers: list[tuple[str, bytes]]
    ) -> "asyncio.Future[object]":
        delivery: asyncio.Future[object] = await producer.send(
            self._topic, record.value, key=record.key, headers=headers
        )
        return delivery

    async def _append_cut(self, producer: AIOKafkaProducer, letter: DeadLetter) -> "asyncio.Future[object]":
        """A body that was compressed on its way in may be larger than the topic takes. Then the letter has
        its first MiB, and headers with its size and the checksum of the whole."""
        record, value = letter.record, letter.record.value or b""
        headers = [*headers_of(letter), ("tieline_cut_from_bytes", str(len(value)).encode())]
        return await self._append(producer, record._replace(value=value[:CUT_TO_BYTES]), headers)


def headers_of(letter: DeadLetter) -> list[tuple[str, bytes]]:
    """The record's own headers, then ours. An empty body and no body have the same checksum."""
    record, poison = letter.record, letter.poison
    return [
        *record.headers,
        ("tieline_reason", poison.reason.encode()),
        ("tieline_place", poison.place[:1_000].encode("utf-8", "replace")),
        ("tieline_sha256", hashlib.sha256(record.value or b"").hexdigest().encode()),
        ("tieline_topic", record.topic.encode()),
        ("tieline_partition", str(record.partition).encode()),
        ("tieline_offset", str(record.offset).encode()),
        ("tieline_append_ms", str(record.append_ms).encode()),
    ]
