"""``tieline demo``: the main job, end to end, with every part real."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from rich.console import Console

from controller.policy_file import load_policy
from controller.process import telemetry
from controller.process.errors import UserError
from lab.demo import trace
from lab.demo.child import ChildError
from lab.demo.direct import Run
from lab.demo.drills import DRILL_THRESHOLDS, KillController, StopStack, kill_phases, stop_phases
from lab.demo.incident import known, read
from lab.demo.plan import DEMO, FAST, INCIDENT, Pace, Plan
from lab.demo.plan import plan as make_plan
from lab.demo.replay import Replay
from lab.demo.scenario import DEMO_POOLS, DEMO_ROLES, phases
from lab.demo.show import screen
from lab.demo.words import report
from lab.stack import StackError
from lab.standins.process import SpawnError

ROOT = Path(__file__).parents[2]
POLICY = ROOT / "examples" / "multicloud.yaml"
INCIDENTS = ROOT / "examples" / "incidents"
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
Play = Callable[[Run], Coroutine[Any, Any, None]]


def add_parser(subparsers: Any) -> None:
    """Describe the command to the ``tieline`` parser."""
    parser = subparsers.add_parser(
        "demo",
        help="the main job, from failures to figures, on this machine",
        description="Runs Kafka, Valkey, a controller, stand-ins of four providers, a prober and calling "
        "applications, breaks things, and ends with what was measured. Exit status 1 when a request was "
        "lost, a table was stale or empty, or a contract was broken.",
    )
    parser.add_argument("--fast", action="store_true", help="fewer requests and shorter phases, for tests")
    parser.add_argument("--plain", action="store_true", help="one line per change, also on a terminal")
    parser.add_argument("--directory", metavar="DIR", help="keep policy, logs and notes there")
    parser.add_argument("--incident", metavar="ID", help="replay an incident of examples/incidents instead")
    parser.add_argument(
        "--kill-controller",
        choices=("ramp", "holddown"),
        help="SIGKILL the controller once in a ramp or a hold-down, and check what its next life does",
    )
    parser.add_argument(
        "--stop-stack", action="store_true", help="stop Kafka, then Valkey, then both, under load"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit status 0: passed; 1: a promise was broken or a part failed; 130: interrupted."""
    telemetry.configure()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a broker that is away is part of the show
    console = Console(highlight=False)
    try:
        return asyncio.run(_until_interrupted(args, console))
    except (ChildError, SpawnError, StackError, UserError, ValueError) as error:
        sys.stderr.write(f"tieline demo: {error}\n")
        return EXIT_FAILED


async def _until_interrupted(args: argparse.Namespace, console: Console) -> int:
    """SIGINT and SIGTERM end the run in order, once."""
    main = asyncio.create_task(_in_directory(args, console))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _cancel_once, main)
    with suppress(asyncio.CancelledError):
        return await main
    console.print("interrupted; everything has ended")
    return EXIT_INTERRUPTED


def _cancel_once(main: asyncio.Task[int]) -> None:
    """A second signal must not interrupt the ending."""
    if not main.cancelling():
        main.cancel()


async def _in_directory(args: argparse.Namespace, console: Console) -> int:
    if args.directory:
        directory = Path(args.directory)
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise UserError(f"{directory} is not empty: name another directory")
        return await _demo(args, console, directory)
    with tempfile.TemporaryDirectory(prefix="tieline-demo-") as temporary:
        return await _demo(args, console, Path(temporary))


async def _demo(args: argparse.Namespace, console: Console, directory: Path) -> int:
    planned, play = chosen(args)
    on = screen(console, plain=args.plain)
    for difference in planned.differences:
        on.say(str(difference))
    current = Run(planned, directory, on)
    try:
        await current.start()
        await play(current)
        found = await current.finish()
    finally:
        await current.close()
    for line in report(found, planned.differences, (*current.notes, *current.failures)):
        console.print(line, markup=False, soft_wrap=True)
    return 0 if found.passed and not current.failures else EXIT_FAILED


def chosen(args: argparse.Namespace) -> tuple[Plan, Play]:
    """What to run: the demo, one of its drills, or an incident. Raises UserError and IncidentError."""
    if args.incident:
        return incident_plan(args.incident)
    pace = FAST if args.fast else DEMO
    if args.kill_controller:
        planned = demo_plan(replace(pace, thresholds={**pace.thresholds, **DRILL_THRESHOLDS}))
        kill = KillController(args.kill_controller, DEMO_ROLES)
        return planned, lambda run: run.play(kill_phases(planned.policy, DEMO_ROLES), kill)
    planned = demo_plan(pace)
    if args.stop_stack:
        return planned, lambda run: run.play(stop_phases(planned.policy, DEMO_ROLES), StopStack())
    todo = phases(planned.policy, DEMO_ROLES, fast=args.fast)
    return planned, lambda run: run.play(todo)


def demo_plan(pace: Pace) -> Plan:
    """The demo's plan, from the example policy and the trace."""
    return make_plan(load_policy(POLICY), pace, trace.mean_tokens(trace.read()), only=DEMO_POOLS)


def incident_plan(name: str) -> tuple[Plan, Play]:
    """An incident under its own policy."""
    names = known(INCIDENTS)
    if name not in names:
        raise UserError(f"there is no incident {name}; there are {', '.join(names)}")
    policy = load_policy(INCIDENTS / name / "policy.yaml")
    incident = read(INCIDENTS / name, policy)
    planned = make_plan(policy, INCIDENT, trace.mean_tokens(trace.read()))
    return planned, Replay(incident).play
