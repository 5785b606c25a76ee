"""`tieline spend`: every commitment of the policy: used, projected for its period, and what would be left.

The leader meters what each table sends to a provider while it is in force, and keeps the totals by day for
good. With --from or --to the recorded decisions of that range are metered instead.
"""

import argparse
import asyncio
import os
from typing import Any

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from controller.cli.replay import Reading, add_range_arguments, range_of
from controller.cli.terminal import rfc3339, screen
from controller.core.inspect.spend import (
    ProviderRate,
    ProviderUse,
    SpendRow,
    period_of,
    rates,
    spend,
    spend_row,
)
from controller.core.model.memo import Memo
from controller.core.policy.policy import Policy, decode_policy
from controller.leading.routes_reader import RoutesReader
from controller.ledger.log import read_tally
from controller.ledger.tally import Tally
from controller.process.errors import TopicMissingError, UserError
from controller.process.settings import KAFKA, Settings, add_stack_arguments, read_settings
from controller.process.telemetry import quiet

DEFAULT_FROM = "-24h"


class SpendReport(Struct, frozen=True):
    """What `--json` prints. ``from_ms``: what was metered begins there. ``rates``: what is sent at the end of
    it; empty for totals by day."""

    from_ms: int
    to_ms: int
    used: dict[str, ProviderUse]
    rates: dict[str, ProviderRate]
    commitments: tuple[SpendRow, ...]


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser("spend", description=__doc__)
    add_range_arguments(parser, DEFAULT_FROM)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    add_stack_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Returns 0. Raises ``UserError`` when nothing was decided in the range."""
    from_ms, to_ms = range_of(args)
    settings = read_settings(args, os.environ, needs=(KAFKA,))
    quiet()
    is_of_range = (args.from_, args.to) != (DEFAULT_FROM, "now")
    report = None if is_of_range else asyncio.run(_by_day(settings, to_ms))
    report = report or asyncio.run(_metered(settings, from_ms, to_ms))
    if args.json:
        print(msgspec.json.encode(report).decode())
    else:
        draw(report, screen())
    return 0


async def _by_day(settings: Settings, at_ms: int) -> SpendReport | None:
    """All that the ledger knows; None if it is empty."""
    try:
        tally = await read_tally(settings.kafka, settings.topics.usage.name)
    except TopicMissingError:  # no controller of this version has run yet
        return None
    async with RoutesReader(settings) as routes:
        record = routes.newest()
    if record is None or not tally.totals:
        return None
    return report_of(decode_policy(record.policy), tally, at_ms)


def report_of(policy: Policy, tally: Tally, at_ms: int) -> SpendReport:
    """What the totals by day amount to, and each commitment in its own period."""
    first_ms = min(use.day_ms for use in tally.totals.values())
    providers = sorted({use.provider for use in tally.totals.values()})
    rows = []
    for commitment in policy.committed_spend:
        use, metered_ms = tally.used(commitment.provider, *period_of(commitment, at_ms))
        rows.append(spend_row(commitment, use, metered_ms, at_ms))
    used = {provider: tally.used(provider, first_ms, at_ms)[0] for provider in providers}
    return SpendReport(first_ms, at_ms, used, rates={}, commitments=tuple(rows))


async def _metered(settings: Settings, from_ms: int, to_ms: int) -> SpendReport:
    """Counts each table from its decision to the next one, and the last one to the end of the range."""
    reading = Reading(settings, from_ms, to_ms)
    used: dict[str, ProviderUse] = {}
    now: dict[str, ProviderRate] = {}
    policy: Policy | None = None
    memo = Memo()
    first_ms = since_ms = 0
    async for rebuilt in reading.decisions():
        used = _plus(used, now, rebuilt.now_ms - since_ms)
        first_ms, since_ms = first_ms or rebuilt.now_ms, rebuilt.now_ms
        policy = rebuilt.snapshot.policy
        now = rates(rebuilt.snapshot, rebuilt.published, rebuilt.now_ms, memo)
    if policy is None:
        raise UserError(f"nothing was decided since {rfc3339(from_ms)}: give an earlier --from")
    used = _plus(used, now, to_ms - since_ms)
    commitments = spend(policy, used, to_ms - first_ms, to_ms)
    return SpendReport(first_ms, to_ms, used, rates=now, commitments=commitments)


def _plus(
    used: dict[str, ProviderUse], now: dict[str, ProviderRate], length_ms: int
) -> dict[str, ProviderUse]:
    return {
        name: used.get(name, ProviderUse()).plus(rate, max(0, length_ms) / 1_000)
        for name, rate in now.items()
    }


def draw(report: SpendReport, console: Console) -> None:
    """Draws the report on a terminal."""
    console.print(f"metered from {rfc3339(report.from_ms)} to {rfc3339(report.to_ms)}")
    table = Table(title="providers", title_justify="left")
    for heading in ("provider", "units", "worth at list price", "units/s now"):
        table.add_column(heading, justify="left" if heading == "provider" else "right")
    for provider in sorted({*report.rates, *report.used}):
        used, rate = report.used.get(provider, ProviderUse()), report.rates.get(provider)
        now = "-" if rate is None else f"{rate.units_per_s:,.0f}"
        table.add_row(provider, f"{used.units:,.0f}", f"{used.money:,.2f}", now)
    console.print(table)
    if not report.commitments:
        console.print("the policy names no committed spend")
        return
    table = Table(title="committed spend", title_justify="left")
    for heading in ("provider", "period", "metered", "committed", "used", "projected", "left unused"):
        table.add_column(heading, justify="left" if heading in ("provider", "period") else "right")
    for row in report.commitments:
        projected = "-" if row.projected is None else f"{row.projected:,.0f}"
        left = "-" if row.shortfall is None else f"{row.shortfall:,.0f}"
        committed = f"{row.committed:,.0f} {row.kind}"
        share = f"{row.metered_ms / (row.period_end_ms - row.period_start_ms):.1%}"
        table.add_row(row.provider, row.period, share, committed, f"{row.used:,.0f}", projected, left)
    console.print(table)
