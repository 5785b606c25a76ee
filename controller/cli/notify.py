"""`tieline notify FILE`: tells Slack, PagerDuty, Alertmanager or a webhook what happens, until SIGTERM."""

import argparse
import asyncio
import os
from pathlib import Path
from typing import Any

from controller.notify.run import run_notify, try_targets
from controller.notify.targets import access_of, load_targets
from controller.process.settings import KAFKA, add_monitor_argument, add_stack_arguments, read_settings
from controller.process.telemetry import configure, quiet

EXIT_NOT_TAKEN = 1


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "notify",
        description="Follows the history and tells the targets of a file what happens. Any number may run "
        "with the same file: each target is told once. See docs/operating.md, Notifications.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the targets, a YAML file")
    parser.add_argument("--check", action="store_true", help="only check the file and its secrets")
    parser.add_argument("--test", action="store_true", help="only send one test notification to each target")
    add_monitor_argument(parser)
    add_stack_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """0 after a signal or when all is well, 1 if a target does not take the test."""
    targets = load_targets(args.file)
    access = {target.name: access_of(target, os.environ) for target in targets}
    if args.check:
        print(f"{args.file}: {len(targets)} targets: {', '.join(target.name for target in targets)}")
        return 0
    if args.test:
        quiet()
        settings = read_settings(args, os.environ, needs=())
        outcomes = asyncio.run(try_targets(settings, targets, access))
        for name, outcome in outcomes.items():
            print(f"{name}: {'took it' if outcome.what == 'taken' else f'did not take it: {outcome.why}'}")
        return 0 if all(outcome.what == "taken" for outcome in outcomes.values()) else EXIT_NOT_TAKEN
    configure()
    return asyncio.run(run_notify(read_settings(args, os.environ, needs=(KAFKA,)), targets, access))
