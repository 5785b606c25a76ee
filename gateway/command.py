"""`tieline gateway --config FILE`: OpenAI's API over HTTP, routed by the client library, until SIGTERM."""

import argparse
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import uvloop

from controller.process.settings import (
    REDIS,
    Settings,
    add_monitor_argument,
    add_stack_arguments,
    read_settings,
)
from controller.process.supervise import collect_seldom
from controller.process.telemetry import configure, logger
from gateway.callers import Callers
from gateway.configuration import GatewayFile, load_gateway
from gateway.credentials import credentials_of
from gateway.server import bind
from gateway.worker import Post, listen_of, run_watch, run_worker
from gateway.workers import Crew


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
    file = load_gateway(args.config)
    listen = listen_of(file)
    needs = () if args.check or file.tables else (REDIS,)
    settings, callers = read_settings(args, os.environ, needs=needs), Callers(file, os.environ)
    if args.check:
        credentials_of(file)
        workloads = ", ".join(each.workload for each in file.workloads)
        print(f"{args.config}: {len(callers)} tokens, workloads {workloads}, listens at {file.listen}")
        return 0
    configure()
    log = logger("gateway")
    if not listen.is_loopback and listen.certificate is None:
        log.warning("callers' tokens travel unencrypted: give tls, or put TLS in front")
    with bind(listen) as sock, tempfile.TemporaryDirectory(prefix="tieline-gateway-") as folder:
        return _serve(args.config, file, settings, sock=sock, folder=Path(folder))


def _serve(config: Path, file: GatewayFile, settings: Settings, *, sock: socket.socket, folder: Path) -> int:
    """In this process, or in several that it keeps running."""
    collect_seldom()
    post = Post(0, file.workers, folder, config=config)
    if file.workers == 1:
        return uvloop.run(run_worker(file, settings, sock, post))
    post = post._replace(parent=os.getpid())

    def work(number: int) -> int:
        return uvloop.run(run_worker(file, settings, sock, post._replace(number=number)))

    def watch() -> int:
        sock.close()
        return uvloop.run(run_watch(settings, post))

    return Crew(file.workers, work, watch if settings.monitor is not None else None, close=sock.close).run()
