"""The reader of operators' orders: it follows the command log and folds it (``log``).

It begins where the newest publication left off, which also holds the orders that were in force there. So
rubbish on the log, however much, is read once by whoever leads, and not by each process that starts later.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import msgspec
import structlog
from aiokafka.structs import ConsumerRecord

from controller.commands.log import IDS_KEPT_MAX, CommandLog
from controller.commands.policies import PolicyTaken
from controller.kafka.ordered_log import Tail
from controller.routes.record import RoutesRecord
from streams.logs import LogPace
from streams.topic_ids import topic_facts
from tieline.cloudevents import Poison, decode
from tieline.events import Command, PolicyChange
from tieline.kafka import Brokers


class CommandReader:
    """Follows the command log. ``on_change`` is called after each record. Orders that are given from now on
    are logged, with ``quiet`` none. ``read``: by id, the newest orders that were read here, refused or not.
    """

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
        self.read: dict[str, Command | PolicyChange] = {}
        self._bootstrap = bootstrap
        self._topic = topic
        self._refusals = 0
        self._pace = LogPace()
        self._tail = Tail(bootstrap, topic, self._take)
        self._unsigned_allowed = unsigned_allowed
        self._on_change = on_change
        self._quiet = quiet
        self._new_from = 0  # orders before this offset were given before this process began
        self._log = structlog.get_logger("commands")

    async def start(self, newest: RoutesRecord | None = None) -> None:
        """Connects. Begins with the orders that ``newest``, the newest publication, found in force, and after
        what it took into account; without it, or if that is another log, at the oldest record.

        Raises KafkaConnectionError or ``TopicMissingError``.
        """
        await self._tail.start()
        self._new_from = await self._tail.end_offset()
        facts = await topic_facts(self._bootstrap, [self._topic])
        topic_id = facts[self._topic].id
        begin = self._tail.first_offset
        if newest is not None and newest.commands_topic_id:
            self.log = CommandLog.after(newest, unsigned_allowed=self._unsigned_allowed)
            if newest.commands_topic_id == topic_id and newest.commands_next_offset <= self._new_from:
                begin = max(newest.commands_next_offset, begin)
                self._tail.resume(begin)
        self.log = replace(self.log, next_offset=begin, answered_offset=begin, topic_id=topic_id)

    @property
    def unread(self) -> int:
        """How many records of those that lay on the log at the start are not read yet."""
        return max(self._new_from - self.log.next_offset, 0)

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
        command: Command | PolicyChange | None = None
        why = ""
        try:
            event = decode(record.headers, record.value, record.key)
            command = event if isinstance(event, Command | PolicyChange) else None
        except Poison as error:
            why = str(error)
        self.log = self.log.apply(
            record.offset, record.timestamp, command, unsigned_allowed=self._unsigned_allowed
        )
        if not self._quiet and record.offset >= self._new_from:
            self._report(record.offset, command, why or self.log.refused)
        if command is not None:
            self._remember(command)
            self._on_change()

    def forget_changes(self, next_offset: int, topic_id: str) -> None:
        """Forgets the policy changes that a publication took into account, which read the log of this topic
        up to ``next_offset``."""
        if topic_id == self.log.topic_id:
            self.log = self.log.without_changes(next_offset)

    def log_policy(self, taken: PolicyTaken) -> None:
        """Logs what became of policy changes, and which policy is in force."""
        for answer in taken.answers:
            if answer.refused:
                self._log.warning("a policy change was refused", id=answer.id, why=answer.refused)
        self._log.info("policy in force", number=taken.policy.number, version=taken.policy.version)

    def _remember(self, command: Command | PolicyChange) -> None:
        """Keeps the order, of a policy change without its policies, for whoever tells what became of it."""
        if isinstance(command, PolicyChange):
            command = msgspec.structs.replace(command, policy=b"", parent_policy=b"")
        self.read.setdefault(command.id, command)
        if len(self.read) > IDS_KEPT_MAX:
            self.read.pop(next(iter(self.read)))

    def _report(self, offset: int, command: Command | PolicyChange | None, refused: str) -> None:
        """Each order that is given; of refused ones, and of records that are no orders, one a minute."""
        if refused:
            self._refusals += 1
            kind = "no order" if command is None else getattr(command, "verb", "policy")
            if self._pace.allows(kind, asyncio.get_running_loop().time()):
                so_far = self._refusals
                self._log.warning("an order was refused", offset=offset, why=refused, so_far=so_far)
        elif isinstance(command, PolicyChange):
            self._log.info(
                "a policy change was given",
                number=command.number,
                version=command.version,
                parent=command.parent,
                actor=command.actor,
                reason=command.reason,
                id=command.id,
                forced=command.forced,
                signed=bool(command.signature),
            )
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
