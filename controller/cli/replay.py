"""`tieline replay --from -10m`: decides recorded decisions again and compares bytes; exits 1 at a difference.

With `--policy other.yaml`: what another policy would have done over the same inputs, beside what was done.
"""

import argparse
import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from controller.cli.instants import instant_ms, rfc3339
from controller.cli.screen import screen
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


class Replayed(Struct, frozen=True, omit_defaults=True):
    """What `--json` prints. ``first``, ``last``: the decisions' generations, made at ``first_ms`` and
    ``last_ms``. ``log_begins_ms``: the log holds nothing before it, though it was asked for."""

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
        """In the log's order. What lies before the first instant is read only as far as it is built on."""
        topic = self._settings.topics.decisions.name
        from_ms = self._from_ms - WHOLE_EVERY_MS - LATE_MS_MAX
        async with decisions_from(self._settings.kafka, topic, from_ms) as reader:
            begun = False
            async for record in reader.records(self._to_ms + LATE_MS_MAX):
                found = self.chain.take(record.offset, record.body)
                at_ms = record.append_ms if found is None else found.now_ms
                if not begun and at_ms >= self._from_ms:
                    begun = True
                    if reader.is_oldest and record.offset == reader.first_offset > 0:
                        self.log_begins_ms = at_ms
                if found is not None and not begun:
                    self.chain.gaps.clear()  # what is missing before the first instant is not asked for
                if found is not None and self._from_ms <= found.now_ms <= self._to_ms:
                    yield found


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        "replay", help="decide recorded decisions again, or by another policy", description=__doc__
    )
    add_range_arguments(parser, "-10m")
    parser.add_argument("--policy", metavar="FILE", help="another policy, to compare with what was done")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    add_stack_arguments(parser)


def add_range_arguments(parser: argparse.ArgumentParser, default: str) -> None:
    """From when to when."""
    # argparse takes -10m for an option, as only plain negative numbers are values to it.
    parser._negative_number_matcher = re.compile(r"-\d+(\.\d*)?[smhd]?\Z")
    parser.add_argument(
        "--from",
        dest="from_",
        default=default,
        metavar="T",
        help=f"RFC 3339, epoch milliseconds, or e.g. -10m (default {default})",
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
    found = asyncio.run(_replayed(settings, from_ms, to_ms, policy))
    if args.json:
        print(msgspec.json.encode(found).decode())
    else:
        draw(found, screen())
    return EXIT_DIFFERENT if found.difference is not None else 0


async def _replayed(settings: Settings, from_ms: int, to_ms: int, policy: Policy | None) -> Replayed:
    reading = Reading(settings, from_ms, to_ms)
    trial = PolicyTrial(policy) if policy is not None else None
    planner = Planner()
    first = last = ""
    count = same = first_ms = last_ms = 0
    different: Difference | None = None
    async for found in reading.decisions():
        count += 1
        first, last = first or str(found.generation), str(found.generation)
        first_ms, last_ms = first_ms or found.now_ms, found.now_ms
        if trial is not None:
            trial.take(found)
        elif (different := difference(found, planner)) is not None:
            break
        else:
            same += 1
    if not count and not reading.chain.gaps:
        raise UserError(
            f"nothing was decided between {rfc3339(from_ms)} and {rfc3339(to_ms)}: give an earlier --from"
        )
    compared = trial.result() if trial is not None else None
    gaps = tuple(reading.chain.gaps)
    return Replayed(
        from_ms,
        to_ms,
        count,
        same,
        first,
        last,
        first_ms,
        last_ms,
        different,
        compared,
        reading.log_begins_ms,
        gaps,
    )


def draw(found: Replayed, console: Console) -> None:
    """On a terminal."""
    if found.log_begins_ms is not None:
        console.print(f"the log begins at {rfc3339(found.log_begins_ms)}: nothing before it can be replayed")
    for gap in found.gaps[:GAPS_SHOWN]:
        after = f" after {gap.after}" if gap.after else ""
        console.print(f"gap at {gap.at}{after}: {gap.missing} not replayed: {gap.why}", markup=False)
    if len(found.gaps) > GAPS_SHOWN:
        console.print(f"and {len(found.gaps) - GAPS_SHOWN} gaps more")
    span = f"{found.first} ({rfc3339(found.first_ms)}) to {found.last} ({rfc3339(found.last_ms)})"
    if found.difference is not None:
        one = found.difference
        console.print(
            f"DIFFERENT at {one.generation}, decided {rfc3339(one.now_ms)}, in {one.place}", markup=False
        )
        console.print(f"  recorded: {one.recorded}\n  again:    {one.again}", markup=False)
        console.print(f"{found.same} decisions before it came out the same")
    elif found.comparison is not None:
        _draw_comparison(found.comparison, span, console)
    else:
        console.print(f"{found.same} decisions, {span}: all the same, byte for byte", soft_wrap=True)


def _draw_comparison(found: Comparison, span: str, console: Console) -> None:
    console.print(
        f"{found.decisions} decisions, {span}, over {found.length_ms / 1_000:,.0f} s", soft_wrap=True
    )
    table = Table(title="totals", title_justify="left")
    for heading in ("", "as recorded", "other policy"):
        table.add_column(heading, justify="right" if heading else "left")
    for row in _rows(found.recorded, found.other):
        table.add_row(*row)
    console.print(table)
    ends = Table(title="routes that end differently", title_justify="left")
    for heading in ("route", "pool", "as recorded", "other policy"):
        ends.add_column(heading, justify="left" if heading in ("route", "pool") else "right")
    for route in found.routes:
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
    told = [(name, f"{recorded:,.0f}", f"{other:,.0f}") for name, recorded, other in figures]
    return [
        *told,
        ("burst, money", f"{was.burst_money:,.4f}", f"{now.burst_money:,.4f}"),
        ("tables that moved load", str(was.tables), str(now.tables)),
        ("moved, units/s", f"{was.moved_units_per_s:,.0f}", f"{now.moved_units_per_s:,.0f}"),
        ("against contract", str(was.broken), str(now.broken)),
    ]
