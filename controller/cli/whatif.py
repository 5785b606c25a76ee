"""`tieline whatif --lose azure --growth 20%`: what a loss or growth would leave, by the planner's own rules.

It reads the live tables (or a snapshot file) and changes nothing. `--n-1` asks for every single loss.
"""

import argparse
import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from controller.cli.terminal import rfc3339, screen
from controller.core.inspect.measure import Measurement
from controller.core.inspect.what_if import WhatIfAnswer
from controller.core.model.words import sentence
from controller.process.errors import UserError
from controller.process.settings import add_stack_arguments, read_settings
from controller.process.telemetry import quiet
from controller.status.live import Moment, load, present, save
from controller.status.what_if import WhatIfReport, every_loss, growth_of, one_loss


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser("whatif", description=__doc__)
    parser.add_argument(
        "--lose",
        action="append",
        default=[],
        metavar="NAME",
        help="a provider, provider/region, pool or failure domain; may be given several times",
    )
    parser.add_argument(
        "--growth", default="0%", metavar="N%", help="how much demand grows, e.g. 20%% or -10%%"
    )
    parser.add_argument(
        "--n-1", action="store_true", dest="n_1", help="ask for every single loss, one line each"
    )
    parser.add_argument(
        "--at", default="now", metavar="now|FILE", help="the live tables, or a saved snapshot"
    )
    parser.add_argument("--save", metavar="FILE", help="write the snapshot into a file, for `--at FILE`")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    add_stack_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Returns 0. Raises ``UserError`` for a question that can't be asked."""
    if args.n_1 and args.lose:
        raise UserError("--n-1 asks for every single loss: leave --lose out")
    growth = growth_of(args.growth)
    quiet()
    moment = _moment(args)
    if args.save:
        save(moment, Path(args.save))
    report = every_loss(moment, growth) if args.n_1 else one_loss(moment, args.lose, growth)
    if args.json:
        print(msgspec.json.encode(report).decode())
    else:
        draw(report, screen(), every=args.n_1)
    return 0


def _moment(args: argparse.Namespace) -> Moment:
    if args.at != "now":
        return load(Path(args.at))
    return asyncio.run(present(read_settings(args, os.environ)))


def draw(report: WhatIfReport, console: Console, *, every: bool) -> None:
    """Draws the report on a terminal."""
    console.print(f"as of {rfc3339(report.at_ms)}, generation {report.generation}; nothing was changed")
    growth = report.answers[0].growth
    if growth:
        console.print(f"demand {growth:+.0%}")
    if every:
        _draw_every(report, console)
    else:
        _draw_one(report, report.answers[0], console)
    for name, answer in zip(report.names, report.answers, strict=True):
        for verdict in answer.after.broken:
            console.print(Text(f"{name}: BROKEN: {sentence(verdict, report.at_ms)}", style="red"))


def _draw_every(report: WhatIfReport, console: Console) -> None:
    table = Table(title="every single loss", title_justify="left")
    table.add_column("lost", no_wrap=True)
    headings = ("served", "shed critical", "shed sheddable", "fails", "overloads", "burst/h", "moved/s")
    for heading in headings:
        table.add_column(heading, justify="right")
    for name, answer in zip(report.names, report.answers, strict=True):
        after = answer.after
        critical, sheddable = _critical_shed(after)
        table.add_row(
            name,
            _share(after.served, after.offered),
            Text(_share(critical, after.offered), style="red" if critical else ""),
            _share(sheddable, after.offered),
            Text(_share(after.failed, after.offered), style="red" if after.failed else ""),
            str(len(after.overloads)),
            f"{after.burst_money_per_hour:,.2f}",
            f"{answer.moved_units_per_s:,.0f}",
        )
    console.print(table)


def _critical_shed(worth: Measurement) -> tuple[float, float]:
    critical = sum(units for name, units in worth.shed_by_criticality.items() if name.startswith("critical"))
    return critical, worth.shed - critical


def _draw_one(report: WhatIfReport, answer: WhatIfAnswer, console: Console) -> None:
    before, after = answer.before, answer.after
    lost = f"without {report.names[0]}" if answer.lost else "nothing lost"
    table = Table(title=lost, title_justify="left")
    for heading in (f"{report.load_unit}/s", "now", "then"):
        table.add_column(heading, justify="left" if heading.endswith("/s") else "right")
    rows = (("offered", before.offered, after.offered), ("served", before.served, after.served))
    for name, was, now in (*rows, ("fails at lost or failing pools", before.failed, after.failed)):
        table.add_row(name, f"{was:,.0f}", f"{now:,.0f}")
    for criticality, units in after.shed_by_criticality.items():
        table.add_row(
            f"shed {criticality}", f"{before.shed_by_criticality[criticality]:,.0f}", f"{units:,.0f}"
        )
    money = (before.burst_money_per_hour, after.burst_money_per_hour)
    table.add_row("burst, money per hour", f"{money[0]:,.2f}", f"{money[1]:,.2f}")
    table.add_row("moved at once", "", f"{answer.moved_units_per_s:,.0f}")
    table.add_row("contracts broken", str(len(before.broken)), str(len(after.broken)))
    console.print(table)
    _draw_routes(answer, console)
    _draw_pools(answer, console)


def _draw_routes(answer: WhatIfAnswer, console: Console) -> None:
    table = Table(title="routes that would shed or fail", title_justify="left")
    for heading in ("route", "criticality", "offered/s", "served/s", "shed/s", "fails/s"):
        table.add_column(heading, justify="right" if heading.endswith("/s") else "left")
    for route in answer.after.routes:
        if route.shed or route.failed:
            figures = (route.offered, route.served, route.shed, route.failed)
            table.add_row(route.route, route.criticality, *(f"{units:,.0f}" for units in figures))
    if table.row_count:
        console.print(table)


def _draw_pools(answer: WhatIfAnswer, console: Console) -> None:
    table = Table(title="pools", title_justify="left")
    for heading in ("pool", "now/s", "then/s", "limit/s", ""):
        table.add_column(heading, justify="right" if heading.endswith("/s") else "left")
    over = {overload.subject for overload in answer.after.overloads}
    lost = frozenset(answer.lost)
    for pool in answer.pools:
        note = "lost" if pool.pool in lost else "overloaded" if pool.pool in over else ""
        figures = (pool.before, pool.after, pool.limit)
        table.add_row(pool.pool, *(f"{units:,.0f}" for units in figures), Text(note, style="red"))
    console.print(table)


def _share(part: float, whole: float) -> str:
    return "-" if not whole else f"{part / whole:.1%}"
