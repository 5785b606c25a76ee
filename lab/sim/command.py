"""``tieline fuzz``: many worlds from seeds, each checked against the design in every second."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from functools import partial
from hashlib import blake2b
from typing import Any

from rich.console import Console

from lab.sim import run as simulation
from lab.sim.generate import generate
from lab.sim.run import FuzzRun
from lab.sim.scarcity import measure, worlds
from lab.sim.scenario import policy_text, scenario_text
from lab.sim.shrink import shrink
from lab.workers import workers

EXIT_FAILED = 1
SEEDS_SHOWN_MAX = 8


def add_parser(subparsers: Any) -> None:
    """Describes the command to the ``tieline`` parser."""
    parser = subparsers.add_parser(
        "fuzz",
        help="generated worlds in virtual time, each checked against the design",
        description="Generates policies, demand, faults and orders from seeds, steps the planner through "
        "them in virtual time, and checks in every second what the design promises. A seed always gives "
        "the same run. The exit status is 1 when something did not hold.",
    )
    parser.add_argument("--worlds", type=_positive, default=20, metavar="N", help="how many worlds (20)")
    parser.add_argument(
        "--minutes", type=_positive, default=10, metavar="M", help="of virtual time each (10)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="the seed of the first world (0)")
    parser.add_argument("--jobs", type=_positive, default=1, metavar="J", help="processes (1)")
    parser.add_argument(
        "--scarcity", action="store_true",
        help="instead measure worlds with too little for all against somebody who knows everything",
    )  # fmt: skip
    parser.add_argument(
        "--shrink", action="store_true", help="make the first world that fails smaller, and print it"
    )


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is too few: give at least 1")
    return number


def fuzz(args: argparse.Namespace, console: Console) -> int:
    """Runs the worlds and prints what broke. Exit status 0: nothing did; 1: something did."""
    totals: Counter[str] = Counter()
    seeds: dict[str, list[str]] = {}
    digest = blake2b(digest_size=16)
    first: FuzzRun | None = None
    for result in _runs(args):
        digest.update(result.digest.encode())
        totals.update(
            steps=result.steps,
            publications=result.publications,
            urgent=result.urgent,
            take_overs=result.take_overs,
        )
        for breach in result.breaches:
            seeds.setdefault(breach.invariant, []).append(result.world.seed)
            again = f"tieline fuzz --seed {result.world.seed} --worlds 1 --minutes {args.minutes} --shrink"
            console.print(
                f"seed {result.world.seed}, second {breach.second}: {breach.invariant}: {breach.story}"
            )
            console.print(f"  again: {again}")
            first = first or result
    console.print(
        f"{args.worlds} worlds of {args.minutes} minutes: {totals['steps']} steps, "
        f"{totals['publications']} tables, {totals['urgent']} of them urgent, "
        f"{totals['take_overs']} take-overs; digest {digest.hexdigest()}"
    )
    for invariant, broken in sorted(seeds.items(), key=lambda item: -len(item[1])):
        console.print(
            f"{len(broken)} worlds broke: {invariant} (seeds {', '.join(broken[:SEEDS_SHOWN_MAX])})"
        )
    if first is not None and args.shrink:
        _print_smaller(first, console)
    return EXIT_FAILED if first is not None else 0


def run(args: argparse.Namespace) -> int:
    """The command, on the terminal."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if args.scarcity:
        for world in (*worlds(args.minutes, planned=False), *worlds(args.minutes, planned=True)):
            for line in measure(world).lines():
                console.print(line)
        return 0
    return fuzz(args, console)


def _runs(args: argparse.Namespace) -> Iterator[FuzzRun]:
    """The runs in the order of their seeds, however many processes share the work."""
    numbers = range(args.seed, args.seed + args.worlds)
    run_one = partial(run_seed, seconds=args.minutes * 60)
    if args.jobs == 1:
        yield from map(run_one, numbers)
        return
    with workers(args.jobs) as pool:
        yield from pool.map(run_one, numbers)


def run_seed(number: int, seconds: int) -> FuzzRun:
    """The run of one seed."""
    return simulation.run(generate(str(number), seconds))


def _print_smaller(result: FuzzRun, console: Console) -> None:
    """The first world that failed, as small as it fails, for tests/scenarios."""
    breach = result.breaches[0]
    world = shrink(result.world, breach.invariant)
    name = f"fuzz_{world.seed}"
    console.print(f"\nThe smallest world that breaks {breach.invariant!r}, policies/{name}.yaml:\n")
    console.print(policy_text(world))
    console.print(f"{name}.scenario:\n")
    console.print(scenario_text(world, name))
