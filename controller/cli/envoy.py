"""`tieline envoy DIR`: the route table as files that Envoy watches or as answers to its polls, and Envoy's
outcomes as reports."""

import argparse
import os
import ssl
from pathlib import Path
from typing import Any

import msgspec

from controller.envoy.bootstrap import Front, Listening, PollPlace
from controller.envoy.plan import RouteName
from controller.envoy.run import EnvoyChoices, run_envoy
from controller.envoy.serving import Serving
from controller.process.errors import SettingError
from controller.process.listening import read_listen
from controller.process.settings import REDIS, add_monitor_argument, add_stack_arguments, read_settings
from controller.process.telemetry import configure
from controller.web.admission import TOKENS, Tokens
from tieline.event_fields import Name

FRONT, ADMIN, OUTCOMES = "127.0.0.1:10000", "127.0.0.1:9901", "127.0.0.1:9902"


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "envoy",
        description="Writes the route table as files into DIR, where Envoy watches them, or answers Envoy's "
        "polls (--listen), and takes Envoy's outcomes on to Kafka as a client's reports. Start Envoy with "
        "`envoy -c DIR/bootstrap.json`; it goes on with what it has while this command is away. See "
        "docs/envoy.md.",
    )
    parser.add_argument("directory", metavar="DIR", type=Path, help="a directory of this command's own")
    parser.add_argument(
        "--route",
        action="append",
        required=True,
        metavar="WORKLOAD/ORIGIN",
        help="a route that Envoy serves; may be given again. Requests that name no workload or origin by the "
        "headers x-tieline-workload and x-tieline-origin are those of the first",
    )
    for flag, default, what in (
        ("--front", FRONT, "where Envoy takes requests"),
        ("--admin", ADMIN, "where Envoy's admin page is"),
        ("--outcomes", OUTCOMES, "where this command takes Envoy's outcomes"),
    ):
        parser.add_argument(flag, default=default, metavar="ADDRESS:PORT", help=f"{what} ({default})")
    parser.add_argument(
        "--credentials",
        type=Path,
        metavar="DIR",
        help="a directory with a file for each credential that the table names. Envoy reads them itself, "
        "again when one is renamed there",
    )
    parser.add_argument(
        "--authorities", metavar="FILE", help="certificates that TLS to pools trusts (the system's)"
    )
    parser.add_argument(
        "--access-log",
        default="",
        metavar="FILE",
        help="a file, or /dev/stdout, into which Envoy writes a line of JSON about each request and each "
        "attempt (none)",
    )
    parser.add_argument(
        "--overlay-key",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="a public key that may sign an emergency overlay; may be given again",
    )
    parser.add_argument(
        "--pool-host",
        action="append",
        default=[],
        metavar="HOST",
        help="the only hosts that requests may go to, such as '*.openai.azure.com'; may be given again",
    )
    _add_listen_arguments(parser)
    add_monitor_argument(parser)
    add_stack_arguments(parser, follows_current=False)


def _add_listen_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--listen",
        metavar="ADDRESS:PORT",
        help="answer Envoy's polls here (xDS over REST) instead of writing files; an Envoy on another "
        "machine needs a copy of DIR/bootstrap.json",
    )
    parser.add_argument(
        "--reached-at",
        metavar="HOST:PORT",
        help="where Envoy reaches --listen (the same), e.g. under the name of the certificate",
    )
    parser.add_argument(
        "--tokens",
        type=Path,
        metavar="FILE",
        help="with --listen: bearer tokens of Envoys, one a line, read anew when the file changes (and those "
        f"in {TOKENS}); needed where other machines reach the address",
    )
    parser.add_argument(
        "--token-file",
        default="",
        metavar="FILE",
        help="with --tokens: the file on Envoy's machine with the token that it shows, without a line end",
    )
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="with --listen: certificate chain, PEM")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its key, PEM")


def run(args: argparse.Namespace) -> int:
    """Runs until SIGTERM or SIGINT."""
    import uvloop

    configure()
    settings = read_settings(args, os.environ, needs=(REDIS,))
    routes = tuple(dict.fromkeys(read_route(text) for text in args.route))
    serving = _serving(args)
    front = Front(
        read_place("--front", args.front),
        read_place("--admin", args.admin),
        read_place("--outcomes", args.outcomes),
        default=routes[0],
        access_log=args.access_log,
        discovery=_discovery(args, serving),
    )
    choices = EnvoyChoices(
        args.directory,
        routes,
        front,
        credentials=_directory(args.credentials),
        authorities=args.authorities or _authorities(),
        controller_keys=(settings.controller_keys,) if settings.controller_keys is not None else (),
        overlay_keys=tuple(args.overlay_key),
        pool_hosts=tuple(args.pool_host),
        serving=serving,
    )
    return uvloop.run(run_envoy(settings, choices))


def _serving(args: argparse.Namespace) -> Serving | None:
    if not args.listen:
        for flag in ("reached_at", "tokens", "token_file", "tls_cert", "tls_key"):
            if getattr(args, flag):
                raise SettingError(f"--{flag.replace('_', '-')} belongs to --listen: give both or neither")
        return None
    listen = read_listen(args.listen, args.tls_cert, args.tls_key)
    tokens = Tokens(args.tokens, os.environ)
    if len(tokens) and not args.token_file:
        raise SettingError("--token-file: name the file on Envoy's machine with the token that it shows")
    return Serving(listen, tokens)


def _discovery(args: argparse.Namespace, serving: Serving | None) -> PollPlace | None:
    if serving is None:
        return None
    place = read_place("--reached-at", args.reached_at or args.listen)
    return PollPlace(place, is_tls=serving.listen.certificate is not None, token_file=args.token_file)


def read_route(text: str) -> RouteName:
    """A route in ``workload/origin``. Raises SettingError."""
    workload, _, origin = text.partition("/")
    try:
        return RouteName(msgspec.convert(workload, Name), msgspec.convert(origin, Name))
    except msgspec.ValidationError:
        raise SettingError(f"--route: {text!r} is not workload/origin, e.g. chat/eu") from None


def read_place(flag: str, text: str) -> Listening:
    """An address with a port. Raises SettingError."""
    host, _, port = text.strip().rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise SettingError(f"{flag}: {text!r} is not address:port, e.g. {FRONT}")
    return Listening(host.strip("[]"), int(port))


def _directory(path: Path | None) -> Path | None:
    if path is not None and not path.is_dir():
        raise SettingError(f"--credentials: {path} is no directory")
    return path


def _authorities() -> str:
    """Where this machine keeps the certificates that it trusts."""
    paths = ssl.get_default_verify_paths()
    return os.environ.get("SSL_CERT_FILE") or paths.cafile or paths.openssl_cafile
