"""`tieline collect FILE`: reads status pages and other sources over HTTP, and tells Tieline, until
SIGTERM."""

import argparse
import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from controller.collect.collector import Collector
from controller.collect.configuration import load_collectors
from controller.collect.run import run_collect, try_collectors
from controller.policy_file import load_policy
from controller.process.settings import (
    KAFKA,
    POLICY,
    add_monitor_argument,
    add_stack_arguments,
    read_settings,
)
from controller.process.telemetry import configure, quiet

EXIT_NOT_READ = 1


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "collect",
        description="Reads what the collectors of a file name, such as the status pages of providers, and "
        "sends it as events. Run one process with a file. See docs/collecting.md.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the collectors, a YAML file")
    parser.add_argument(
        "--policy", metavar="FILE", help=f"check all names against this policy (else {POLICY})"
    )
    parser.add_argument("--check", action="store_true", help="only check the file")
    parser.add_argument(
        "--once",
        action="store_true",
        help="only fetch once, and print the events in the place of sending them",
    )
    add_monitor_argument(parser)
    add_stack_arguments(parser, follows_current=False)


def run(args: argparse.Namespace) -> int:
    """0 after a signal or when all is well, 1 if a collector could not be read with --once."""
    settings = read_settings(args, os.environ, needs=() if args.check or args.once else (KAFKA,))
    policy = load_policy(settings.policy) if settings.policy else None
    file = load_collectors(args.file, policy)
    if args.check:
        hooks = file.webhook.hooks if file.webhook is not None else ()
        names = ", ".join(entry.name for entry in (*file.collectors, *hooks))
        print(f"{args.file}: {len(file.collectors)} collectors and {len(hooks)} hooks: {names}")
        return 0
    if args.once:
        quiet()
        return _print_once(file.collectors)
    configure()
    return asyncio.run(run_collect(settings, file))


def _print_once(collectors: Sequence[Collector]) -> int:
    """A line of JSON for each event, and one sentence for each collector that can't be read."""
    results = asyncio.run(try_collectors(collectors))
    for name, (trouble, events) in results.items():
        if trouble:
            print(f"{name}: can't be read: {trouble}")
        for event in events:
            print(msgspec.json.encode(event).decode())
    return EXIT_NOT_READ if any(trouble for trouble, _ in results.values()) else 0
