"""Leading: claims, heartbeats and the lease, by the rules of ``leader_log``. Kafka alone arbitrates.

A leader may publish only while its last confirmed heartbeat was *sent* less than ``LEASE_MS`` ago on its own
clock. Confirmed: acknowledged, and the leader log read to its offset with the own epoch in force. Whoever is
paused, cut off or deposed thereby stops by itself, without having to be told.
"""

import asyncio
import contextlib
import random
import uuid
from collections.abc import Callable
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from controller.kafka.producers import start_producer, stop_producer
from controller.kafka.tail import Tail
from controller.leading.clock_watch import apart_ms
from controller.leading.log import (
    CLAIM_DELAY_MAX_MS,
    HEARTBEAT_EVERY_MS,
    LEASE_MS,
    NO_EPOCH,
    SILENCE_MS,
    LeaderLog,
)
from controller.process.clock import monotonic_ms, now_ms
from controller.process.errors import Deposed
from tieline.cloudevents import Poison, decode, encode
from tieline.events import Claimed, Event, Heartbeat, Resigned
from tieline.kafka import Brokers

READ_BACK_WITHIN_S = 10.0
RESIGN_WITHIN_S = 1.0
LOOK_EVERY_S = 0.5
RETRY_AFTER_S = 0.2


class Leader:
    """One candidate: its identity is new in every process, and it leads only by its own send's offset.

    ``on_change`` is called whenever who leads, or whether this candidate may publish, may have changed.
    """

    def __init__(
        self, bootstrap: str | Brokers, topic: str, on_change: Callable[[], None] = lambda: None
    ) -> None:
        self.identity = uuid.uuid4().hex
        self.log = LeaderLog()
        self._bootstrap = bootstrap
        self._topic = topic
        self._on_change = on_change
        self._tail = Tail(bootstrap, topic, self._take)
        self._producer: AIOKafkaProducer | None = None
        self._epoch: int | None = None
        self._confirmed_ms = 0  # when the last confirmed heartbeat was sent
        self._heard_ms = 0  # when the epoch in force was last heard
        self.brokers_apart_ms = 0  # so far at least lies our wall clock from the brokers'; positive: ahead
        self._took_office = asyncio.Event()
        self._candidate = asyncio.Event()
        self._candidate.set()
        self._log = structlog.get_logger("leader").bind(identity=self.identity[:8])

    @property
    def epoch(self) -> int | None:
        """The epoch that this candidate holds, or None. Holding one is not yet leave to publish."""
        return self._epoch

    @property
    def heard_ms(self) -> int:
        """When the epoch in force was last heard, by this process's steady clock."""
        return self._heard_ms

    def may_publish(self) -> bool:
        """Whether the lease holds right now. Ask immediately before each send."""
        return self._epoch is not None and monotonic_ms() - self._confirmed_ms < LEASE_MS

    async def start(self) -> None:
        """Connects. Raises KafkaConnectionError or ``TopicMissingError``."""
        await self._tail.start()
        self.log = LeaderLog.starting_at(self._tail.first_offset)
        self._heard_ms = monotonic_ms()
        self._producer = await start_producer(self._bootstrap)

    async def run(self) -> None:
        """Reads the log and, while in office, beats. Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tail.run())
            tasks.create_task(self._beat())

    async def stop(self) -> None:
        """Closes the connections; ``run`` must have ended."""
        await self._tail.stop()
        if self._producer is not None:
            await stop_producer(self._producer)

    async def lead(self) -> int:
        """Waits for silence, claims, and returns the epoch once a claim of this candidate is valid."""
        while True:
            await self._candidate.wait()
            try:
                await self._silence()
                epoch, sent_ms = await self._append(
                    Claimed(self.identity, self.log.epoch, self.log.heartbeat_offset)
                )
                await self._tail.read_to(epoch, READ_BACK_WITHIN_S)
            except (KafkaError, TimeoutError) as error:
                self._log.warning("claim failed", error=str(error) or type(error).__name__)
                await self._renew_producer()
                continue
            if self.log.epoch != epoch:
                self._log.info("claim not valid", offset=epoch, epoch_in_force=self.log.epoch)
                continue
            self._epoch = epoch
            self._confirmed_ms = sent_ms  # a claim counts as its epoch's first heartbeat
            self._took_office.set()
            self._log.info("leading", epoch=epoch)
            return epoch

    def give_up(self) -> None:
        """Leaves office without a word: others hear the silence."""
        if self._epoch is not None:
            self._log.info("no longer leading", epoch=self._epoch, epoch_in_force=self.log.epoch)
        self._epoch = None
        self._took_office.clear()
        self._on_change()

    async def retire(self) -> None:
        """Resigns and claims no more: this process is about to end."""
        self._candidate.clear()
        await self.resign()

    async def resign(self) -> None:
        """Leaves office and says so, so that the next claim need not wait. Best effort."""
        epoch = self._epoch
        self.give_up()
        if epoch is None or self.log.epoch != epoch:
            return
        with contextlib.suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(RESIGN_WITHIN_S):
                await self._append(Resigned(self.identity, epoch))
                self._log.info("resigned", epoch=epoch)

    def require_office(self, epoch: int) -> None:
        """Raises ``Deposed`` unless this candidate still holds ``epoch``."""
        if self._epoch != epoch:
            raise Deposed(f"epoch {epoch} is no longer held, {self.log.epoch} is in force")

    def _take(self, record: ConsumerRecord[bytes | None, bytes | None]) -> None:
        event: Event | None
        try:
            event = decode(record.headers, record.value)
        except Poison as error:
            self._log.warning("unreadable record on the leader log", offset=record.offset, error=str(error))
            event = None
        before = self.log
        self.log = before.apply(record.offset, record.timestamp, event)
        if self.log.heartbeat_offset != before.heartbeat_offset:
            self._heard_ms = monotonic_ms()
        if self._epoch is not None and self.log.epoch != self._epoch and record.offset > self._epoch:
            self.give_up()

    async def _silence(self) -> None:
        """Returns when the log was read to its end and the epoch in force has been silent for long enough."""
        delay_ms = random.uniform(0, CLAIM_DELAY_MAX_MS)
        while True:
            if self.log.epoch == NO_EPOCH or self.log.resigned:
                limit_ms = delay_ms / 5  # nobody to wait for: only spread the candidates
            else:
                limit_ms = SILENCE_MS + delay_ms
            left_ms = limit_ms - (monotonic_ms() - self._heard_ms)
            if left_ms > 0:
                await self._tail.moved(min(left_ms / 1000, LOOK_EVERY_S))
                continue
            next_offset = self._tail.next_offset
            # Also proves that Kafka answers: silence of one's own making is no reason to claim.
            if await self._tail.end_offset() == next_offset == self._tail.next_offset:
                return
            await self._tail.moved(LOOK_EVERY_S)

    async def _beat(self) -> None:
        while True:
            await self._took_office.wait()
            epoch = self._epoch
            started_ms = monotonic_ms()
            if epoch is not None:
                try:
                    await self._confirm(epoch)
                except (KafkaError, TimeoutError) as error:
                    self._log.warning("heartbeat failed", error=str(error) or type(error).__name__)
                    await self._renew_producer()
            left_ms = HEARTBEAT_EVERY_MS - (monotonic_ms() - started_ms)
            await asyncio.sleep(max(left_ms, 0) / 1000)

    async def _confirm(self, epoch: int) -> None:
        """One heartbeat: appended, read back, and the lease renewed if the own epoch is in force there."""
        offset, sent_ms = await self._append(Heartbeat(self.identity, epoch))
        await self._tail.read_to(offset, READ_BACK_WITHIN_S)
        if self._epoch != epoch:
            return
        if self.log.epoch != epoch:
            self.give_up()
            return
        regained = not self.may_publish()
        self._confirmed_ms = sent_ms
        if regained and self.may_publish():
            self._on_change()

    async def _append(self, event: Claimed | Heartbeat | Resigned) -> tuple[int, int]:
        """Its offset, and when it was sent (own steady clock)."""
        if self._producer is None:
            self._producer = await start_producer(self._bootstrap)
        sent_wall_ms = now_ms()
        record = encode(event, time_ms=sent_wall_ms)
        sent_ms = monotonic_ms()
        metadata: Any = await self._producer.send_and_wait(
            self._topic, value=record.value, key=record.key, headers=record.headers, partition=0
        )
        self.brokers_apart_ms = apart_ms(sent_wall_ms, int(metadata.timestamp), now_ms())
        return int(metadata.offset), sent_ms

    async def _renew_producer(self) -> None:
        """A producer that failed may be unusable for good: the next send makes a new one."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop_producer(producer)
        await asyncio.sleep(RETRY_AFTER_S)
