"""The routes log for commands that only read it: the newest publication that counts, and those after it.

They read only the end of the leader log, which names the epoch in force. An epoch above it is none, and the
epochs below it can't come into force again. Where controllers sign, their signature says as much: nobody but
a controller, which writes only under an epoch of its own, can have written the record. The end of the leader
log could then mislead, as somebody may have filled it with copies of old heartbeats.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType

from aiokafka.structs import ConsumerRecord

from controller.kafka.ordered_log import Tail
from controller.leading.claim_rule import LeaderLog
from controller.leading.leader_tail import LeaderTail
from controller.process.seal import Seal, read_accepted
from controller.process.settings import Settings
from controller.routes.counting_rule import RoutesLog, epoch_of
from controller.routes.record import RoutesRecord, decode_record, keyed
from tieline.cancelling import end_all
from tieline.signatures import ROUTES_KIND

READ_WITHIN_S = 15.0
HEARTBEATS_READ_MAX = 50


class RoutesReader:
    """``async with RoutesReader(settings) as routes: routes.newest()``. Entering reads the log to its end.

    Entering raises KafkaConnectionError, ``TopicMissingError`` or TimeoutError; making one raises
    SettingError for controllers' keys that can't be read.
    """

    def __init__(self, settings: Settings) -> None:
        self._log = RoutesLog()
        self._seal = Seal(accepted=read_accepted(settings.controller_keys))
        self._topic = settings.topics.routes.name
        self._leader = LeaderTail(settings.kafka, settings.topics.leader.name, seal=self._seal)
        self._tail = Tail(settings.kafka, self._topic, self._take, before=self._judge)
        self._reading: list[asyncio.Task[None]] = []
        self._decoded: tuple[int, RoutesRecord] | None = None

    async def __aenter__(self) -> "RoutesReader":
        try:
            for tail in (self._leader, self._tail):
                await tail.start(last=HEARTBEATS_READ_MAX if tail is self._leader else None)
                self._reading.append(asyncio.create_task(tail.run()))
            await self._tail.read_older(READ_WITHIN_S)
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    @property
    def leader_log(self) -> LeaderLog:
        """Who leads, as far as the leader log was read."""
        return self._leader.log

    async def leader_moved(self, within_s: float) -> None:
        """Returns once more was read of the leader log, or after ``within_s``."""
        await self._leader.moved(within_s)

    async def run(self) -> None:
        """Returns when the logs are no longer read, because one of them was lost. Raises ``LogLostError``."""
        ended, _ = await asyncio.wait(self._reading, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()

    @property
    def next_offset(self) -> int:
        """One above the last record of the routes log that was read."""
        return self._tail.next_offset

    async def moved_past(self, next_offset: int, within_s: float) -> None:
        """Returns once more was read of the routes log than up to ``next_offset``, or after ``within_s``."""
        if self.next_offset <= next_offset:
            await self._tail.moved(within_s)

    async def end_offset(self) -> int:
        """One above the last record of the routes log, as the broker says now. Raises KafkaError."""
        return await self._tail.end_offset()

    def newest(self) -> RoutesRecord | None:
        """The newest publication that counts so far, or None. Raises TableError if it can't be read."""
        newest = self._log.newest
        if newest is None:
            return None
        if self._decoded is None or self._decoded[0] != newest.offset:
            self._decoded = (newest.offset, decode_record(newest.body))
        return self._decoded[1]

    async def until(self, wanted: Callable[[RoutesRecord], bool], within_s: float) -> RoutesRecord | None:
        """The newest publication as soon as it is ``wanted``, or None if none is within that time."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within_s
        while True:
            record = self.newest()
            if record is not None and wanted(record):
                return record
            left_s = deadline - loop.time()
            if left_s <= 0:
                return None
            await self._tail.moved(left_s)

    def _take(self, record: ConsumerRecord[bytes | None, bytes | None]) -> None:
        flaw = self._seal.flaw(ROUTES_KIND, self._topic, record)
        self._log = self._log.apply(record.offset, record.timestamp, keyed(record, flaw), self._is_epoch)

    async def _judge(self, record: ConsumerRecord[bytes | None, bytes | None]) -> None:
        place = epoch_of(record.key)
        if place is not None and place[0] > self._log.epoch and not self._seal.accepted:
            await self._leader.until_judged(place[0])

    def _is_epoch(self, epoch: int, writer: str) -> bool:
        log = self._leader.log
        return bool(self._seal.accepted) or epoch < log.epoch or log.is_epoch(epoch, writer)

    async def _stop(self) -> None:
        await end_all(self._reading)
        self._reading.clear()
        await self._tail.stop()
        await self._leader.stop()
