"""The reader of operators' orders: it follows the command log from its beginning and folds it (``log``)."""

from collections.abc import Callable

import structlog
from aiokafka.structs import ConsumerRecord

from controller.commands.log import CommandLog
from controller.kafka.ordered_log import Tail
from tieline.cloudevents import Poison, decode
from tieline.events import Command
from tieline.kafka import Brokers


class CommandReader:
    """Follows the command log. ``on_change`` is called after each record. Orders that are given from now on
    are logged, with ``quiet`` none."""

    def __init__(
        self,
        bootstrap: str | Brokers,
        topic: str,
        *,
        unsigned_allowed: bool,
        on_change: Callable[[], None] = lambda: None,
        quiet: bool = False,
    ) -> None:
        self.log = CommandLog()
        self._tail = Tail(bootstrap, topic, self._take)
        self._unsigned_allowed = unsigned_allowed
        self._on_change = on_change
        self._quiet = quiet
        self._new_from = 0  # orders before this offset were given before this process began
        self._log = structlog.get_logger("commands")

    async def start(self) -> None:
        """Connects. Raises KafkaConnectionError or ``TopicMissingError``."""
        await self._tail.start()
        self._new_from = await self._tail.end_offset()
        self.log = CommandLog(next_offset=self._tail.first_offset)

    async def run(self) -> None:
        """Follows the log until cancelled."""
        await self._tail.run()

    async def read_all(self, within_s: float) -> None:
        """Returns once every order given so far was read. Raises TimeoutError or KafkaError."""
        await self._tail.read_all(within_s)

    async def stop(self) -> None:
        """Closes the connection; ``run`` must have ended."""
        await self._tail.stop()

    def _take(self, record: ConsumerRecord[bytes | None, bytes | None]) -> None:
        command: Command | None = None
        why = ""
        try:
            event = decode(record.headers, record.value, record.key)
            command = event if isinstance(event, Command) else None
        except Poison as error:
            why = str(error)
        self.log = self.log.apply(
            record.offset, record.timestamp, command, unsigned_allowed=self._unsigned_allowed
        )
        if not self._quiet and record.offset >= self._new_from:
            self._report(record.offset, command, why or self.log.refused)
        self._on_change()

    def _report(self, offset: int, command: Command | None, refused: str) -> None:
        if refused:
            self._log.warning("an order was refused", offset=offset, why=refused)
        elif command is not None:
            self._log.info(
                "an order was given",
                verb=command.verb,
                scope=command.scope,
                actor=command.actor,
                reason=command.reason,
                id=command.id,
                expires_ms=command.expires_ms,
                signed=bool(command.signature),
            )
