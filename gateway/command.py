"""`tieline gateway --config FILE`: OpenAI's API over HTTP, routed by the client library, until SIGTERM."""

import argparse
import os
from pathlib import Path
from typing import Any

from controller.process.settings import REDIS, add_monitor_argument, add_stack_arguments, read_settings


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "gateway",
        description="Serves OpenAI's API to programs in any language, and routes their requests as the "
        "client library does. Needs the route table, from Redis or from `tieline web`, and no controller "
        "while it runs. See docs/gateway.md.",
    )
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="what it serves to whom, a YAML file"
    )
    parser.add_argument("--check", action="store_true", help="only check the file and the tokens it names")
    add_monitor_argument(parser)
    add_stack_arguments(parser, follows_current=False)


def run(args: argparse.Namespace) -> int:
    """Runs until SIGTERM or SIGINT; 0 after a clean end."""
    import uvloop

    from controller.process.supervise import collect_seldom
    from controller.process.telemetry import configure
    from gateway.callers import Callers
    from gateway.configuration import load_gateway
    from gateway.server import bind
    from gateway.worker import listen_of, run_worker

    file = load_gateway(args.config)
    listen = listen_of(file)
    needs = () if args.check or file.tables else (REDIS,)
    settings = read_settings(args, os.environ, needs=needs)
    if args.check:
        callers, workloads = Callers(file, os.environ), ", ".join(each.workload for each in file.workloads)
        print(f"{args.config}: {len(callers)} tokens, workloads {workloads}, listens at {file.listen}")
        return 0
    configure()
    collect_seldom()
    with bind(listen) as sock:
        return uvloop.run(run_worker(file, settings, sock))
