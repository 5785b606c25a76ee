"""Every controller that said something lately, for commands: what it is, and what is wrong with it."""

from typing import Any

from msgspec import Struct

from controller.kafka.ordered_log import Tail
from controller.leading.presence import PRESENT_MS, RECORDS_READ_MAX, Presence, Roster
from controller.process.roles import Role
from controller.process.settings import Settings
from controller.routes.counting_rule import NO_EPOCH
from controller.status.live import read_once

GONE_SHOWN_MS = 60_000


class ControllerRow(Struct, frozen=True):
    """One controller. ``heard_ms``: when it last said something, by the brokers' clock. ``state``: "leads",
    "stands by", "takes events in" (it never leads), "not fit", "starts" or, if it said nothing for 5 s,
    "silent"."""

    state: str
    heard_ms: int
    presence: Presence

    @property
    def is_unwell(self) -> bool:
        """Whether a person should look at it."""
        return bool(self.presence.faults or self.presence.alarms) or self.state == "silent"


async def controllers(settings: Settings, at_ms: int) -> tuple[ControllerRow, ...]:
    """Those that are there or fell silent within the last minute. Raises KafkaError, TimeoutError,
    TopicMissingError."""
    roster = Roster()

    def take(record: Any) -> None:
        roster.take(record)

    tail = Tail(settings.kafka, settings.topics.controllers.name, take)
    await tail.start(last=RECORDS_READ_MAX)
    await read_once(tail)
    return rows_of(roster, at_ms)


def rows_of(roster: Roster, at_ms: int) -> tuple[ControllerRow, ...]:
    """Those of the roster that are there or fell silent within the last minute."""
    return tuple(
        ControllerRow(state_of(row.presence, at_ms - row.append_ms), row.append_ms, row.presence)
        for row in roster.rows(at_ms)
        if at_ms - row.append_ms < GONE_SHOWN_MS and not row.presence.leaving
    )


def state_of(presence: Presence, silent_ms: int) -> str:
    """The state of a controller that has said nothing for ``silent_ms``."""
    if silent_ms >= PRESENT_MS:
        return "silent"
    if not presence.checked:
        return "starts"
    if presence.epoch != NO_EPOCH:
        return "leads"
    if presence.faults:
        return "not fit"
    return "stands by" if presence.does(Role.DECIDE) else "takes events in"


def controller_line(row: ControllerRow) -> str:
    """One controller in one line: where it runs, what it does, and what is wrong with it or worth knowing."""
    presence = row.presence
    words = f"controller {presence.identity[:8]} on {presence.host} (pid {presence.pid}) {row.state}"
    policy = f"policy {presence.policy_number} ({presence.policy_version[:8]})"
    words += f", {policy}, {presence.partitions} partitions"
    wrong = [*(fault.words for fault in presence.faults), *presence.alarms]
    return "; ".join([words, *wrong, *presence.notices])
