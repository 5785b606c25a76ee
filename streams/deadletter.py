"""Dead letters: records that can never be taken, appended whole to a topic of their own, with the reason and
the place. ``letters`` says when one is sent, and what happens while that topic takes none."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaProducer

from streams.contract_check import Record
from streams.producers import stop_producer
from tieline.cloudevents import Poison
from tieline.kafka import Brokers, brokers_of, connect
from tieline.topics import MIB

REQUEST_MAX_BYTES = 2 * MIB  # as the topic takes
WHOLE_MAX_BYTES = REQUEST_MAX_BYTES - 64 * 1024  # room for our own headers
CUT_TO_BYTES = MIB
OTHERS_CUT_TO_BYTES = 64 * 1024
DELIVERY_WITHIN_MS = 10_000


class DeadLetter(NamedTuple):
    """A record and why it is not taken."""

    record: Record
    poison: Poison


class LetterProducer:
    """Appends dead letters and waits until Kafka has them."""

    def __init__(self, bootstrap: str | Brokers, topic: str) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()  # several lanes share one producer

    async def append(self, letters: Sequence[DeadLetter], within_s: float) -> None:
        """Returns when every letter is on the topic.

        Raises ``KafkaError``, ``OSError`` or ``TimeoutError`` if one may not be; some of the letters may be
        there then, or may still come.
        """
        try:
            async with asyncio.timeout(within_s):
                producer = await self._ready()
                deliveries = [await self._append(producer, fitting(letter)) for letter in letters]
                await asyncio.gather(*deliveries)
        except BaseException:
            # After a failed send the producer may stay of no use, and it holds on to what it could not send.
            await self.stop()
            raise

    async def stop(self) -> None:
        """Closes the producer; ``append`` would open another."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop_producer(producer)

    async def _ready(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                self._producer = await self._started()
            return self._producer

    async def _started(self) -> AIOKafkaProducer:
        producer = brokers_of(self._bootstrap).producer(
            acks="all",
            enable_idempotence=True,
            max_request_size=REQUEST_MAX_BYTES,
            request_timeout_ms=DELIVERY_WITHIN_MS,
        )
        try:
            await connect(producer)
        except BaseException:
            await stop_producer(producer)
            raise
        return producer

    async def _append(self, producer: AIOKafkaProducer, letter: "Letter") -> "asyncio.Future[object]":
        delivery: asyncio.Future[object] = await producer.send(
            self._topic, letter.value, key=letter.key, headers=letter.headers
        )
        return delivery


class Letter(NamedTuple):
    """What a letter is appended as."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


def fitting(letter: DeadLetter) -> Letter:
    """The letter as the dead-letter topic takes it: the record's own headers, then ours.

    A record that was compressed on its way in may be larger than the topic takes. Then the letter has the
    first MiB of its body and the first 64 KiB of its key and of its own headers, and says the size of the
    whole in ``tieline_cut_from_bytes``. Its checksum is always that of the whole body.
    """
    record = letter.record
    if record.size_bytes <= WHOLE_MAX_BYTES:
        return Letter(record.key, record.value, [*record.headers, *headers_of(letter)])
    own: list[tuple[str, bytes | None]] = []
    left = OTHERS_CUT_TO_BYTES
    for name, text in record.headers:
        left -= len(name) + len(text or b"")
        if left < 0:
            break
        own.append((name, text))
    cut = ("tieline_cut_from_bytes", str(record.size_bytes).encode())
    key = record.key[:OTHERS_CUT_TO_BYTES] if record.key is not None else None
    value = record.value[:CUT_TO_BYTES] if record.value is not None else None
    return Letter(key, value, [*own, *headers_of(letter), cut])


def headers_of(letter: DeadLetter) -> list[tuple[str, bytes | None]]:
    """Our headers of a letter. An empty body and no body have the same checksum."""
    record, poison = letter.record, letter.poison
    return [
        ("tieline_reason", poison.reason.encode()),
        ("tieline_place", poison.place[:1_000].encode("utf-8", "replace")),
        ("tieline_sha256", hashlib.sha256(record.value or b"").hexdigest().encode()),
        ("tieline_topic", record.topic.encode()),
        ("tieline_topic_id", record.topic_id.encode()),
        ("tieline_partition", str(record.partition).encode()),
        ("tieline_offset", str(record.offset).encode()),
        ("tieline_append_ms", str(record.append_ms).encode()),
    ]
