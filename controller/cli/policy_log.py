"""`tieline policy show` and `history`: the policies that are, or were, in force, as Kafka has them."""

from typing import NamedTuple

from aiokafka.structs import ConsumerRecord
from msgspec.json import encode

from controller.commands.policy_history import PREFIX_MIN, PolicyHistory, PolicyRow
from controller.core.policy.policy import Policy
from controller.kafka.ordered_log import Tail
from controller.leading.routes_reader import RoutesReader
from controller.policy_file import policy_text
from controller.process.errors import UserError
from controller.process.settings import Settings
from controller.process.telemetry import without_controls
from controller.routes.record import LoggedChange, RoutesRecord
from controller.status.live import read_once
from controller.status.words import utc
from tieline.cloudevents import Poison, decode
from tieline.events import PolicyChange

NOTHING_YET = "no controller has published anything yet: start one with `tieline controller`"


class PolicyLog(NamedTuple):
    """The newest publication, and the policies of its lineage."""

    record: RoutesRecord
    history: PolicyHistory


async def read_policy_log(settings: Settings) -> PolicyLog:
    """Reads both logs to their ends. Raises ``UserError`` where nothing was published yet, KafkaError,
    TimeoutError."""
    changes: list[LoggedChange] = []

    def take(record: "ConsumerRecord[bytes | None, bytes | None]") -> None:
        try:
            event = decode(record.headers, record.value, record.key)
        except Poison:
            return
        if isinstance(event, PolicyChange):
            changes.append(LoggedChange(record.offset, record.timestamp, event))

    tail = Tail(settings.kafka, settings.topics.commands.name, take)
    await tail.start()
    await read_once(tail)
    async with RoutesReader(settings) as routes:
        newest = routes.newest()
    if newest is None:
        raise UserError(NOTHING_YET)
    return PolicyLog(newest, PolicyHistory(newest, changes, namespace=settings.namespace))


def row_of(history: PolicyHistory, name: str) -> PolicyRow:
    """The policy that was in force under this number or version. Raises ``UserError``."""
    if (row := history.find(name)) is not None:
        return row
    numbers = sorted(history.packed)
    span = f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"{numbers[0]} only"
    raise UserError(
        f"there is no policy {name!r}: give a number ({span} are known), or at least {PREFIX_MIN} digits of "
        "a version, as `tieline policy history` lists them"
    )


def policy_of(history: PolicyHistory, name: str) -> Policy:
    """The policy itself. Raises ``UserError``."""
    return _readable(history, row_of(history, name))


async def show(settings: Settings, name: str | None, *, as_json: bool) -> int:
    """Prints the policy in force, or an earlier one, as YAML."""
    history = (await read_policy_log(settings)).history
    row = row_of(history, name) if name is not None else _in_force(history)
    policy = _readable(history, row)
    if as_json:
        print(encode({"row": row, "policy": policy}).decode())
    else:
        print(without_controls(f"# {head(row)}"))
        print(policy_text(policy), end="")
    return 0


async def list_history(settings: Settings, *, as_json: bool) -> int:
    """Prints every policy that the log knows, the newest first."""
    rows = (await read_policy_log(settings)).history.rows
    if as_json:
        print(encode(rows).decode())
        return 0
    for row in rows:
        print(without_controls(head(row)))
        for line in _details(row):
            print(without_controls(f"  {line}"))
    return 0


def head(row: PolicyRow) -> str:
    """``policy 7 (cdaf2e4f), in force since 2026-11-27 11:14:13 UTC, by kim: a new region``."""
    text = f"policy {row.number} ({row.version[:8]}), {row.fate}"
    if row.at_ms is None:
        return f"{text}, {row.reason}" if row.reason else text
    time = f" since {utc(row.at_ms)}" if row.fate == "in force" else f", of {utc(row.at_ms)}"
    return f"{text}{time}, by {row.actor}: {row.reason}"


def _details(row: PolicyRow) -> list[str]:
    lines = [row.summary, row.why and f"refused: {row.why}"]
    if row.forced:
        lines.append(f"set aside: {', '.join(row.forced)}")
    return [line for line in lines if line]


def _readable(history: PolicyHistory, row: PolicyRow) -> Policy:
    try:
        return history.policy(row)
    except ValueError as error:
        raise UserError(str(error)) from None


def _in_force(history: PolicyHistory) -> PolicyRow:
    return next(row for row in history.rows if row.fate == "in force")
