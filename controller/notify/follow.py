"""One target: its part of the history is read, sent, and committed behind what the target took.

The consumer group on the history topic is the target's own. Of several processes with the same file one has
the topic's only partition and sends; when it ends, another goes on at the committed position. With a topic
that is deleted Kafka deletes what was committed of it: of the one that takes its name a process that followed
the old one tells everything.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

import aiohttp
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from controller.history.entries import Entry, decode_history
from controller.history.following import Following
from controller.history.reader import last_record
from controller.notify.outbox import Notification, Outbox
from controller.notify.sending import Outcome, send
from controller.notify.shapes import outgoing, standing_alerts
from controller.notify.target import Target
from controller.notify.targets import Access
from controller.process.clock import monotonic_ms, now_ms
from controller.process.errors import TopicMissingError
from streams.every_record import install
from streams.topic_ids import topic_facts
from tieline.backoff import Backoff
from tieline.cancelling import end_all, whole
from tieline.kafka import REQUEST_TIMEOUT_MS, Brokers, brokers_of, close_consumer, connect

POLL_MS = 250
RECORDS_PER_POLL_MAX = 100
SESSION_MS = 10_000
TOPIC_LOOK_EVERY_MS = 5_000  # a topic that was missing is found so soon; aiokafka would take five minutes
LOOK_EVERY_S = 0.25
COMMIT_EVERY_MS = 1_000
RETRY_FIRST_S = 1.0
RETRY_LONGEST_S = 120.0
ATTEMPTS_MAX = 12
CRITICAL_ATTEMPTS_MAX = 100
STANDING_EVERY_MS = 60_000


class Follower(ConsumerRebalanceListener):  # type: ignore[misc]
    """Follows the history for one target. ``counts``: notifications by what became of them; ``trouble``: why
    the target took none lately, empty if it did."""

    def __init__(
        self,
        bootstrap: str | Brokers,
        namespace: str,
        topic: str,
        *,
        target: Target,
        access: Access,
        retry_first_s: float = RETRY_FIRST_S,
        standing_every_ms: int = STANDING_EVERY_MS,
    ) -> None:
        self._bootstrap = bootstrap
        self._namespace = namespace
        self._partition = TopicPartition(topic, 0)
        self.target = target
        self._access = access
        self._outbox = Outbox(target)
        self._following = Following()
        self._has_partition = False
        self._must_begin = False
        self._committed = -1
        self._topic_id = ""
        self._commit_by_ms = 0
        self._standing_every_ms = standing_every_ms
        self._standing_by_ms = 0
        self._due = asyncio.Event()
        self._backoff = Backoff(retry_first_s, RETRY_LONGEST_S)
        self._kafka_backoff = Backoff(RETRY_FIRST_S, RETRY_LONGEST_S)
        self.counts: Counter[str] = Counter()
        self.trouble = ""
        self._log = structlog.get_logger("notify").bind(target=target.name)

    @property
    def follows(self) -> bool:
        """Whether this process has the partition and its place in it."""
        return self._has_partition and not self._must_begin and self._committed >= 0

    @property
    def waiting(self) -> int:
        """How many notifications wait."""
        return len(self._outbox)

    @property
    def left_out(self) -> int:
        """How many notifications the target was not told, because they were too many."""
        return self._outbox.left_out.total()

    async def run(self) -> None:
        """Follows until cancelled, and waits for brokers that are away."""
        while True:
            try:
                await self._follow()
            except (KafkaError, TimeoutError, TopicMissingError) as error:
                self._log.warning("the history can't be read", error=type(error).__name__)
                await asyncio.sleep(self._kafka_backoff.next_s())

    async def on_partitions_assigned(self, assigned: Any) -> None:
        """See aiokafka."""
        self._has_partition = self._must_begin = bool(assigned)

    async def on_partitions_revoked(self, revoked: Any) -> None:  # noqa: ARG002 (the name is aiokafka's)
        """See aiokafka. Nothing more is sent: whoever has the partition next sends what is not committed."""
        self._has_partition = False
        self._outbox = Outbox(self.target)

    async def _follow(self) -> None:
        install()
        consumer = brokers_of(self._bootstrap).consumer(
            group_id=f"{self._namespace}.notify.{self.target.name}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=SESSION_MS,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            fetch_max_wait_ms=POLL_MS,
            metadata_max_age_ms=TOPIC_LOOK_EVERY_MS,
        )
        consumer.subscribe([self._partition.topic], listener=self)
        sending = asyncio.create_task(self._send_all())
        try:
            await connect(consumer)
            while not sending.done():
                await self._read(consumer)
            sending.result()
        finally:
            # Cut in half it would leave the connection open, and what was taken uncommitted.
            await whole(self._leave(consumer, sending))

    async def _leave(self, consumer: AIOKafkaConsumer, sending: asyncio.Task[None]) -> None:
        await end_all([sending])
        with suppress(KafkaError, TimeoutError):
            await self._commit(consumer)
        await close_consumer(consumer)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        if self._must_begin:
            await self._begin(consumer)
        if self._has_partition:
            # A full queue reads on when the target takes something; polling keeps this member in its group.
            (consumer.pause if self._outbox.is_full else consumer.resume)(self._partition)
        batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=RECORDS_PER_POLL_MAX)
        for row in batches.get(self._partition, []):
            if not self._has_partition or self._must_begin:
                break  # it will be read again from the committed position
            self._take(row.offset, row.value)
        if self.follows and monotonic_ms() >= self._commit_by_ms:
            await self._commit(consumer)
        self._kafka_backoff.reset()

    async def _begin(self, consumer: AIOKafkaConsumer) -> None:
        """Goes on at the committed position; the first time at the end, as old news is none. In a topic that
        has taken the place of the one that was followed everything is new."""
        self._must_begin = False
        topic = self._partition.topic
        topic_id = (await topic_facts(self._bootstrap, [topic]))[topic].id
        position = await consumer.committed(self._partition)
        if position is None:
            is_new = self._topic_id not in ("", topic_id)
            edges = consumer.beginning_offsets if is_new else consumer.end_offsets
            position = (await edges([self._partition]))[self._partition]
            await consumer.commit({self._partition: position})
        self._topic_id = topic_id
        consumer.seek(self._partition, position)
        before = await last_record(self._bootstrap, self._partition.topic, position)
        self._committed = position
        self._following = Following(before)
        self._outbox = Outbox(self.target)
        self._outbox.begin(before.standing if before else (), position)
        self._log.info("follows the history", offset=position)
        self._due.set()

    def _take(self, offset: int, body: bytes | None) -> None:
        record = decode_history(body)
        for entry in self._following.entries(record) if record is not None else ():
            self._outbox.take(entry, offset, monotonic_ms())
        self._outbox.next_offset = offset + 1
        self._due.set()

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        self._commit_by_ms = monotonic_ms() + COMMIT_EVERY_MS
        finished = self._outbox.finished_offset
        if self.follows and finished != self._committed:  # lower where the topic began anew in between
            await consumer.commit({self._partition: finished})
            self._committed = finished

    async def _send_all(self) -> None:
        """Sends what is due, one after another."""
        async with aiohttp.ClientSession() as session:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY_S):
                        await self._due.wait()
                self._due.clear()
                outbox = self._outbox
                while self._has_partition and (notification := outbox.due(monotonic_ms(), now_ms())):
                    await self._deliver(session, notification)
                    outbox.done()
                if self.target.kind == "alertmanager" and monotonic_ms() >= self._standing_by_ms:
                    await self._tell_standing(session)

    async def _deliver(self, session: aiohttp.ClientSession, notification: Notification) -> None:
        """Sends until the target takes it, refuses it for good, or was asked too often."""
        outbox = self._outbox
        attempts_max = CRITICAL_ATTEMPTS_MAX if notification.is_critical else ATTEMPTS_MAX
        for attempt in range(1, attempts_max + 1):
            outcome = await self._attempt(session, notification.entry)
            if outcome.what == "taken":
                self._backoff.reset()
                self.trouble = ""
                self.counts["sent"] += 1
                return
            self.trouble = outcome.why
            if outcome.what == "refused" or attempt == attempts_max:
                break
            if attempt == 1:
                self._log.warning("a notification is not taken yet", why=outcome.why)
            self.counts["retried"] += 1
            await asyncio.sleep(self._backoff.next_s(at_least_s=outcome.retry_after_s))
            if outbox is not self._outbox:
                return  # another process has the partition now
        self.counts["failed"] += 1
        entry = notification.entry
        self._log.error("a notification is given up", kind=entry.kind, about=entry.about, why=self.trouble)

    async def _attempt(self, session: aiohttp.ClientSession, entry: Entry) -> Outcome:
        at_ms = now_ms()
        request = outgoing(self.target, self._access, entry, namespace=self._namespace, now_ms=at_ms)
        timeout_s, proxy = self.target.timeout_s, self.target.proxy
        return await send(session, request, timeout_s=timeout_s, proxy=proxy, now_ms=at_ms)

    async def _tell_standing(self, session: aiohttp.ClientSession) -> None:
        """Tells an Alertmanager again what stands: it forgets alerts that nobody repeats."""
        self._standing_by_ms = monotonic_ms() + self._standing_every_ms
        entries = tuple(self._outbox.standing.values())
        if not entries or not self._has_partition:
            return
        at_ms = now_ms()
        request = standing_alerts(self._access, entries, namespace=self._namespace, now_ms=at_ms)
        timeout_s, proxy = self.target.timeout_s, self.target.proxy
        outcome = await send(session, request, timeout_s=timeout_s, proxy=proxy, now_ms=at_ms)
        self.trouble = outcome.why
