"""`tieline explain chat/eu`, `tieline explain azure/swedencentral/gpt-4o`: why it has what it has.

It decides again on the live tables: evidence, state, capacity, rules and weights, and why the others get
nothing.
"""

import argparse
import asyncio
import os
import subprocess
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from controller.cli.terminal import screen
from controller.core.inspect.explain import Explanation, PoolWhy, RouteWhy, explain
from controller.core.inspect.why_no_share import NoShare
from controller.core.lp.problem import problem_of
from controller.core.model.reasons import Verdict
from controller.core.model.words import duration, in_words, lasting, sentence
from controller.core.policy.check import near_miss
from controller.core.policy.policy import encode_policy
from controller.core.snapshot import Snapshot
from controller.dispatch.dispatcher import COMMAND
from controller.dispatch.frames import LENGTH, FrameError, SolveRequest, decode_reply, framed
from controller.process.errors import UserError
from controller.process.settings import UNSIGNED_NOTICE, add_stack_arguments, read_settings
from controller.process.telemetry import quiet
from controller.status.live import Moment, present
from controller.status.words import NAMED_MAX, overlay_in_words
from tieline.overlay import Overlay

SOLVE_S_MAX = 5.0
ANSWER_S_MAX = 15.0


class ExplainReport(Struct, frozen=True, omit_defaults=True):
    """Everything that `--json` prints. Either ``pool`` or ``route`` is there; ``next_step`` is what deciding
    again says about it; ``overlay`` excludes pools at every client, whatever the table says."""

    generation: str
    at_ms: int
    unsigned_dev_mode: bool
    pool: PoolWhy | None = None
    route: RouteWhy | None = None
    next_step: tuple[Verdict, ...] = ()
    overlay: Overlay | None = None


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser("explain", description=__doc__)
    parser.add_argument("name", metavar="ROUTE|POOL", help="workload/origin, or provider/region/deployment")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    add_stack_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Returns 0. Raises ``UserError`` for a name that the policy does not have."""
    settings = read_settings(args, os.environ)
    quiet()
    moment = asyncio.run(present(settings))
    report = explained(moment, args.name.strip().rstrip("/"))
    if args.json:
        print(msgspec.json.encode(report).decode())
    else:
        draw(report, screen())
    return 0


def explained(moment: Moment, name: str) -> ExplainReport:
    """Everything about one name. Raises ``UserError`` for a name that the policy does not have."""
    explanation = explain(_planned(moment), moment.at_ms)
    table = moment.snapshot.table
    if name not in explanation.pools and name not in explanation.routes:
        raise UserError(_unknown(explanation, name))
    return ExplainReport(
        str(table.generation) if table is not None else "",
        moment.at_ms,
        moment.unsigned,
        pool=explanation.pools.get(name),
        route=explanation.routes.get(name),
        next_step=_about(explanation, name),
        overlay=moment.overlay,
    )


def _unknown(explanation: Explanation, name: str) -> str:
    """The names that the operator may have meant: those inside a wider name, or one that looks alike."""
    names = (*explanation.routes, *explanation.pools)
    if inside := [other for other in names if name and other.startswith(f"{name}/")]:
        return f"{name} is not one route or pool: give one of {', '.join(inside)}"
    return (
        f"the policy in force has no route or pool {name!r}{near_miss(name, set(names))}; give "
        f"workload/origin, such as {min(explanation.routes)}, or provider/region/deployment, "
        f"such as {min(explanation.pools)}"
    )


def _planned(moment: Moment) -> Snapshot:
    """The snapshot with a plan for the whole table, as the dispatch would make it now.

    The solver runs in a process of its own, because it prints to standard output. Without a plan the
    explanation goes by merit order.
    """
    snapshot = moment.snapshot
    problem, policy = problem_of(snapshot, moment.at_ms), encode_policy(snapshot.policy)
    request = framed(SolveRequest(1, problem, policy, limit_s=SOLVE_S_MAX))
    try:
        ended = subprocess.run(COMMAND, input=request, capture_output=True, timeout=ANSWER_S_MAX, check=True)
        return replace(snapshot, plan=decode_reply(ended.stdout[LENGTH.size :]).plan)
    except (OSError, subprocess.SubprocessError, FrameError):
        return snapshot


def _about(explanation: Explanation, name: str) -> tuple[Verdict, ...]:
    route = explanation.routes.get(name)
    subjects = {name, "table"} | (set(route.weights) if route is not None else set())
    return tuple(verdict for verdict in explanation.next_step if verdict.subject in subjects)


def draw(report: ExplainReport, console: Console) -> None:
    """Draws the report on a terminal."""
    parts = [f"generation {report.generation}"] + ([UNSIGNED_NOTICE] if report.unsigned_dev_mode else [])
    console.print("; ".join(parts), markup=False)
    if report.overlay is not None:
        console.print(overlay_in_words(report.overlay, report.at_ms), markup=False)
    if report.pool is not None:
        _draw_pool(report.pool, report.at_ms, console)
    if report.route is not None:
        _draw_route(report.route, report.at_ms, console)
    if report.next_step:
        console.print("\nthe next decision would say")
        for verdict in report.next_step:
            console.print(f"  {sentence(verdict, report.at_ms)}", markup=False)


def _draw_pool(why: PoolWhy, at_ms: int, console: Console) -> None:
    table = Table(title=why.pool, title_justify="left", show_header=False)
    table.add_row("evidence", evidence_text(why.evidence, at_ms))
    table.add_row("state", f"{why.state.after}: {verdict_text(why.state, at_ms)}")
    table.add_row("capacity", _capacity_text(why, at_ms))
    for verdict in why.rules:
        table.add_row(verdict.after or "rule", verdict_text(verdict, at_ms))
    table.add_row("carries", f"{why.load_units_per_s:,.0f}/s")
    for route, share in why.weights.items():
        table.add_row(f"weight in {route}", f"{share:.2%}")
    console.print(table)
    if why.nothing:
        _draw_nothing("gets nothing of", why.nothing.items(), at_ms, console)


def _capacity_text(why: PoolWhy, at_ms: int) -> str:
    usable = "all of it, as its provider's mode sets no bound"
    if why.usable_units_per_s is not None:
        usable = f"{why.usable_units_per_s:,.0f}/s"
    ramp = f", at {why.ramp_share:.0%} of its ramp" if why.ramp_share < 1 else ""
    return (
        f"{verdict_text(replace(why.capacity, value=None), at_ms)}: limit {why.limit_units_per_s:,.0f}/s, "
        f"committed {why.committed_units_per_s:,.0f}/s; usable {usable}{ramp}"
    )


def _draw_route(why: RouteWhy, at_ms: int, console: Console) -> None:
    shed = f"; sheds {why.shed:.1%}: {in_words(why.shed_reason)}" if why.shed else ""
    console.print(
        f"{why.route} ({why.criticality}): {why.demand_units_per_s:,.0f}/s offered{shed}", markup=False
    )
    table = Table(title="carried by", title_justify="left")
    for heading in ("pool", "weight", "state", "usable/s", "load/s", "evidence"):
        table.add_column(heading, justify="right" if heading in ("weight", "usable/s", "load/s") else "left")
    for pool in why.pools:
        usable = "-" if pool.usable_units_per_s is None else f"{pool.usable_units_per_s:,.0f}"
        table.add_row(
            pool.pool,
            f"{why.weights[pool.pool]:.2%}",
            pool.state.after,
            usable,
            f"{pool.load_units_per_s:,.0f}",
            evidence_text(pool.evidence, at_ms),
        )
    console.print(table)
    if why.last_resort:
        console.print(f"when a client has nothing left: {', '.join(why.last_resort)}", markup=False)
    if why.nothing:
        _draw_nothing("gets nothing", why.nothing.items(), at_ms, console)


def _draw_nothing(heading: str, rows: Iterable[tuple[str, NoShare]], at_ms: int, console: Console) -> None:
    table = Table(title_justify="left")
    table.add_column(heading, no_wrap=True)
    table.add_column("why")
    for name, nothing in rows:
        table.add_row(name, no_share_text(nothing, at_ms))
    console.print(table)


def verdict_text(verdict: Verdict, at_ms: int) -> str:
    """The sentence without its subject and state."""
    return sentence(replace(verdict, subject="", before="", after=""), at_ms).removeprefix(": ")


def evidence_text(evidence: Verdict, at_ms: int) -> str:
    """What the evidence says, how old it is, and when the first of it becomes stale."""
    text = verdict_text(replace(evidence, since_ms=0, until_ms=None), at_ms)
    if evidence.since_ms:
        text += f"; {duration(max(0, at_ms - evidence.since_ms))} old"
    if evidence.until_ms is not None and evidence.until_ms > at_ms:
        text += f", stale in {duration(evidence.until_ms - at_ms)}"
    return text


def no_share_text(no_share: NoShare, at_ms: int) -> str:
    """The rule that keeps load away, who or what it names, since when and until when."""
    verdict = no_share.verdict
    text = in_words(verdict.reason)
    if no_share.named:
        rest = len(no_share.named) - NAMED_MAX
        text += f" ({', '.join(no_share.named[:NAMED_MAX])}{f' and {rest} more' if rest > 0 else ''})"
    if verdict.because:
        text += f" ({in_words(verdict.because)})"
    if verdict.after == "down":
        text = f"down: {text}"
    return text + lasting(verdict, at_ms)
