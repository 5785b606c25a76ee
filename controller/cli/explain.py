"""`tieline explain chat/eu`, `tieline explain azure/swedencentral/gpt-4o`: why it has what it has.

Decides again on the live tables: evidence, state, capacity, rules, weights, and for what gets nothing, why.
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

from controller.cli.live import Moment, present
from controller.cli.screen import screen
from controller.core.inspect.explain import Explanation, PoolWhy, RouteWhy, explain
from controller.core.inspect.why_no_share import NoShare
from controller.core.lp.problem import problem_of
from controller.core.model.reasons import Reason, Verdict
from controller.core.model.words import WORDS, duration, sentence
from controller.core.policy.check import near_miss
from controller.core.policy.policy import encode_policy
from controller.core.snapshot import Snapshot
from controller.dispatch.dispatcher import COMMAND
from controller.dispatch.frames import LENGTH, FrameError, SolveRequest, decode_reply, framed
from controller.process.errors import UserError
from controller.process.settings import UNSIGNED_NOTICE, add_stack_arguments, read_settings
from controller.process.telemetry import quiet

NAMED_MAX = 4
SOLVE_S_MAX = 5.0
ANSWER_S_MAX = 15.0


class Answer(Struct, frozen=True, omit_defaults=True):
    """Everything that `--json` prints: ``pool`` or ``route`` is there. ``next_step`` is what deciding again
    says of it."""

    generation: str
    at_ms: int
    unsigned_dev_mode: bool
    pool: PoolWhy | None = None
    route: RouteWhy | None = None
    next_step: tuple[Verdict, ...] = ()


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        "explain", help="why a route or a pool has what it has", description=__doc__
    )
    parser.add_argument("name", metavar="ROUTE|POOL", help="workload/origin, or provider/region/deployment")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    add_stack_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """0 when it was explained."""
    settings = read_settings(args, os.environ)
    quiet()
    moment = asyncio.run(present(settings))
    found = answer(moment, args.name.strip().rstrip("/"))
    if args.json:
        print(msgspec.json.encode(found).decode())
    else:
        draw(found, screen())
    return 0


def answer(moment: Moment, name: str) -> Answer:
    """What there is to say of one name. Raises ``UserError`` for one that the policy doesn't have."""
    said = explain(_planned(moment), moment.at_ms)
    table = moment.snapshot.table
    generation = str(table.generation) if table is not None else ""
    about = _about(said, name)
    if name in said.pools:
        return Answer(generation, moment.at_ms, moment.unsigned, pool=said.pools[name], next_step=about)
    if name in said.routes:
        return Answer(generation, moment.at_ms, moment.unsigned, route=said.routes[name], next_step=about)
    raise UserError(_unknown(said, name))


def _unknown(said: Explanation, name: str) -> str:
    """A provider, a region or a workload has several; anything else may be a slip."""
    if inside := [known for known in (*said.routes, *said.pools) if name and known.startswith(f"{name}/")]:
        return f"{name} is not one route or pool: give one of {', '.join(inside)}"
    return (
        f"the policy in force has no route or pool {name!r}{near_miss(name, {*said.pools, *said.routes})}; "
        f"give workload/origin, such as {min(said.routes)}, or provider/region/deployment, such as "
        f"{min(said.pools)}"
    )


def _planned(moment: Moment) -> Snapshot:
    """The snapshot with a plan for the whole table, as the dispatch would make it now: in a process of its
    own, since the solver writes where it likes. Without an answer merit order explains what it can."""
    snapshot = moment.snapshot
    problem, policy = problem_of(snapshot, moment.at_ms), encode_policy(snapshot.policy)
    request = framed(SolveRequest(1, problem, policy, limit_s=SOLVE_S_MAX))
    try:
        ended = subprocess.run(COMMAND, input=request, capture_output=True, timeout=ANSWER_S_MAX, check=True)
        return replace(snapshot, plan=decode_reply(ended.stdout[LENGTH.size :]).plan)
    except (OSError, subprocess.SubprocessError, FrameError):
        return snapshot


def _about(said: Explanation, name: str) -> tuple[Verdict, ...]:
    wanted = {name, "table"} | (set(said.routes[name].weights) if name in said.routes else set())
    return tuple(verdict for verdict in said.next_step if verdict.subject in wanted)


def draw(found: Answer, console: Console) -> None:
    """On a terminal."""
    parts = [f"generation {found.generation}"] + ([UNSIGNED_NOTICE] if found.unsigned_dev_mode else [])
    console.print("; ".join(parts), markup=False)
    if found.pool is not None:
        _draw_pool(found.pool, found.at_ms, console)
    if found.route is not None:
        _draw_route(found.route, found.at_ms, console)
    if found.next_step:
        console.print("\ndeciding again now says")
        for verdict in found.next_step:
            console.print(f"  {sentence(verdict, found.at_ms)}", markup=False)


def _draw_pool(why: PoolWhy, at_ms: int, console: Console) -> None:
    table = Table(title=why.pool, title_justify="left", show_header=False)
    table.add_row("evidence", seen(why.evidence, at_ms))
    table.add_row("state", f"{why.state.after}: {told(why.state, at_ms)}")
    usable = "as its provider's mode sets no bound, all" if why.usable_units_per_s is None else (
        f"{why.usable_units_per_s:,.0f}/s"
    )  # fmt: skip
    ramp = f", at {why.ramp_share:.0%} of its ramp" if why.ramp_share < 1 else ""
    table.add_row(
        "capacity",
        f"{told(replace(why.capacity, value=None), at_ms)}: limit {why.limit_units_per_s:,.0f}/s, committed "
        f"{why.committed_units_per_s:,.0f}/s; usable {usable}{ramp}",
    )
    for verdict in why.rules:
        table.add_row(verdict.after or "rule", told(verdict, at_ms))
    table.add_row("carries", f"{why.load_units_per_s:,.0f}/s")
    for route, share in why.weights.items():
        table.add_row(f"weight in {route}", f"{share:.2%}")
    console.print(table)
    if why.nothing:
        _draw_nothing("nothing of", why.nothing.items(), at_ms, console)


def _draw_route(why: RouteWhy, at_ms: int, console: Console) -> None:
    shed = f"; sheds {why.shed:.1%}: {_reason_of(why.shed_reason)}" if why.shed else ""
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
            seen(pool.evidence, at_ms),
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
        table.add_row(name, told_nothing(nothing, at_ms))
    console.print(table)


def told(verdict: Verdict, at_ms: int) -> str:
    """The sentence without its subject and state."""
    return sentence(replace(verdict, subject="", before="", after=""), at_ms).removeprefix(": ")


def seen(evidence: Verdict, at_ms: int) -> str:
    """What the evidence says, how old it is, and when the first of it goes stale."""
    text = told(replace(evidence, since_ms=0, until_ms=None), at_ms)
    if evidence.since_ms:
        text += f"; {duration(max(0, at_ms - evidence.since_ms))} old"
    if evidence.until_ms is not None and evidence.until_ms > at_ms:
        text += f", stale in {duration(evidence.until_ms - at_ms)}"
    return text


def told_nothing(nothing: NoShare, at_ms: int) -> str:
    """Which rule, whom or what it names, since and until when."""
    verdict = nothing.verdict
    text = WORDS[verdict.reason]
    if nothing.named:
        rest = len(nothing.named) - NAMED_MAX
        text += f" ({', '.join(nothing.named[:NAMED_MAX])}{f' and {rest} more' if rest > 0 else ''})"
    if verdict.because:
        text += f" ({verdict.because})"
    if verdict.after == "down":
        text = f"down: {text}"
    if verdict.since_ms and verdict.since_ms < at_ms:
        text += f", for {duration(at_ms - verdict.since_ms)}"
    if verdict.until_ms is not None and verdict.until_ms > at_ms:
        text += f", {duration(verdict.until_ms - at_ms)} to go"
    return text


def _reason_of(text: str) -> str:
    return WORDS.get(Reason(text), text) if text in set(Reason) else text
