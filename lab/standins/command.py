"""`tieline standins FILE`: stand-ins for providers, one process for each provider-region, until ^C."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from controller.process.errors import UserError
from controller.process.monitor import Vitals, monitored, single
from controller.process.settings import MONITOR, Address, add_monitor_argument, read_address
from controller.process.supervise import end_on_signals
from lab.standins import config
from lab.standins.config import StandinConfig
from lab.standins.process import StandinProcess

HELP = "stand-ins for providers, for a first try"
DESCRIPTION = "Runs HTTP servers that answer as providers do, with capacity limits and faults, until ^C."


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser("standins", help=HELP, description=DESCRIPTION)
    parser.add_argument(
        "file", type=Path, help="YAML: one provider-region with its pools, or several under `processes`"
    )
    add_monitor_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Serves until SIGTERM or ^C; pools and their URLs go to standard output. Returns the exit status."""
    try:
        address = read_address(args.monitor or os.environ.get(MONITOR, ""))
        return asyncio.run(_serve(config.read(args.file), address))
    except UserError as error:
        _say(f"tieline standins: {error}")
        return 1


async def _serve(configs: Sequence[StandinConfig], address: Address | None) -> int:
    stop = end_on_signals()
    async with AsyncExitStack() as undo:
        standins: list[StandinProcess] = []
        for description in configs:
            standins.append(await undo.enter_async_context(await StandinProcess.spawn(description)))
            _show(standins[-1])
        await undo.enter_async_context(monitored(address, lambda: _vitals(standins)))
        _say(f"stand-ins ready: {len(standins)}; ^C ends them")
        return await _until(stop, standins)


def _vitals(standins: Sequence[StandinProcess]) -> Vitals:
    """The command is well while every stand-in runs."""
    dead = [standin.name for standin in standins if not standin.running]
    alive = single("standins_alive", "Stand-ins that run", len(standins) - len(dead))
    return Vitals(f"ended: {', '.join(dead)}" if dead else "", (alive,))


def _show(standin: StandinProcess) -> None:
    for pool in standin.ports:
        sys.stdout.write(f"{pool} {standin.url(pool)}\n")
    sys.stdout.write(f"{standin.name} pid={standin.pid} admin={standin.admin_url} log={standin.log_path}\n")
    sys.stdout.flush()


async def _until(stop: asyncio.Event, standins: Sequence[StandinProcess]) -> int:
    """Returns 0 once ``stop`` is set, or when every stand-in has ended.

    A stand-in that ends by itself is reported and not replaced: somebody may have killed it to see what
    happens, and the others go on.
    """
    stopping = asyncio.create_task(stop.wait())
    lives = {asyncio.create_task(standin.wait()): standin for standin in standins}
    while lives:
        done, _ = await asyncio.wait({stopping, *lives}, return_when=asyncio.FIRST_COMPLETED)
        if stopping in done:
            break
        for life in [task for task in lives if task in done]:
            standin = lives.pop(life)
            _say(f"{standin.name} (pid {standin.pid}) ended with status {life.result()}")
    for task in (stopping, *lives):
        task.cancel()
    await asyncio.gather(stopping, *lives, return_exceptions=True)
    return 0


def _say(words: str) -> None:
    sys.stderr.write(words + "\n")
    sys.stderr.flush()
