"""The routes log for commands that only read it: the newest publication that counts, and those after it."""

import asyncio
from collections.abc import Callable
from types import TracebackType

from aiokafka.structs import ConsumerRecord

from controller.kafka.ordered_log import Tail
from controller.routes.counting_rule import RoutesLog
from controller.routes.record import RoutesRecord, decode_record, seq_of
from tieline.kafka import Brokers

READ_WITHIN_S = 15.0


class RoutesReader:
    """``async with RoutesReader(...) as routes: routes.newest()``. Entering reads the log to its end.

    Entering raises KafkaConnectionError, ``TopicMissingError`` or TimeoutError.
    """

    def __init__(self, bootstrap: str | Brokers, topic: str) -> None:
        self._log = RoutesLog()
        self._tail = Tail(bootstrap, topic, self._take)
        self._reading: asyncio.Task[None] | None = None
        self._decoded: tuple[int, RoutesRecord] | None = None

    async def __aenter__(self) -> "RoutesReader":
        await self._tail.start()
        self._reading = asyncio.create_task(self._tail.run())
        try:
            await self._tail.read_all(READ_WITHIN_S)
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

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
        self._log = self._log.apply(
            record.offset, record.timestamp, record.key, seq_of(record.headers), record.value
        )

    async def _stop(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await self._tail.stop()
