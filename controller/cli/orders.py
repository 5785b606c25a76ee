"""Operators' orders to the controllers, through Kafka: drain, freeze, override, verdict, approve, failback.

Each waits until a generation is published that takes it into account, or says what it waited for.
"""

import argparse
import asyncio
import getpass
import os
import re
import sys
import uuid
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from controller.cli.described import described
from controller.commands.log import OVERRIDE_MAX_MS
from controller.core.orders.overridable import OVERRIDABLE, override_fault
from controller.core.policy.check import near_miss
from controller.core.policy.policy import Policy
from controller.process.clock import now_ms
from controller.process.errors import UserError
from controller.process.settings import KAFKA, UNSIGNED_NOTICE, Settings, add_stack_arguments, read_settings
from controller.process.telemetry import quiet
from controller.routes.reader import RoutesReader
from controller.routes.record import RoutesRecord
from tieline.events import OF_THE_WHOLE_TABLE, TAKES_BACK, Command, Verb, in_scope, misfit
from tieline.producer import Producer, ProducerError

EXIT_NOT_APPLIED = 1
WAIT_S_MAX = 600.0
_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_policy_decoder = msgspec.msgpack.Decoder(Policy)


class Order(NamedTuple):
    """How one verb is typed: ``takes`` names its arguments. ``lasts``: for how long unless told otherwise;
    None where the operator must say."""

    help: str
    takes: tuple[str, ...] = ("scope",)
    lasts: str | None = None


ORDERS: dict[Verb, Order] = {
    "drain": Order("take a pool, region or provider out of routing for a while"),
    "undrain": Order("take back every drain of exactly this scope"),
    "freeze": Order("no moves by choice, of the whole table or of a scope"),
    "unfreeze": Order("take back every freeze of exactly this scope"),
    "override": Order("lift one guard for a while", ("guard", "--scope")),
    "restore": Order("take back every override of this guard for exactly this scope", ("guard", "--scope")),
    "verdict": Order("say yourself how a pool, region or provider is", ("scope", "state")),
    "retract": Order("take back the verdict of exactly this scope"),
    "approve": Order("let a provider in mode recommend be acted on for a while"),
    "revoke": Order("take back every approval of exactly this scope"),
    "failback": Order("let pools return whose failback is manual, once their hold-down is over", lasts="1h"),
}


def add_parser(subparsers: Any) -> None:
    """Adds every order's subcommand."""
    for verb, order in ORDERS.items():
        parser: argparse.ArgumentParser = subparsers.add_parser(
            verb, help=order.help, description=f"{order.help[0].upper()}{order.help[1:]}. {__doc__}"
        )
        _add_arguments(parser, verb, order)
        parser.add_argument("--reason", required=True, help="why; it is kept with the decision")
        if verb not in TAKES_BACK:
            parser.add_argument(
                "--for",
                dest="duration",
                required=order.lasts is None,
                default=order.lasts,
                metavar="TIME",
                help=f"how long: 90s, 30m, 1h, 2d{f' ({order.lasts})' if order.lasts else ''}",
            )
        parser.add_argument("--actor", help="who says so (default: the user of this machine)")
        parser.add_argument("--wait", type=float, default=15.0, metavar="S", help="seconds to wait (15)")
        add_stack_arguments(parser)


def _add_arguments(parser: argparse.ArgumentParser, verb: Verb, order: Order) -> None:
    parser.set_defaults(scope="*", guard="", state="")
    places = "PROVIDER, PROVIDER/REGION or a whole pool name"
    if "guard" in order.takes:
        guards = "; ".join(f"{name}: {guard.says}" for name, guard in OVERRIDABLE.items())
        parser.add_argument("guard", metavar="GUARD", help=guards)
    if "--scope" in order.takes:
        parser.add_argument("--scope", metavar="SCOPE", help=f"{places}; without it the whole table")
    elif verb in OF_THE_WHOLE_TABLE:
        parser.add_argument("scope", metavar="SCOPE", nargs="?", help=f"{places}; without it the whole table")
    else:
        parser.add_argument("scope", metavar="SCOPE", help=places)
    if "state" in order.takes:
        parser.add_argument("state", metavar="STATE", choices=("healthy", "degraded", "down"))


def run(args: argparse.Namespace) -> int:
    """0: a published generation contains it. 1: it was sent, and none did within the time."""
    settings = read_settings(args, os.environ, needs=(KAFKA,))
    quiet()
    return asyncio.run(_command(args, settings))


async def _command(args: argparse.Namespace, settings: Settings) -> int:
    command = made(args, now_ms())
    async with RoutesReader(settings.kafka, settings.topics.routes.name) as routes:
        before = routes.newest()
        check_policy(command, before)
        if before is None or not before.unsigned_commands:
            raise UserError(
                "the controllers refuse unsigned commands, and there are no keys to sign with yet: "
                "run them with --unsigned-dev-mode (for development only)"
            )
        async with Producer(settings.kafka, prefix=settings.namespace) as producer:
            command = made(args, now_ms())  # its time runs from now, not from before all was reached
            try:
                sent = await producer.send(command)
            except ProducerError as error:
                raise UserError(f"the command was not sent: {error}") from None
        after = await routes.until(
            lambda record: record.commands_next_offset > sent.offset, min(max(args.wait, 0), WAIT_S_MAX)
        )
    if after is None:
        sys.stderr.write(
            f"{UNSIGNED_NOTICE}: the command {command.id} lies on {sent.topic} at offset {sent.offset}, but "
            f"no generation that contains it was published within {args.wait:g} s (the newest is "
            f"{before.generation}): is a controller running? See `tieline status`.\n"
        )
        return EXIT_NOT_APPLIED
    print(said(command, before, after))
    return 0


def made(args: argparse.Namespace, issued_ms: int) -> Command:
    """The command as typed. Raises ``UserError``."""
    verb: Verb = args.command
    expires_ms = None if verb in TAKES_BACK else issued_ms + duration_ms(args.duration)
    command = Command(
        id=f"cmd-{uuid.uuid4().hex[:16]}",
        verb=verb,
        scope=args.scope.strip().rstrip("/"),
        actor=args.actor or getpass.getuser(),
        reason=args.reason,
        issued_ms=issued_ms,
        expires_ms=expires_ms,
        guard=args.guard.replace("-", "_"),
        state=args.state,
    )
    if command.guard and (fault := override_fault(command.guard, command.scope)):
        raise UserError(fault)
    try:
        command = msgspec.convert(msgspec.to_builtins(command), Command)
    except msgspec.ValidationError as error:
        field = str(error).rpartition("`$.")[2].rstrip("`")
        raise UserError(f"the command can't be made: {field} is not valid") from None
    if fault := misfit(command):
        raise UserError(f"the command can't be made: {fault}")
    return command


def duration_ms(text: str) -> int:
    """``90s``, ``30m``, ``1h``, ``2d`` in milliseconds, at most 30 days. Raises ``UserError``."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", text.strip())
    length_ms = int(found[1]) * _UNITS_MS[found[2]] if found else 0
    if not 0 < length_ms <= OVERRIDE_MAX_MS:
        raise UserError(f"--for {text!r}: give a time like 90s, 30m, 1h or 2d, at most 30d")
    return length_ms


def check_policy(command: Command, record: RoutesRecord | None) -> None:
    """Raises ``UserError`` unless the policy in force has something that this command could concern."""
    if record is None:
        raise UserError("no controller has published anything yet: start one with `tieline controller`")
    policy = _policy_decoder.decode(record.policy)
    scope = command.scope
    known = {pool.id for pool in policy.pools} | {"*"}
    known |= {pool.id.rsplit("/", 1)[0] for pool in policy.pools} | {one.id for one in policy.providers}
    if scope not in known:
        raise UserError(f"the policy in force knows no {scope!r}{near_miss(scope, known - {'*'})}")
    provider = next((one for one in policy.providers if one.id == scope.split("/")[0]), None)
    if command.verb == "approve" and provider and provider.mode != "recommend":
        raise UserError(
            f"{provider.id} is in mode {provider.mode}: only a provider in mode recommend can be approved"
        )
    if command.verb == "failback" and provider and provider.failback != "manual":
        raise UserError(f"failback of {provider.id} is auto: its pools return by themselves")


def said(command: Command, before: RoutesRecord, after: RoutesRecord) -> str:
    """What came of it, in two lines."""
    until = ""
    if command.expires_ms is not None:
        until = f" until {datetime.fromtimestamp(command.expires_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    shares = ""
    if command.scope != "*":
        was, now = (f"{share(record, command.scope):.1%}" for record in (before, after))
        shares = f"; mean share of its pools in all routes {was} -> {now}"
    return (
        f"{UNSIGNED_NOTICE}: {described(command)}{until} by {command.actor}: {command.reason}\n"
        f"published as {after.generation}{shares}"
    )


def share(record: RoutesRecord, scope: str) -> float:
    """The mean share, over all routes, of the pools within ``scope``."""
    table = record.table
    if table is None:
        return 0.0
    inside = {index for index, info in enumerate(table.pools) if in_scope(info.pool, scope)}
    total = sum(
        weight
        for route in table.routes
        for index, weight in zip(route.split.pools, route.split.weights, strict=True)
        if index in inside
    )
    return total / len(table.routes) / 1_000_000
