"""`tieline standins FILE`: providers to try things on, one process for each provider-region, until ^C."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from controller.process.errors import UserError
from controller.process.monitor import MONITOR, Address, Figure, Vitals, monitored, read_address
from controller.process.settings import add_monitor_argument
from lab.standins import config
from lab.standins.config import ConfigError, StandinConfig
from lab.standins.process import SpawnError, StandinProcess

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
    except (ConfigError, SpawnError, UserError) as error:
        _say(f"tieline standins: {error}")
        return 1


async def _serve(configs: Sequence[StandinConfig], address: Address | None) -> int:
    asked_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_end.set)
    async with AsyncExitStack() as running:
        processes: list[StandinProcess] = []
        for one in configs:
            processes.append(await running.enter_async_context(await StandinProcess.spawn(one)))
            _show(processes[-1])
        await running.enter_async_context(monitored(address, lambda: _vitals(processes)))
        _say(f"{len(processes)} stand-ins are ready; ^C ends them")
        return await _until(asked_to_end, processes)


def _vitals(processes: Sequence[StandinProcess]) -> Vitals:
    """Well: every stand-in runs."""
    ended = [f"{one.info.provider}/{one.info.region}" for one in processes if not one.alive]
    alive = {"": float(len(processes) - len(ended))}
    return Vitals(
        f"ended: {', '.join(ended)}" if ended else "", (Figure("standins_alive", "running stand-ins", alive),)
    )


def _show(process: StandinProcess) -> None:
    for pool in process.ports:
        sys.stdout.write(f"{pool} {process.url(pool)}\n")
    name = f"{process.info.provider}/{process.info.region}"
    sys.stdout.write(f"{name} pid={process.pid} admin={process.admin_url} log={process.log_path}\n")
    sys.stdout.flush()


async def _until(asked_to_end: asyncio.Event, processes: Sequence[StandinProcess]) -> int:
    """0 once asked to end or when every stand-in has ended; one that ends by itself is said, not replaced.

    One may well be killed to see what happens then; the others go on.
    """
    ending = asyncio.create_task(asked_to_end.wait())
    alive = {asyncio.create_task(process.wait()): process for process in processes}
    while alive:
        done, _ = await asyncio.wait({ending, *alive}, return_when=asyncio.FIRST_COMPLETED)
        if ending in done:
            break
        for task in [task for task in alive if task in done]:
            info = alive.pop(task).info
            _say(f"{info.provider}/{info.region} (pid {info.pid}) ended with status {task.result()}")
    for task in (ending, *alive):
        task.cancel()
    await asyncio.gather(ending, *alive, return_exceptions=True)
    return 0


def _say(words: str) -> None:
    sys.stderr.write(words + "\n")
    sys.stderr.flush()
