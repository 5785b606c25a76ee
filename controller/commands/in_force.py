"""The reader of operators' orders: it follows the command log and folds it (``log``).

It begins where the newest publication left off, which also holds the orders that were in force there. So
rubbish on the log, however much, is read once by whoever leads, and not by each process that starts later.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import msgspec
from aiokafka.structs import ConsumerRecord

from controller.commands.authority import OrderRules
from controller.commands.log import CommandLog
from controller.commands.policies import PolicyInForce, PolicyTaken, policy_after, published_policy
from controller.kafka.ordered_log import Tail
from controller.process.telemetry import logger
from controller.routes.record import RecordHead, RoutesRecord
from streams.logs import LogPace
from streams.topic_ids import topic_facts
from tieline.cloudevents import Poison, decode
from tieline.events import Command, PolicyChange
from tieline.kafka import Brokers

REJECTIONS_WAKE_S = 0.25
READ_KEPT_MAX = 1_000


def rules_under(policy: PolicyInForce, namespace: str) -> OrderRules:
    """Whose orders count under this policy."""
    return OrderRules.of(policy.policy, unsigned=policy.unsigned, namespace=namespace)


class CommandReader:
    """Follows the command log. ``on_change`` is called after each order by somebody who may give it, and a
    moment after orders by others, once for all of them. Orders that are given from now on are logged, with
    ``quiet`` none. ``policy`` counts until a publication or the log says another; it says whose orders count.
    ``read``: by id, the newest orders that were read here, refused or not.
    """

    def __init__(
        self,
        bootstrap: str | Brokers,
        topic: str,
        *,
        policy: PolicyInForce,
        namespace: str,
        on_change: Callable[[], None] = lambda: None,
        quiet: bool = False,
    ) -> None:
        self.log = CommandLog()
        self.read: dict[str, Command | PolicyChange] = {}
        self._policy = policy
        self._namespace = namespace
        self._rules = rules_under(policy, namespace)
        self._bootstrap = bootstrap
        self._topic = topic
        self._refusals = 0
        self._pace = LogPace()
        self._tail = Tail(bootstrap, topic, self._take)
        self._on_change = on_change
        self._waking: asyncio.TimerHandle | None = None
        self._quiet = quiet
        self._new_from = 0  # orders before this offset were given before this process began
        self._log = logger("commands")

    async def start(self, newest: RoutesRecord | None = None) -> None:
        """Connects. Begins with the orders that ``newest``, the newest publication, found in force, and after
        what it took into account; without it, or if that is another log, at the oldest record.

        Raises KafkaConnectionError, ``TopicMissingError``, or ``UserError`` for a policy in force that this
        version can't read.
        """
        await self._tail.start()
        self._new_from = await self._tail.end_offset()
        facts = await topic_facts(self._bootstrap, [self._topic])
        topic_id = facts[self._topic].id
        begin = self._tail.first_offset
        if newest is not None and newest.commands_topic_id:
            self._follow(published_policy(newest, unsigned=self._policy.unsigned))
            self.log = CommandLog.after(newest, rules=self._rules)
            self._report_left_out(newest.orders)
            if newest.commands_topic_id == topic_id and newest.commands_next_offset <= self._new_from:
                begin = max(newest.commands_next_offset, begin)
                self._tail.resume(begin)
        self.log = replace(
            self.log, next_offset=begin, answered_offset=begin, rejected_offset=begin, topic_id=topic_id
        )

    @property
    def takes_unsigned(self) -> bool:
        """Whether orders need no signature, by the policy at this place in the log."""
        return self._rules.unsigned_allowed

    @property
    def unread(self) -> int:
        """How many records of those that lay on the log at the start are not read yet."""
        return max(self._new_from - self.log.next_offset, 0)

    async def run(self) -> None:
        """Follows the log until cancelled."""
        await self._tail.run()

    async def read_all(self, within_s: float) -> None:
        """Returns once every order given so far was read. Raises TimeoutError."""
        await self._tail.read_all(within_s)

    async def read_older(self, within_s: float) -> None:
        """Returns once every order was read that was given before ``start``. Raises TimeoutError."""
        await self._tail.read_older(within_s)

    async def stop(self) -> None:
        """Closes the connection; ``run`` must have ended."""
        if self._waking is not None:
            self._waking.cancel()
        await self._tail.stop()

    def _take(self, record: ConsumerRecord[bytes | None, bytes | None]) -> None:
        command: Command | PolicyChange | None = None
        why = ""
        try:
            event = decode(record.headers, record.value, record.key)
            command = event if isinstance(event, Command | PolicyChange) else None
        except Poison as error:
            why = str(error)
        before = self.log
        self.log = before.apply(record.offset, record.timestamp, command, rules=self._rules)
        if self.log.changes[len(before.changes) :]:
            self._follow(policy_after(self._policy, self.log.changes[-1:]).policy)
            self.log = self.log.under(self._rules)
            self._report_left_out(before.orders)
        if not self._quiet and record.offset >= self._new_from:
            self._report(record.offset, command, why or self.log.refused)
        if command is not None:
            self._remember(command)
        if self.log.answered_offset != before.answered_offset:
            self._on_change()
        elif self.log.rejected_offset != before.rejected_offset and self._waking is None:
            self._waking = asyncio.get_running_loop().call_later(REJECTIONS_WAKE_S, self._wake)

    def _follow(self, policy: PolicyInForce) -> None:
        """From here on in the log this policy says whose orders count."""
        if policy.version != self._policy.version:
            self._rules = rules_under(policy, self._namespace)
        self._policy = policy

    def _wake(self) -> None:
        self._waking = None
        self._on_change()

    def _report_left_out(self, orders: tuple[Command, ...]) -> None:
        """Orders that were in force end here without anybody having taken them back: said once, by name."""
        remaining = {order.id for order in self.log.orders}
        ended = [order for order in orders if order.id not in remaining]
        if ended and not self._quiet:
            texts = [f"{order.verb} {order.scope} by {order.actor} ({order.id})" for order in ended]
            self._log.warning("orders that were in force are not accepted here and end", orders=texts)

    def follow_publication(self, head: RecordHead) -> None:
        """Forgets the policy changes that a publication took into account, and goes by its policy unless
        further changes were read. Raises ``UserError`` for a policy that this version can't read."""
        if head.commands_topic_id not in ("", self.log.topic_id):
            return
        self.log = self.log.without_changes(head.commands_next_offset)
        if head.policy and head.policy_version != self._policy.version and not self.log.changes:
            self._follow(published_policy(head, unsigned=self._policy.unsigned))

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
        if self.log.refused:
            self.read.setdefault(command.id, command)  # a copy or a forgery does not replace the true order
        else:
            self.read[command.id] = command
        if len(self.read) > READ_KEPT_MAX:
            self.read.pop(next(iter(self.read)))

    def _report(self, offset: int, command: Command | PolicyChange | None, refused: str) -> None:
        """Each order that is given; of refused ones, and of records that are no orders, one a minute."""
        if refused:
            self._refusals += 1
            kind = "no order" if command is None else getattr(command, "verb", "policy")
            if self._pace.allows(kind, asyncio.get_running_loop().time()):
                so_far = self._refusals
                actor = command.actor if command is not None else ""
                self._log.warning(
                    "an order was refused", offset=offset, actor=actor, why=refused, so_far=so_far
                )
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
