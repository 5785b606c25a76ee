"""`tieline web`: the live page, and tables and reports over HTTP for applications without Redis."""

import argparse
import os
from pathlib import Path
from typing import Any

import uvloop

from controller.process.errors import SettingError
from controller.process.listening import read_listen
from controller.process.settings import REDIS, add_monitor_argument, add_stack_arguments, read_settings
from controller.process.telemetry import configure
from controller.web.admission import TOKENS, Bounds
from controller.web.run import run_web
from controller.web.visitors import read_proxy_trust

LISTEN = "127.0.0.1:8440"


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "web",
        description="Shows what is happening on a live page at / and serves the route table (as msgpack and "
        "as JSON, with ETag and server-sent events), and takes clients' reports on to Kafka. Needs Redis; "
        "without Kafka it takes no reports and the page shows less. Any number may run. See docs/page.md and "
        "docs/http-table.md.",
    )
    parser.add_argument(
        "--listen", default=LISTEN, metavar="ADDRESS:PORT", help=f"where to listen ({LISTEN})"
    )
    parser.add_argument(
        "--tokens",
        type=Path,
        metavar="FILE",
        help=f"bearer tokens of callers, one a line, read anew when the file changes (and those in {TOKENS})",
    )
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate chain, PEM")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its key, PEM")
    parser.add_argument(
        "--trusted-header",
        metavar="NAME",
        help="a header in which a reverse proxy names whom it has signed in, e.g. X-Forwarded-Email: they "
        "may see the page",
    )
    parser.add_argument(
        "--trusted-proxy",
        action="append",
        default=[],
        metavar="ADDRESS[/BITS]",
        help="the proxy from which that header is believed; may be given several times",
    )
    parser.add_argument(
        "--requests-per-s",
        type=float,
        default=Bounds().requests_per_s,
        metavar="N",
        help=f"requests/s from one address, twice that at once ({Bounds().requests_per_s:g}); raise it "
        "behind a proxy",
    )
    add_monitor_argument(parser)
    add_stack_arguments(parser, follows_current=False)


def run(args: argparse.Namespace) -> int:
    """Runs until SIGTERM or SIGINT."""
    configure()
    settings = read_settings(args, os.environ, needs=(REDIS,))
    if not 1 <= args.requests_per_s <= 1e6:
        raise SettingError("--requests-per-s: give a number from 1 to 1000000")
    bounds = Bounds(requests_per_s=args.requests_per_s, burst=2 * args.requests_per_s)
    listen = read_listen(args.listen, args.tls_cert, args.tls_key)
    proxy = read_proxy_trust(args.trusted_header, args.trusted_proxy)
    return uvloop.run(run_web(settings, listen, args.tokens, bounds=bounds, proxy=proxy))
