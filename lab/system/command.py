"""``tieline sim``: the whole system in many worlds from seeds, on simulated surroundings."""

from __future__ import annotations

import argparse
import contextlib
import subprocess
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

from controller.process.clock import stopwatch_s
from controller.process.errors import UserError
from lab.system.generate import KINDS, generate_system
from lab.system.shrink import shrink_system, story
from lab.system.spec import SystemWorld
from lab.system.world import SystemRun
from lab.system.world import run as run_world
from lab.workers import workers

EXIT_FAILED = 1
SEEDS_SHOWN_MAX = 8
AHEAD = 8  # worlds for each process that are handed out before the first of them is over


def add_parser(subparsers: Any) -> None:
    """Describes the command to the ``tieline`` parser."""
    parser = subparsers.add_parser(
        "sim",
        help="the whole system in virtual time, in worlds that seeds make",
        description="Runs controllers, their ingesting part, producers and the clients' way to their table "
        "on simulated time, network, Kafka and Redis, while processes are killed, links are cut and pools "
        "fail. Checks what the design promises, in every second and at the end. A seed always gives the "
        "same run. The exit status is 1 when something did not hold.",
    )
    parser.add_argument("--seeds", type=_positive, default=20, metavar="N", help="how many worlds (20)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="the seed of the first world (0)")
    parser.add_argument("--jobs", type=_positive, default=1, metavar="J", help="processes (1)")
    parser.add_argument(
        "--within", type=_positive, metavar="S", help="begin no more worlds after so many seconds"
    )
    parser.add_argument(
        "--orders", type=int, default=0, metavar="N", help="fail also if fewer orders of steps were reached"
    )
    parser.add_argument(
        "--world", type=Path, metavar="FILE", help="instead run the world in this file, which --shrink wrote"
    )
    parser.add_argument(
        "--shrink", type=Path, metavar="FILE", help="make the first world that fails smaller, and write it"
    )
    parser.set_defaults(run=run)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def run(args: argparse.Namespace) -> int:
    """The command, on the terminal."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    summary = Summary(console)
    if args.world is not None:
        summary.add(run_world(read_world(args.world)))
    else:
        seeds = range(args.seed, args.seed + args.seeds)
        for result in _with_bar(_runs(seeds, args.jobs, args.within), len(seeds)):
            summary.add(result)
    summary.show()
    if summary.orders < args.orders:
        console.print(f"only {summary.orders} orders of steps were reached, fewer than {args.orders}")
        return EXIT_FAILED
    if summary.first is not None and args.shrink is not None:
        world = shrink_system(summary.first.world, summary.first.breaches[0].invariant)
        args.shrink.write_text(world_text(world))
        for line in story(world):
            console.print(line)
        console.print(f"The smallest world that breaks it: tieline sim --world {args.shrink}")
    return EXIT_FAILED if summary.first is not None else 0


def read_world(path: Path) -> SystemWorld:
    """The world in a file. Raises ``UserError``."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=SystemWorld)
    except OSError as error:
        raise UserError(f"--world: {path} can't be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(f"--world: {path} holds no world of `tieline sim --shrink`: {error}") from None


def world_text(world: SystemWorld) -> str:
    """A world as ``read_world`` reads it."""
    return msgspec.json.format(msgspec.json.encode(world)).decode() + "\n"


class Summary:
    """What came of all worlds so far. ``first``: the first run in which something did not hold."""

    def __init__(self, console: Console) -> None:
        self.first: SystemRun | None = None
        self._console = console
        self._worlds = 0
        self._totals: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._requests: Counter[str] = Counter()
        self._befell: Counter[str] = Counter()
        self._orders: set[Any] = set()
        self._seeds: dict[str, list[str]] = {}
        self._digest = blake2b(digest_size=16)

    def add(self, result: SystemRun) -> None:
        """One more world; what did not hold in it is printed."""
        self._worlds += 1
        self._digest.update(result.digest.encode())
        self._orders |= result.orders
        self._faults.update(result.faults)
        self._requests.update(result.requests)
        self._befell.update(occurrence.kind for occurrence in result.world.fuzz.occurrences)
        self._totals.update(
            seconds=result.world.seconds,
            publications=result.publications,
            take_overs=result.take_overs,
            deposed=result.deposed,
            restarts=result.restarts,
        )
        for breach in result.breaches:
            self._seeds.setdefault(breach.invariant, []).append(result.world.seed)
            place = f"second {breach.second}" if breach.second >= 0 else "the whole run"
            self._console.print(
                f"seed {result.world.seed}, {place}: {breach.invariant}: {breach.story}\n"
                f"  again: tieline sim --seed {result.world.seed} --seeds 1{_commit()}"
            )
            self.first = self.first or result

    @property
    def orders(self) -> int:
        """How many distinct orders of steps were reached."""
        return len(self._orders)

    def show(self) -> None:
        """The totals."""
        totals = self._totals
        self._console.print(
            f"{self._worlds} worlds, {totals['seconds'] / 3_600:.1f} hours: {totals['publications']} tables, "
            f"{totals['take_overs']} take-overs, {totals['deposed']} records of deposed leaders, "
            f"{totals['restarts']} restarts; {len(self._orders)} orders of steps; "
            f"digest {self._digest.hexdigest()}"
        )
        self._console.print(f"faults in force: {_counts(self._faults)}")
        if missing := sorted(set(KINDS) - set(self._faults)):
            self._console.print(f"faults that were never in force: {', '.join(missing)}")
        self._console.print(f"what befell pools, sources and operators: {_counts(self._befell)}")
        self._console.print(f"requests: {_counts(self._requests)}")
        for invariant, seeds in sorted(self._seeds.items(), key=lambda item: -len(item[1])):
            shown = ", ".join(seeds[:SEEDS_SHOWN_MAX])
            self._console.print(f"{len(seeds)} breaches: {invariant} (seeds {shown})")


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def run_seed(number: int) -> SystemRun:
    """The run of one seed."""
    return run_world(generate_system(str(number)))


def _runs(seeds: range, jobs: int, within_s: int | None) -> Iterator[SystemRun]:
    """The runs in the order of their seeds, however many processes share the work. None begins after
    ``within_s`` seconds."""
    ends_s = stopwatch_s() + within_s if within_s is not None else float("inf")
    if jobs == 1:
        for seed in seeds:
            if stopwatch_s() < ends_s:
                yield run_seed(seed)
        return
    waiting = iter(seeds)
    under_way: deque[Future[SystemRun]] = deque()
    with workers(jobs) as pool:
        while True:
            while len(under_way) < AHEAD * jobs and stopwatch_s() < ends_s:
                if (next_seed := next(waiting, None)) is None:
                    break
                under_way.append(pool.submit(run_seed, next_seed))
            if not under_way:
                return
            yield under_way.popleft().result()


def _with_bar(results: Iterable[SystemRun], count: int) -> Iterator[SystemRun]:
    """The same, with a bar on a terminal."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("worlds", total=count)
        for result in results:
            yield result
            progress.advance(task)


def _commit() -> str:
    """`` (at commit ...)``, where this runs from a checkout."""
    with contextlib.suppress(OSError):
        here = Path(__file__).resolve().parent
        answer = subprocess.run(
            ("git", "-C", str(here), "rev-parse", "--short", "HEAD"),
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode == 0:
            return f" (at commit {answer.stdout.strip()})"
    return ""
