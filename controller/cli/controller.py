"""`tieline controller`: one controller process. Run two or more; one leads, the others stand by."""

import argparse
import asyncio
import os
from typing import Any

import uvloop

from controller.bootstrap import run_controller
from controller.process.settings import KAFKA, POLICY, REDIS, add_controller_arguments, read_settings
from controller.process.telemetry import configure


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "controller",
        description="Takes events in and, while it leads, decides and publishes route tables. Any number may "
        "run; Kafka arbitrates which one leads. Ends cleanly on SIGTERM, at once on a second one.",
    )
    add_controller_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs until SIGTERM or SIGINT."""
    configure()
    settings = read_settings(args, os.environ, needs=(KAFKA, REDIS, POLICY))
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())  # for the thread that Faust fetches in, too
    return asyncio.run(run_controller(settings))
