"""``tieline demo``: the whole system on one machine, with every part real but the providers."""

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
from typing import Any, get_args

from msgspec.structs import replace
from rich.console import Console

from controller.core.policy.policy import Policy
from controller.kafka.topics import TopicError
from controller.policy_file import PolicyError, load_policy
from controller.process import telemetry
from controller.process.errors import UserError
from lab.demo import trace
from lab.demo.drills import DRILL_THRESHOLDS, KillController, StopStack, kill_phases, stop_phases
from lab.demo.examples import example
from lab.demo.incident import incident_ids, read
from lab.demo.losses import PATIENCE, LoseServer, Loss
from lab.demo.offering import OFFER_RULES, AskForCapacity, offer_phases
from lab.demo.plan import DEMO, FAST, INCIDENT, Pace, Plan, plan
from lab.demo.replay import Replay
from lab.demo.report import report, setting_lines
from lab.demo.rolling import ReplaceControllers
from lab.demo.run import Run
from lab.demo.scenario import DEMO_POOLS, DEMO_ROLES, phases
from lab.demo.show import screen_for
from lab.demo.through_envoy import envoy_program
from tieline.redis_address import CLUSTER, SENTINEL

POLICY = "multicloud.yaml"
INCIDENTS = "incidents"
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
Play = Callable[[Run], Coroutine[Any, Any, None]]


def add_parser(subparsers: Any) -> None:
    """Describes the command to the ``tieline`` parser."""
    parser = subparsers.add_parser(
        "demo",
        help="the whole system under faults, on this machine",
        description="Runs Kafka, Valkey, a controller, stand-ins for four providers, a prober and calling "
        "applications. Breaks some of them, and ends with what was measured. The exit status is 1 when a "
        "request was lost, a table was stale or empty, or a contract was broken.",
    )
    parser.add_argument(
        "--fast", action="store_true", help="send fewer requests and shorten the phases, for tests"
    )
    parser.add_argument("--plain", action="store_true", help="print one line per change, also on a terminal")
    parser.add_argument(
        "--directory", metavar="DIR", help="keep the policy, logs and notes in this directory"
    )
    parser.add_argument("--incident", metavar="ID", help="replay an incident of examples/incidents instead")
    parser.add_argument(
        "--kill-controller",
        choices=("ramp", "holddown"),
        help="kill the controller once during a ramp or a hold-down, and check what the next controller does",
    )
    parser.add_argument(
        "--offers",
        action="store_true",
        help="ask for capacity: the holder of the first refusal declines, another provider accepts, and what "
        "it gives counts from its start",
    )
    parser.add_argument(
        "--cluster",
        choices=(SENTINEL, CLUSTER),
        help="run on three brokers, two controllers, and Valkey behind Sentinels or as a cluster",
    )
    parser.add_argument(
        "--through",
        choices=("envoy", "gateway"),
        help="let applications without the client library send through Envoy, which `tieline envoy` directs, "
        "or through `tieline gateway`",
    )
    parser.add_argument(
        "--lose",
        choices=get_args(Loss),
        help="on a cluster: lose one broker, the primary of Redis or the leading controller together with a "
        "provider",
    )
    parser.add_argument(
        "--restart-controllers",
        action="store_true",
        help="restart two controllers one after the other under load, and check that no table changes by it",
    )
    parser.add_argument(
        "--upgrade-from",
        metavar="TREE",
        help="the same with another version, whose code is in this directory: go back to it, and on to this "
        "one again",
    )
    parser.add_argument(
        "--stop-stack", action="store_true", help="stop Kafka, then Valkey, then both, under load"
    )


def run(args: argparse.Namespace) -> int:
    """Exit status 0: passed; 1: a promise was broken or a part failed; 130: interrupted."""
    telemetry.configure()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it complains of brokers that the demo stops
    console = Console(highlight=False)
    try:
        return asyncio.run(_until_interrupted(args, console))
    except (UserError, PolicyError, TopicError) as error:
        sys.stderr.write(f"tieline demo: {error}\n")
        return EXIT_FAILED


async def _until_interrupted(args: argparse.Namespace, console: Console) -> int:
    """Runs the demo. SIGINT and SIGTERM end it in an orderly way."""
    main = asyncio.create_task(_in_directory(args, console))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _cancel_once, main)
    with suppress(asyncio.CancelledError):
        return await main
    console.print("interrupted; every part has ended")
    return EXIT_INTERRUPTED


def _cancel_once(main: asyncio.Task[int]) -> None:
    """A second signal must not interrupt the orderly end."""
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
    run_plan, play = choose(args)
    screen = screen_for(console, plain=args.plain)
    for line in setting_lines(run_plan.differences):
        screen.say(line)
    current = Run(run_plan, directory, screen, cluster=args.cluster, through=args.through)
    try:
        await current.start()
        await play(current)
        facts = await current.finish()
    finally:
        await current.close()
    for line in report(facts, run_plan.differences, current.notes, current.failures):
        console.print(line, markup=False, soft_wrap=True)
    return 0 if facts.passed and not current.failures else EXIT_FAILED


def choose(args: argparse.Namespace) -> tuple[Plan, Play]:
    """What to run: the demo, one of its drills, or an incident. Raises UserError."""
    if args.through == "envoy":
        envoy_program()  # that it is missing is said before anything starts
    if args.incident:
        return incident_plan(args.incident)
    pace = FAST if args.fast else DEMO
    if args.kill_controller:
        drill_plan = demo_plan(replace(pace, thresholds={**pace.thresholds, **DRILL_THRESHOLDS}))
        kill = KillController(args.kill_controller, DEMO_ROLES)
        return drill_plan, lambda run: run.play(kill_phases(drill_plan.policy, DEMO_ROLES), kill)
    if args.offers:
        offer_plan = offers_plan(pace)
        return offer_plan, lambda run: run.play(offer_phases(), AskForCapacity())
    run_plan = demo_plan(pace)
    if args.lose:
        if not args.cluster:
            raise UserError("--lose needs --cluster: without it there is nothing that outlives the loss")
        return run_plan, losing_play(run_plan.policy, args.lose)
    if args.restart_controllers or args.upgrade_from:
        return run_plan, rolling_play(args.upgrade_from)
    if args.stop_stack:
        return run_plan, lambda run: run.play(stop_phases(run_plan.policy, DEMO_ROLES), StopStack())
    demo_phases = phases(run_plan.policy, DEMO_ROLES, fast=args.fast)
    return run_plan, lambda run: run.play(demo_phases)


def losing_play(policy: Policy, lost: Loss) -> Play:
    """A server is lost together with a provider, once both controllers share the partitions."""
    loss = LoseServer(lost, DEMO_ROLES)

    async def play(run: Run) -> None:
        await loss.until_settled(run)
        await run.play(kill_phases(policy, DEMO_ROLES, patience=PATIENCE), loss)

    return play


def rolling_play(older: str | None) -> Play:
    """Restarts both controllers. With ``older``, the directory of another version's code, goes back to that
    version, and then on to this one with an older controller once behind a newer leader. Raises UserError
    where there is no code."""
    if older is None:
        return ReplaceControllers((None, None))
    tree = Path(older).resolve()
    if not (tree / "controller" / "cli").is_dir():
        raise UserError(f"{tree} has no code of Tieline: name a directory with controller and client in it")
    return ReplaceControllers((tree, tree, None, tree, None, None))


def demo_plan(pace: Pace) -> Plan:
    """The demo's plan, from the example policy and the trace."""
    return plan(load_policy(example(POLICY)), pace, trace.mean_tokens(trace.read()), only=DEMO_POOLS)


def offers_plan(pace: Pace) -> Plan:
    """The same, for a policy that asks for capacity."""
    return demo_plan(replace(pace, offers=OFFER_RULES, first_refusal="oci"))


def incident_plan(incident_id: str) -> tuple[Plan, Play]:
    """The plan of an incident, under its own policy. Raises UserError for an unknown one."""
    incidents = example(INCIDENTS)
    ids = incident_ids(incidents)
    if incident_id not in ids:
        raise UserError(f"there is no incident {incident_id}; there are {', '.join(ids)}")
    policy = load_policy(incidents / incident_id / "policy.yaml")
    incident = read(incidents / incident_id, policy)
    return plan(policy, INCIDENT, trace.mean_tokens(trace.read())), Replay(incident).play
