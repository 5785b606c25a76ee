"""`tieline drill list` and `show`: the drills of the history, and all that it tells of one of them."""

from collections.abc import Iterable

import msgspec
from msgspec import Struct
from rich.text import Text

from controller.cli.history import lines_of
from controller.cli.tables import fitted_table
from controller.cli.terminal import screen
from controller.core.model.words import duration
from controller.history.entries import DrillResult, Entry, Selection
from controller.history.reader import history_between
from controller.process.errors import UserError
from controller.process.settings import Settings
from controller.status.words import utc

SECOND_MS = 1_000
ID_DIGITS = 8  # of an id: enough to name a drill


class DrillRow(Struct, frozen=True, omit_defaults=True):
    """One drill with all that the history says of it: who began it, why, and what came of it."""

    result: DrillResult
    who: str
    reason: str
    entries: tuple[Entry, ...] = ()


async def read_drills(settings: Settings, from_ms: int, to_ms: int) -> tuple[DrillRow, ...]:
    """The drills that the history has between two instants, the newest first. Raises KafkaError,
    ``TopicMissingError`` or TimeoutError."""
    topic = settings.topics.history.name
    stretch = await history_between(settings.kafka, topic, from_ms, to_ms, Selection(kinds=("drill",)))
    return drill_rows(stretch.entries)


def drill_rows(entries: Iterable[Entry]) -> tuple[DrillRow, ...]:
    """By drill, the newest first. The last entry of a drill says the most of it."""
    by_id: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.drill is not None:
            by_id.setdefault(entry.drill.id, []).append(entry)
    rows = []
    for own in by_id.values():
        last = own[-1]
        if last.drill is not None:
            rows.append(DrillRow(last.drill, last.who, " ".join(last.why), entries=tuple(own)))
    return tuple(sorted(rows, key=lambda row: -row.result.began_ms))


def print_list(rows: tuple[DrillRow, ...], *, as_json: bool) -> None:
    """All drills, one line each, within 80 columns; who gave them is told by `tieline drill show`."""
    if as_json:
        print(msgspec.json.encode([msgspec.structs.replace(row, entries=()) for row in rows]).decode())
        return
    console = screen()
    if not rows:
        console.print("the history has no drill in this time")
        return
    cells = [
        (
            Text(row.result.id.removeprefix("cmd-")[:ID_DIGITS]),
            Text(utc(row.result.began_ms).removesuffix(" UTC")),
            Text(row.result.scope),
            Text(_time(row.result.recovery_ms, row.result.objective_s)),
            Text(_time(row.result.return_ms, row.result.return_objective_s)),
            _outcome(row.result),
        )
        for row in rows
    ]
    headings = ("id", "began (UTC)", "drill", "empty after", "back after", "outcome")
    table = fitted_table("drills", headings, cells, console.width)
    console.print(table)


def _outcome(result: DrillResult) -> Text:
    outcome = result.outcome.replace("_", " ") or "runs, or its end is not in this time"
    style = "" if result.outcome in ("", "succeeded") else "red"
    return Text(f"{outcome}: {result.cause}" if result.cause else outcome, style=style)


def print_one(rows: tuple[DrillRow, ...], name: str, *, as_json: bool) -> None:
    """All that the history tells of one drill. Raises ``UserError`` if no id begins so."""
    matching = [
        row for row in rows if row.result.id.removeprefix("cmd-").startswith(name.removeprefix("cmd-"))
    ]
    if len(matching) != 1:
        count = "more than one drill" if matching else "no drill"
        raise UserError(
            f"the history has {count} with the id {name!r} in this time: see `tieline drill list`"
        )
    (row,) = matching
    if as_json:
        print(msgspec.json.encode(row).decode())
        return
    console = screen()
    for entry in row.entries:
        for line in lines_of(entry, console.width):
            console.print(line, soft_wrap=True)


def _time(time_ms: int, objective_s: int) -> str:
    if not time_ms:
        return "-"
    objective = f" of {duration(objective_s * SECOND_MS)}" if objective_s else ""
    return f"{duration(time_ms)}{objective}"
