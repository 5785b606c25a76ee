"""The leader log as a process reads it: who leads, and which epochs the routes log may name."""

import asyncio
from collections.abc import Callable

from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from controller.kafka.ordered_log import Tail
from controller.leading.claim_rule import LeaderLog
from controller.process.seal import NO_SEAL, Seal
from controller.process.telemetry import logger
from streams.logs import LogPace
from tieline.backoff import Backoff
from tieline.cloudevents import Poison, decode
from tieline.events import Event
from tieline.kafka import Brokers
from tieline.signatures import LEADER_KIND

RETRY_FIRST_S = 0.2
RETRY_LONGEST_S = 1.0
READ_WITHIN_S = 10.0


class LeaderTail:
    """Follows the leader log and folds it into ``log``. ``on_record`` is called after each record, with the
    log as it was before and the record's offset."""

    def __init__(
        self,
        bootstrap: str | Brokers,
        topic: str,
        on_record: Callable[[LeaderLog, int], None] = lambda _before, _offset: None,
        *,
        seal: Seal = NO_SEAL,
    ) -> None:
        self.log = LeaderLog()
        self.refusals = 0  # records that broke the claim rule or their seal, by mistake or on purpose
        self._seal, self._topic = seal, topic
        self._on_record = on_record
        self._tail = Tail(bootstrap, topic, self._take)
        self._read_once = False
        self._pace = LogPace()
        self._log = logger("leader")

    async def start(self, *, last: int | None = None) -> None:
        """Connects; begins with the oldest record, or ``last`` records before the end.

        Raises KafkaConnectionError or ``TopicMissingError``.
        """
        await self._tail.start(last=last)
        self.log = LeaderLog.starting_at(self._tail.first_offset)

    async def run(self) -> None:
        """Follows the log until cancelled."""
        await self._tail.run()

    async def stop(self) -> None:
        """Closes the connection; ``run`` must have ended."""
        await self._tail.stop()

    async def read_to(self, offset: int, within_s: float | None = None) -> None:
        """Returns once the record at ``offset`` was read. Raises TimeoutError after ``within_s``."""
        await self._tail.read_to(offset, within_s)

    async def read_all(self, within_s: float) -> None:
        """Returns once everything was read that the log holds now. Raises TimeoutError."""
        await self._tail.read_all(within_s)

    async def read_older(self, within_s: float | None = None) -> None:
        """Returns once everything was read that the log held at ``start``. Raises TimeoutError."""
        await self._tail.read_older(within_s)

    async def is_read(self) -> bool:
        """Whether nothing is left to read. The answer also proves that Kafka is there. Raises KafkaError."""
        next_offset = self._tail.next_offset
        return await self._tail.end_offset() == next_offset == self._tail.next_offset

    async def moved(self, within_s: float) -> None:
        """Returns after the next records, or after ``within_s``."""
        await self._tail.moved(within_s)

    async def until_judged(self, epoch: int) -> None:
        """Returns once ``is_epoch`` can be asked for ``epoch``; waits for Kafka as long as it is away.

        An epoch begins on this log before anything is written under it. So an epoch beyond the end of the log
        is none, and nothing need be waited for.
        """
        if not self._read_once:
            await self._tail.read_older()
            self._read_once = True
        backoff = Backoff(RETRY_FIRST_S, RETRY_LONGEST_S)
        while self.log.next_offset <= epoch:
            try:
                end_offset = await self._tail.end_offset()
                await self._tail.read_to(min(epoch, end_offset - 1))
            except (KafkaError, TimeoutError):
                await asyncio.sleep(backoff.next_s())
                continue
            if end_offset <= epoch:
                return

    def is_epoch(self, epoch: int, leader: str) -> bool:
        """See ``LeaderLog.is_epoch``."""
        return self.log.is_epoch(epoch, leader)

    def _take(self, record: ConsumerRecord[bytes | None, bytes | None]) -> None:
        event: Event | None
        try:
            event, unreadable = decode(record.headers, record.value), ""
        except Poison as error:
            event, unreadable = None, str(error)
        before = self.log
        flaw = self._seal.flaw(LEADER_KIND, self._topic, record)
        self.log = (
            before.ignore(record.offset) if flaw else before.apply(record.offset, record.timestamp, event)
        )
        if refusal := flaw or self.log.refusal or unreadable:
            self.refusals += 1
            if self._pace.allows("refusal", asyncio.get_running_loop().time()):
                self._log.error(
                    "a record of the leader log is ignored",
                    offset=record.offset,
                    why=refusal,
                    so_far=self.refusals,
                )
        self._on_record(before, record.offset)
