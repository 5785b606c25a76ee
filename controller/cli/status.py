"""`tieline status`: who leads, which generation is in force, and every provider and pool with its reason.

It reads the newest publication from Kafka and the live tables from Redis, or what Redis alone has.
"""

import argparse
import asyncio
import os
from typing import Any

import msgspec

from controller.cli import status_tables
from controller.cli.names import names_of, remember
from controller.cli.terminal import screen
from controller.process.errors import UserError
from controller.process.settings import KAFKA, REDIS, Settings, add_stack_arguments, read_settings
from controller.process.telemetry import quiet
from controller.status.gather import read_status
from controller.status.head import exit_status


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser("status", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    parser.add_argument(
        "--watch",
        action="store_true",
        help="show it on the whole screen, as it changes; keys sort, filter and explain",
    )
    add_stack_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """0: nothing is wrong. 1: something is shed, an alarm stands, or nobody leads. 2: it can't be known."""
    settings = read_settings(args, os.environ, needs=())
    if not settings.kafka and not settings.redis:
        read_settings(args, os.environ, needs=(KAFKA, REDIS))
    quiet()
    if args.watch:
        return _watch(settings, as_json=args.json)
    status = asyncio.run(read_status(settings))
    pools = (row.pool for row in status.overview.pools)
    remember(names_of(pools, (row.route for row in status.overview.routes)))
    if args.json:
        print(msgspec.json.encode(status).decode())
    else:
        status_tables.draw(status, screen())
    return exit_status(status)


def _watch(settings: Settings, *, as_json: bool) -> int:
    """Returns 0 when a key ended it. Raises ``UserError`` without a terminal."""
    from controller.cli import watch  # a terminal's keys are of use to nobody else

    if not as_json and not watch.has_terminal():
        raise UserError(watch.NEEDS_A_TERMINAL)
    asyncio.run(watch.watch_lines(settings) if as_json else watch.watch(settings))
    return 0
