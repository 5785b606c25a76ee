"""`tieline history --from -1h --pool X`: what happened between two instants, who did it, why, and what moved.

It reads the history that the leader writes (``controller.history``), and only the part of it that lies in the
range.
"""

import argparse
import asyncio
import os
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct
from rich.console import Console

from controller.cli.replay import add_range_arguments, range_of
from controller.cli.terminal import screen
from controller.history.entries import KIND_GROUPS, KINDS, ROUTINE, Entry, LoadMove, Selection
from controller.history.reader import history_between
from controller.process.settings import KAFKA, add_stack_arguments, read_settings
from controller.process.telemetry import quiet, without_controls
from controller.status.words import utc

KIND_WIDTH = 11
INDENT = " " * (len("12:00:00 ") + KIND_WIDTH + 1)
MOVES_SHOWN = 8
WHY_SHOWN = 8
TEXT_WIDTH_MIN = 30


class HistoryReport(Struct, frozen=True):
    """What `--json` prints. ``begins_ms``: older records are no longer kept, though they were asked for.
    ``left_out``: how many older entries are not listed."""

    from_ms: int
    to_ms: int
    begins_ms: int | None
    entries: tuple[Entry, ...]
    left_out: int = 0


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        "history",
        description="Says what happened between two instants: decisions and what they moved, orders, "
        "refusals, alarms, and who led. The history of 90 days is kept.",
    )
    add_range_arguments(parser, "-1h")
    group = parser.add_argument_group("what to show; each may be given several times")
    for flag, what in (
        ("pool", "what concerns this pool, region or provider"),
        ("provider", "the same"),
        ("workload", "what moved or shed load of this workload"),
        ("actor", "what this operator or controller did or caused"),
    ):
        group.add_argument(f"--{flag}", action="append", default=[], metavar="NAME", help=what)
    group.add_argument(
        "--kind",
        action="append",
        default=[],
        choices=sorted({*KINDS, *KIND_GROUPS}),
        metavar="KIND",
        help=f"one of {', '.join(sorted({*KINDS, *KIND_GROUPS}))}",
    )
    parser.add_argument("--all", action="store_true", help="also tables that move no load")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    add_stack_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Returns 0, also when nothing happened."""
    from_ms, to_ms = range_of(args)
    settings = read_settings(args, os.environ, needs=(KAFKA,))
    quiet()
    selection = Selection(
        tuple(args.pool),
        tuple(args.provider),
        tuple(args.workload),
        actors=tuple(args.actor),
        kinds=tuple(args.kind),
    )
    topic = settings.topics.history.name
    stretch = asyncio.run(history_between(settings.kafka, topic, from_ms, to_ms, selection))
    shows_routine = args.all or not ROUTINE.isdisjoint(args.kind)
    entries = tuple(entry for entry in stretch.entries if shows_routine or not is_routine(entry))
    report = HistoryReport(from_ms, to_ms, stretch.begins_ms, entries=entries, left_out=stretch.left_out)
    if args.json:
        print(msgspec.json.encode(report).decode())
    else:
        draw(report, screen(), is_selective=selection != Selection())
    return 0


def is_routine(entry: Entry) -> bool:
    """Whether the entry is shown only on demand: it moved nothing, or an announced end came."""
    return entry.kind in ROUTINE or (entry.kind == "expiring" and entry.phase == "ends")


def draw(report: HistoryReport, console: Console, *, is_selective: bool) -> None:
    """Draws the report on a terminal; ``is_selective``: not everything was asked for."""
    if report.begins_ms is not None:
        console.print(f"the history begins at {utc(report.begins_ms)}: what was before is no longer kept")
    if report.left_out:
        console.print(f"{report.left_out:,} older entries are left out: give a later --from, or a --kind")
    between = f"between {utc(report.from_ms)} and {utc(report.to_ms)}"
    if not report.entries:
        limited = " of what was asked for" if is_selective else ""
        console.print(f"nothing{limited} happened {between}", soft_wrap=True)
        return
    day, lines = "", list[str]()
    for entry in report.entries:
        instant = datetime.fromtimestamp(entry.at_ms / 1_000, UTC)
        if day != (day := f"{instant:%Y-%m-%d}"):
            lines.append(f"{day} (UTC)")
        lines += lines_of(entry, console.width)
    # There may be twenty thousand lines, and rich takes seconds for that many.
    console.file.write(without_controls("\n".join(lines)) + "\n")


def lines_of(entry: Entry, width: int) -> Iterator[str]:
    """The lines of one entry: when, kind and what, then by whom, what moved, and why."""
    instant = datetime.fromtimestamp(entry.at_ms / 1_000, UTC)
    kind = entry.kind.replace("_", " ")
    head = f"{instant:%H:%M:%S} {kind:<{KIND_WIDTH}} "
    first, *more = _wrapped(entry.text, width) or [""]
    yield head + first
    yield from (INDENT + line for line in more)
    details = []
    if entry.who or entry.generation:
        details.append(", ".join(filter(None, (_people(entry), entry.generation))))
    details += [_move_in_words(move) for move in entry.moves[:MOVES_SHOWN]]
    if more_moves := max(len(entry.moves) - MOVES_SHOWN, 0) + entry.moves_left_out:
        details.append(f"and {more_moves} more")
    details += [f"why: {reason}" for reason in entry.why[:WHY_SHOWN]]
    if more_reasons := len(entry.why) - WHY_SHOWN:
        details += [f"and {more_reasons} more reasons"] if more_reasons > 0 else []
    for detail in details:
        yield from (INDENT + line for line in _wrapped(detail, width))


def _people(entry: Entry) -> str:
    """``by kim``, ``by controller 2d7f02b4, on the orders of kim``."""
    others = [actor for actor in entry.actors if actor != entry.who]
    by = [f"by {entry.who}"] if entry.who else []
    return ", ".join([*by, *([f"on the orders of {' and '.join(others)}"] if others else [])])


def _move_in_words(move: LoadMove) -> str:
    place = move.pool or "shed"
    return f"{move.workload} {place}: {move.before:,.0f} -> {move.after:,.0f}"


def _wrapped(text: str, width: int) -> list[str]:
    room = max(width - len(INDENT), TEXT_WIDTH_MIN)
    if len(text) <= room and "\n" not in text:
        return [text]
    return textwrap.wrap(text, room, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
