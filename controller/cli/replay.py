"""`tieline replay --from -10m`: decides recorded decisions again and compares bytes; exits 1 at a difference.

With `--policy other.yaml` it shows what another policy would have done over the same inputs, beside what was
done.
"""

import argparse
import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from controller.cli.terminal import instant_ms, rfc3339, screen
from controller.core.planner import Planner
from controller.core.policy.policy import Policy
from controller.decisions.chain import Chain, Gap
from controller.decisions.log import WHOLE_EVERY_MS
from controller.decisions.reader import decisions_from
from controller.decisions.record import RebuiltDecision
from controller.decisions.replay import Difference, difference
from controller.decisions.trial import Comparison, PolicyTrial, Totals
from controller.policy_file import load_policy
from controller.process.clock import now_ms
from controller.process.errors import UserError
from controller.process.settings import KAFKA, Settings, add_stack_arguments, read_settings
from controller.process.telemetry import quiet
from tieline.table import CRITICALITIES

EXIT_DIFFERENT = 1
LATE_MS_MAX = 120_000  # a record is appended at most so long after its decision
GAPS_SHOWN = 10


class ReplayReport(Struct, frozen=True, omit_defaults=True):
    """What `--json` prints. ``first`` and ``last``: the generations of the first and the last decision, made
    at ``first_ms`` and ``last_ms``. ``log_begins_ms``: the log holds nothing before it, though it was asked
    for."""

    from_ms: int
    to_ms: int
    decisions: int
    same: int
    first: str = ""
    last: str = ""
    first_ms: int = 0
    last_ms: int = 0
    difference: Difference | None = None
    comparison: Comparison | None = None
    log_begins_ms: int | None = None
    gaps: tuple[Gap, ...] = ()


class Reading:
    """The decisions made between two instants, rebuilt; ``chain`` has the gaps once all were read."""

    def __init__(self, settings: Settings, from_ms: int, to_ms: int) -> None:
        self._settings = settings
        self._from_ms, self._to_ms = from_ms, to_ms
        self.chain = Chain()
        self.log_begins_ms: int | None = None

    async def decisions(self) -> AsyncIterator[RebuiltDecision]:
        """The decisions in the log's order. Older records are read only as far as these are built on them."""
        topic = self._settings.topics.decisions.name
        from_ms = self._from_ms - WHOLE_EVERY_MS - LATE_MS_MAX
        async with decisions_from(self._settings.kafka, topic, from_ms) as reader:
            begun = False
            async for record in reader.records(self._to_ms + LATE_MS_MAX):
                rebuilt = self.chain.take(record.offset, record.body)
                at_ms = record.append_ms if rebuilt is None else rebuilt.now_ms
                if not begun and at_ms >= self._from_ms:
                    begun = True
                    if reader.is_oldest and record.offset == reader.first_offset > 0:
                        self.log_begins_ms = at_ms
                if rebuilt is not None and not begun:
                    self.chain.gaps.clear()  # nobody asks for what is missing before the first instant
                if rebuilt is not None and self._from_ms <= rebuilt.now_ms <= self._to_ms:
                    yield rebuilt


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser("replay", description=__doc__)
    add_range_arguments(parser, "-10m")
    parser.add_argument("--policy", metavar="FILE", help="another policy, to compare with what was done")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    add_stack_arguments(parser)


def add_range_arguments(parser: argparse.ArgumentParser, default: str) -> None:
    """Adds the flags for the first and the last instant."""
    parser.add_argument(
        "--from",
        dest="from_",
        default=default,
        metavar="T",
        help=f"RFC 3339, 02:00 (UTC), epoch milliseconds, or e.g. -10m (default {default})",
    )
    parser.add_argument("--to", default="now", metavar="T", help="the same (default now)")


def range_of(args: argparse.Namespace) -> tuple[int, int]:
    """The two instants. Raises ``UserError``."""
    at_ms = now_ms()
    from_ms, to_ms = instant_ms(args.from_, at_ms, "--from"), instant_ms(args.to, at_ms, "--to")
    if from_ms >= to_ms:
        raise UserError(f"--from {args.from_} does not lie before --to {args.to}")
    return from_ms, to_ms


def run(args: argparse.Namespace) -> int:
    """0 when every decision came out the same (or the comparison was made), 1 at the first difference."""
    from_ms, to_ms = range_of(args)
    settings = read_settings(args, os.environ, needs=(KAFKA,))
    policy = load_policy(Path(args.policy)) if args.policy else None
    quiet()
    report = asyncio.run(replayed(settings, from_ms, to_ms, policy))
    if args.json:
        print(msgspec.json.encode(report).decode())
    else:
        draw(report, screen())
    return EXIT_DIFFERENT if report.difference is not None else 0


async def replayed(settings: Settings, from_ms: int, to_ms: int, policy: Policy | None) -> ReplayReport:
    """The decisions made between two instants decided again, or by another policy as well. Raises
    ``UserError`` where nothing was decided, KafkaError."""
    reading = Reading(settings, from_ms, to_ms)
    trial = PolicyTrial(policy) if policy is not None else None
    planner = Planner()
    first = last = ""
    count = same = first_ms = last_ms = 0
    different: Difference | None = None
    async for rebuilt in reading.decisions():
        count += 1
        first, last = first or str(rebuilt.generation), str(rebuilt.generation)
        first_ms, last_ms = first_ms or rebuilt.now_ms, rebuilt.now_ms
        if trial is not None:
            trial.take(rebuilt)
        elif (different := difference(rebuilt, planner)) is not None:
            break
        else:
            same += 1
    if not count and not reading.chain.gaps:
        raise UserError(
            f"nothing was decided between {rfc3339(from_ms)} and {rfc3339(to_ms)}: give an earlier --from"
        )
    return ReplayReport(
        from_ms=from_ms,
        to_ms=to_ms,
        decisions=count,
        same=same,
        first=first,
        last=last,
        first_ms=first_ms,
        last_ms=last_ms,
        difference=different,
        comparison=trial.result() if trial is not None else None,
        log_begins_ms=reading.log_begins_ms,
        gaps=tuple(reading.chain.gaps),
    )


def draw(report: ReplayReport, console: Console) -> None:
    """Draws the report on a terminal."""
    if report.log_begins_ms is not None:
        console.print(f"the log begins at {rfc3339(report.log_begins_ms)}: nothing before it can be replayed")
    for gap in report.gaps[:GAPS_SHOWN]:
        after = f" after {gap.after}" if gap.after else ""
        console.print(f"gap at {gap.at}{after}: {gap.missing} not replayed: {gap.why}", markup=False)
    if len(report.gaps) > GAPS_SHOWN:
        console.print(f"and {len(report.gaps) - GAPS_SHOWN} more gaps")
    span = f"{report.first} ({rfc3339(report.first_ms)}) to {report.last} ({rfc3339(report.last_ms)})"
    if (different := report.difference) is not None:
        place = f"{different.generation}, decided {rfc3339(different.now_ms)}, in {different.place}"
        console.print(f"DIFFERENT at {place}", markup=False)
        console.print(f"  recorded: {different.recorded}\n  again:    {different.again}", markup=False)
        console.print(f"{report.same} decisions before it came out the same")
    elif report.comparison is not None:
        _draw_comparison(report.comparison, span, console)
    else:
        console.print(f"{report.same} decisions, {span}: all the same, byte for byte", soft_wrap=True)


def _draw_comparison(comparison: Comparison, span: str, console: Console) -> None:
    length_s = comparison.length_ms / 1_000
    console.print(f"{comparison.decisions} decisions, {span}, over {length_s:,.0f} s", soft_wrap=True)
    table = Table(title="totals", title_justify="left")
    for heading in ("", "as recorded", "other policy"):
        table.add_column(heading, justify="right" if heading else "left")
    for row in _rows(comparison.recorded, comparison.other):
        table.add_row(*row)
    console.print(table)
    ends = Table(title="routes that end differently", title_justify="left")
    for heading in ("route", "pool", "as recorded", "other policy"):
        ends.add_column(heading, justify="left" if heading in ("route", "pool") else "right")
    for route in comparison.routes:
        for pool in sorted({*route.recorded, *route.other}):
            was, now = route.recorded.get(pool, 0.0), route.other.get(pool, 0.0)
            if was != now:
                ends.add_row(route.route, pool, f"{was:.2%}", f"{now:.2%}")
        if route.recorded_shed != route.other_shed:
            ends.add_row(route.route, "shed", f"{route.recorded_shed:.2%}", f"{route.other_shed:.2%}")
    if ends.row_count:
        console.print(ends)
    else:
        console.print("every route ends the same")


def _rows(was: Totals, now: Totals) -> list[tuple[str, str, str]]:
    figures = [
        ("offered, units", was.offered, now.offered),
        ("served", was.served, now.served),
        ("sent where it failed", was.failed, now.failed),
    ]
    figures += [(f"shed {name}", was.shed.get(name, 0.0), now.shed.get(name, 0.0)) for name in CRITICALITIES]
    return [
        *((name, f"{recorded:,.0f}", f"{other:,.0f}") for name, recorded, other in figures),
        ("burst, money", f"{was.burst_money:,.4f}", f"{now.burst_money:,.4f}"),
        ("tables that moved load", str(was.tables), str(now.tables)),
        ("moved, units/s", f"{was.moved_units_per_s:,.0f}", f"{now.moved_units_per_s:,.0f}"),
        ("against law or contract", str(was.broken), str(now.broken)),
    ]
