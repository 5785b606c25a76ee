"""The policy in force, as the controllers publish it: read when an event is to be checked, not followed."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from msgspec import Struct

from tieline._process import clock as _clock
from tieline._sending.reading import reader
from tieline.backoff import Backoff
from tieline.cancelling import end_all
from tieline.errors import UNDECODABLE
from tieline.kafka import Brokers
from tieline.registration import Registry, registry_in
from tieline.table import Generation
from tieline.topics import TABLE_TOPIC_MAX_BYTES

LOOK_EVERY_S = 60.0
WAIT_FOR_A_LOOK_S = 5.0  # half of the time that a send has by default
READ_WITHIN_S = 10.0
STOP_WITHIN_S = 2.0
FRESH_S = 5.0  # nothing is refused by a policy that was looked at longer ago
RETRY_FIRST_S, RETRY_LONGEST_S = 1.0, 10.0
FIRST_RECORDS = 2  # read from the end of the log; twice as many each time none of them has a policy


class _Publication(Struct, frozen=True):
    """What is needed of a record of the routes log."""

    generation: Generation
    policy: bytes = b""


_publication = msgspec.msgpack.Decoder(_Publication)


class PublishedPolicy:
    """Keeps the registry of the newest publication, and looks for a newer one at most once a minute.

    A look reads the end of ``tieline.routes`` by a consumer without a group. One that finds no policy,
    because Kafka is away, no controller has published yet, or this producer may not read the topic, is
    repeated after 1 s, later after up to 10 s. Until one has found a policy there is no registry, and
    ``error`` says why. Used in one event loop.
    """

    def __init__(self, bootstrap: str | Brokers, topic: str) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._registry: Registry | None = None
        self._end_offset = -1
        self._looked_s: float | None = None  # monotonic time of the last look that found a policy
        self._pause_until_s = 0.0
        self._backoff = Backoff(RETRY_FIRST_S, RETRY_LONGEST_S)
        self._looking: asyncio.Task[None] | None = None
        self.error = "the policy has not been looked at yet"

    async def registry(self, *, fresh: bool = False) -> Registry | None:
        """What the policy names; None if that is not known. ``fresh``: from a look in the last 5 s, if one is
        possible. Waits for at most 5 s, for a fresh look and for one while the policy is not known."""
        now_s = _clock.monotonic_s()
        age_s = now_s - self._looked_s if self._looked_s is not None else None
        wanted = age_s is None or age_s > (FRESH_S if fresh else LOOK_EVERY_S)
        if wanted and now_s >= self._pause_until_s:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look(), name="tieline producer policy")
            if fresh or self._looked_s is None:
                await asyncio.wait({self._looking}, timeout=WAIT_FOR_A_LOOK_S)
        return self._registry

    async def stop(self) -> None:
        """End a look that is under way. A cancelled one may leave a socket open, so it gets some time."""
        looking, self._looking = self._looking, None
        if looking is not None:
            await asyncio.wait({looking}, timeout=STOP_WITHIN_S)
            await end_all([looking])

    async def _look(self) -> None:
        from aiokafka.errors import KafkaError

        try:
            async with reader(self._bootstrap, TABLE_TOPIC_MAX_BYTES) as consumer:
                async with asyncio.timeout(READ_WITHIN_S):
                    has_policy = await self._read(consumer)
        except (KafkaError, OSError, TimeoutError, *UNDECODABLE) as error:
            self.error = f"{self._topic} can't be read: {str(error) or type(error).__name__}"
            has_policy = False
        if has_policy:
            self._looked_s = _clock.monotonic_s()
            self._backoff.reset()
        else:
            self._pause_until_s = _clock.monotonic_s() + self._backoff.next_s()

    async def _read(self, consumer: Any) -> bool:
        """Takes the newest policy over; False if there is none in the log."""
        from aiokafka import TopicPartition

        partition = TopicPartition(self._topic, 0)
        consumer.assign([partition])
        begin = (await consumer.beginning_offsets([partition]))[partition]
        end = (await consumer.end_offsets([partition]))[partition]
        if end == self._end_offset and self._registry is not None:
            self.error = ""
            return True
        newest, back = None, FIRST_RECORDS
        while newest is None and begin < end:
            begins = max(begin, end - back)
            newest = await _newest(consumer, partition, begins, end)
            if begins == begin:
                break
            back *= 2
        if newest is None:
            self.error = "no controller has published a policy yet"
            return False
        self._registry, self._end_offset, self.error = registry_in(newest.policy), end, ""
        return True


async def _newest(consumer: Any, partition: Any, begin: int, end: int) -> _Publication | None:
    """The publication with a policy that has the highest generation among the offsets from ``begin`` on."""
    consumer.seek(partition, begin)
    newest: _Publication | None = None
    while await consumer.position(partition) < end:
        batch = await consumer.getmany(partition, timeout_ms=200)
        for record in batch.get(partition, ()):
            publication = _decoded(record.value)
            if publication is not None and (newest is None or _order(publication) >= _order(newest)):
                newest = publication
    return newest


def _decoded(value: bytes | None) -> _Publication | None:
    try:
        publication = _publication.decode(value or b"")
    except UNDECODABLE:  # whatever else lies there, for instance a tombstone
        return None
    return publication if publication.policy else None


def _order(publication: _Publication) -> tuple[int, int]:
    return publication.generation.epoch, publication.generation.seq
