"""A candidate for leading: it claims, beats and keeps the lease, by the rules of ``leading``."""

import asyncio
import contextlib
import random
import uuid
from collections.abc import Callable
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from controller.kafka.ordered_log import start_producer
from controller.leading.claim_rule import (
    CLAIM_DELAY_MAX_MS,
    HEARTBEAT_EVERY_MS,
    LEASE_MS,
    SILENCE_MS,
    LeaderLog,
)
from controller.leading.leader_tail import LeaderTail
from controller.process.clock import apart_ms, monotonic_ms, now_ms
from controller.process.errors import Deposed
from controller.process.seal import NO_SEAL, Seal
from controller.routes.counting_rule import NO_EPOCH
from streams.producers import stop_producer
from tieline.backoff import Backoff
from tieline.cancelling import run_all
from tieline.cloudevents import encode
from tieline.kafka import Brokers
from tieline.leader_events import Claimed, Heartbeat, Resigned
from tieline.signatures import LEADER_KIND

READ_BACK_WITHIN_S = 10.0
RESIGN_WITHIN_S = 1.0
LOOK_EVERY_S = 0.5
RETRY_FIRST_S = 0.2
RETRY_LONGEST_S = 1.0


class Leader:
    """One candidate, whose identity is new in every process.

    ``may_claim`` says whether this process is fit to lead, and is asked before each claim. ``on_change`` is
    called whenever who leads, or whether this candidate may publish, may have changed.
    """

    def __init__(
        self,
        bootstrap: str | Brokers,
        topic: str,
        on_change: Callable[[], None] = lambda: None,
        *,
        may_claim: Callable[[], bool] = lambda: True,
        seal: Seal = NO_SEAL,
    ) -> None:
        self.identity = uuid.uuid4().hex
        self._bootstrap = bootstrap
        self._topic = topic
        self._on_change = on_change
        self._may_claim = may_claim
        self._seal = seal
        self.tail = LeaderTail(bootstrap, topic, self._note, seal=seal)
        self._beats = 0
        self._producer: AIOKafkaProducer | None = None
        self._backoff = Backoff(RETRY_FIRST_S, RETRY_LONGEST_S)
        self._epoch: int | None = None
        self._confirmed_ms = 0  # when the last confirmed heartbeat was sent
        self._heard_ms = 0  # when the epoch in force was last heard
        self.brokers_apart_ms = 0  # distance of the wall clock from the brokers'; positive when it is ahead
        self._leads = asyncio.Event()
        self._candidate = asyncio.Event()
        self._candidate.set()
        self._log = structlog.get_logger("leader").bind(identity=self.identity[:8])

    @property
    def log(self) -> LeaderLog:
        """The leader log as far as it was read."""
        return self.tail.log

    @property
    def epoch(self) -> int | None:
        """The epoch that this candidate leads, or None. Only the lease allows publishing."""
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
        await self.tail.start()
        self._heard_ms = monotonic_ms()
        self._producer = await start_producer(self._bootstrap)

    async def run(self) -> None:
        """Reads the log and, while leading, sends heartbeats. Until cancelled."""
        await run_all(self.tail.run(), self._beat())

    async def stop(self) -> None:
        """Closes the connections; ``run`` must have ended."""
        await self.tail.stop()
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
                await self.tail.read_to(epoch, READ_BACK_WITHIN_S)
            except (KafkaError, TimeoutError) as error:
                self._log.warning("the claim failed; tries again", error=_text_of(error))
                await self._renew_producer()
                continue
            if self.log.epoch != epoch:
                self._log.info("another claim came first", offset=epoch, epoch_in_force=self.log.epoch)
                # Its heartbeat comes by then. If none does, the log's broker has set its clock back, no claim
                # counts until that has caught up, and one at once after the other would flood the log.
                await asyncio.sleep(HEARTBEAT_EVERY_MS / 1_000)
                continue
            self._epoch = epoch
            self._confirmed_ms = sent_ms  # a claim counts as its epoch's first heartbeat
            self._leads.set()
            self._log.info("its claim is valid; takes over", epoch=epoch)
            return epoch

    def give_up(self) -> None:
        """Leads no more, and tells nobody: the others notice the silence."""
        if self._epoch is not None:
            self._log.info("leads no more", epoch=self._epoch, epoch_in_force=self.log.epoch)
        self._epoch = None
        self._leads.clear()
        self._on_change()

    async def retire(self) -> None:
        """Resigns and claims no more: this process is about to end."""
        self._candidate.clear()
        await self.resign()

    async def resign(self) -> None:
        """Leads no more, and appends a resignation so that the next claim need not wait for silence.

        If the append fails the others wait for silence: nothing is raised.
        """
        epoch = self._epoch
        self.give_up()
        if epoch is None or self.log.epoch != epoch:
            return
        with contextlib.suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(RESIGN_WITHIN_S):
                await self._append(Resigned(self.identity, epoch))
                self._log.info("resigned", epoch=epoch)

    def require_leading(self, epoch: int) -> None:
        """Raises ``Deposed`` unless this candidate still leads ``epoch``."""
        if self._epoch == epoch:
            return
        if self.log.epoch > epoch:
            raise Deposed(f"another controller leads since epoch {self.log.epoch}")
        raise Deposed(f"this controller gave up epoch {epoch}")

    def _note(self, before: LeaderLog, offset: int) -> None:
        """One more record of the leader log was read."""
        starts_anew = self.log.epoch == NO_EPOCH and self.log.first_offset != before.first_offset
        if self.log.heartbeat_offset != before.heartbeat_offset or starts_anew:
            self._heard_ms = monotonic_ms()
        if self._epoch is not None and self.log.epoch != self._epoch and offset > self._epoch:
            self.give_up()

    async def _silence(self) -> None:
        """Returns when the log is read to its end and the epoch in force has been silent for long enough."""
        delay_ms = random.uniform(0, CLAIM_DELAY_MAX_MS)
        while True:
            # Records that are not believed may be of controllers that don't sign yet: they count as a leader.
            nobody_led = self.log.epoch == NO_EPOCH and not self.tail.refusals
            # There may be no leader to wait for: then the delay only spreads the candidates.
            limit_ms = delay_ms / 5 if nobody_led or self.log.resigned else SILENCE_MS + delay_ms
            left_ms = limit_ms - (monotonic_ms() - self._heard_ms)
            if left_ms <= 0 and not self._may_claim():
                left_ms = LOOK_EVERY_S * 1000
            if left_ms > 0:
                await self.tail.moved(min(left_ms / 1000, LOOK_EVERY_S))
                continue
            if await self.tail.is_read():  # a candidate that is cut off from Kafka hears nothing either
                return
            await self.tail.moved(LOOK_EVERY_S)

    async def _beat(self) -> None:
        while True:
            await self._leads.wait()
            epoch = self._epoch
            started_ms = monotonic_ms()
            if epoch is not None:
                try:
                    await self._confirm(epoch)
                except (KafkaError, TimeoutError) as error:
                    self._log.warning("a heartbeat failed; tries again", error=_text_of(error))
                    await self._renew_producer()
            left_ms = HEARTBEAT_EVERY_MS - (monotonic_ms() - started_ms)
            await asyncio.sleep(max(left_ms, 0) / 1000)

    async def _confirm(self, epoch: int) -> None:
        """One heartbeat: appended, read back, and the lease renewed if this epoch is in force there."""
        self._beats += 1
        offset, sent_ms = await self._append(Heartbeat(self.identity, epoch, self._beats))
        await self.tail.read_to(offset, READ_BACK_WITHIN_S)
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
        """The record's offset, and when it was sent by this process's steady clock."""
        if self._producer is None:
            self._producer = await start_producer(self._bootstrap)
        sent_wall_ms = now_ms()
        record = encode(event, time_ms=sent_wall_ms)
        sealed = self._seal.sealed(
            LEADER_KIND, self._topic, record.key, value=record.value, headers=record.headers
        )
        sent_ms = monotonic_ms()
        metadata: Any = await self._producer.send_and_wait(
            self._topic, value=record.value, key=record.key, headers=sealed, partition=0
        )
        self.brokers_apart_ms = apart_ms(sent_wall_ms, int(metadata.timestamp), now_ms())
        self._backoff.reset()
        return int(metadata.offset), sent_ms

    async def _renew_producer(self) -> None:
        """Waits, and leaves it to the next send to make a producer: one that failed may never work again."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop_producer(producer)
        await asyncio.sleep(self._backoff.next_s())


def _text_of(error: BaseException) -> str:
    return str(error) or type(error).__name__
