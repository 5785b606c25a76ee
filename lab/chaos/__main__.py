"""``script/chaos``: runs faults of every part under load and says what held."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

import msgspec
from rich.console import Console

from controller.process.errors import UserError
from controller.process.telemetry import quiet
from lab.chaos import report
from lab.chaos.catalogue import FAULTS, SAMPLE
from lab.chaos.fault import ChaosFault
from lab.chaos.run import Chaos, ChaosVerdict
from lab.errors import ChildError, StackError

PAGE = Path(__file__).parents[2] / "docs" / "chaos.md"
EXIT_FAILED = 1
EXIT_USAGE = 2


def parser() -> argparse.ArgumentParser:
    """Describes the command."""
    described = argparse.ArgumentParser(
        prog="script/chaos",
        description="Runs Kafka, Valkey, two controllers, a prober, stand-ins for providers and calling "
        "processes on this machine, breaks one part after the other, and checks what clients, Redis and the "
        f"routes log show. Without a name it runs {', '.join(SAMPLE)}. The exit status is 1 when a promise "
        "was not kept.",
    )
    described.add_argument("names", nargs="*", metavar="NAME", help="the faults to run (see --list)")
    described.add_argument("--all", action="store_true", help="run every fault")
    described.add_argument("--list", action="store_true", help="list the faults, and run none")
    described.add_argument("--json", action="store_true", help="print the verdicts as one JSON array")
    described.add_argument("--write", action="store_true", help="write what was measured into docs/chaos.md")
    described.add_argument(
        "--patience", type=float, default=1.0, metavar="X",
        help="multiply all bounds on time, for a machine that is slow or busy (1)",
    )  # fmt: skip
    described.add_argument("--directory", metavar="DIR", help="keep all logs and notes in this directory")
    return described


def chosen(args: argparse.Namespace) -> list[ChaosFault]:
    """The faults to run; with ``--all`` in the catalogue's order. Raises UserError for an unknown one."""
    names = list(FAULTS) if args.all else args.names or list(SAMPLE)
    if unknown := [name for name in names if name not in FAULTS]:
        raise UserError(f"there is no fault {unknown[0]}: script/chaos --list names them all")
    return [FAULTS[name] for name in names]


async def _run(args: argparse.Namespace, faults: list[ChaosFault], directory: Path) -> list[ChaosVerdict]:
    errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    clocks = any(fault.clocks for fault in faults)
    return await Chaos(directory, errors.print, patience=args.patience, clocks=clocks).run(faults)


def main(arguments: list[str]) -> int:
    """Exit status 0 if all promises were kept, 1 if not, 2 for a mistake in the call."""
    args = parser().parse_args(arguments)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if args.list:
        console.print("\n".join(f"{fault.name:<34} {fault.does}" for fault in FAULTS.values()))
        return 0
    quiet()
    try:
        faults = chosen(args)
        with tempfile.TemporaryDirectory(prefix="tieline-chaos-") as temporary:
            verdicts = asyncio.run(_run(args, faults, Path(args.directory or temporary)))
    except (UserError, StackError, ChildError) as error:
        Console(stderr=True, markup=False).print(f"script/chaos: {error}")
        return EXIT_USAGE
    if args.json:
        console.print(msgspec.json.encode(report.as_json(verdicts)).decode())
    else:
        console.print("\n".join(report.lines(verdicts)))
    if args.write:
        PAGE.write_text(report.rewritten(PAGE.read_text("utf-8"), verdicts, list(FAULTS)), "utf-8")
    return 0 if all(verdict.passed for verdict in verdicts) else EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
