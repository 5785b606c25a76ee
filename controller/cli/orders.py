"""Operators' orders to the controllers, through Kafka: drain, freeze, override, verdict, approve, failback.

The command waits until a generation is published that takes the order into account, and says what it moved.
"""

import argparse
import asyncio
import getpass
import os
import sys
import uuid
from typing import Any, NamedTuple

import msgspec

from controller.cli.outcome import offered_now, outcome
from controller.cli.terminal import described, duration_ms, invalid_field, utc
from controller.core.orders.overridable import OVERRIDABLE, override_fault
from controller.core.policy.check import near_miss
from controller.core.policy.policy import decode_policy
from controller.process.clock import now_ms
from controller.process.errors import UserError
from controller.process.settings import KAFKA, UNSIGNED_NOTICE, Settings, add_stack_arguments, read_settings
from controller.process.telemetry import quiet
from controller.routes.reader import RoutesReader
from controller.routes.record import RoutesRecord
from tieline.events import OF_THE_WHOLE_TABLE, TAKES_BACK, Command, Verb, misfit
from tieline.producer import Producer, ProducerError

EXIT_NOT_APPLIED = 1
WAIT_S_MAX = 600.0


class Order(NamedTuple):
    """How one verb is typed. ``takes`` names its arguments. ``lasts``: its duration unless the operator gives
    one; None where the operator must."""

    says: str
    takes: tuple[str, ...] = ("scope",)
    lasts: str | None = None


ORDERS: dict[Verb, Order] = {
    "drain": Order("Takes a pool, a region or a provider out of routing for a while."),
    "undrain": Order("Takes back every drain of exactly this scope."),
    "freeze": Order(
        "Stops moves by choice for a while, in the whole table or in a scope. Forced moves go on."
    ),
    "unfreeze": Order("Takes back every freeze of exactly this scope."),
    "override": Order("Lifts one guard for a while.", ("guard", "--scope")),
    "restore": Order("Takes back every override of this guard for exactly this scope.", ("guard", "--scope")),
    "verdict": Order(
        "Puts your word in the place of what is found about a pool, a region or a provider.",
        ("scope", "state"),
    ),
    "retract": Order("Takes back the verdict of exactly this scope."),
    "approve": Order("Lets the planner act on a provider in mode recommend for a while."),
    "revoke": Order("Takes back every approval of exactly this scope."),
    "failback": Order(
        "Lets pools return whose failback is manual, once their hold-down is over.", lasts="1h"
    ),
}


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand of every order."""
    for verb, order in ORDERS.items():
        parser: argparse.ArgumentParser = subparsers.add_parser(
            verb,
            description=f"{order.says} Waits until a generation that contains the order is published.",
        )
        _add_arguments(parser, verb, order)
        parser.add_argument("--reason", required=True, help="why; it is recorded with the decision")
        if verb not in TAKES_BACK:
            parser.add_argument(
                "--for",
                dest="duration",
                required=order.lasts is None,
                default=order.lasts,
                metavar="TIME",
                help=f"for how long: 90s, 30m, 1h or 2d{f' ({order.lasts})' if order.lasts else ''}",
            )
        parser.add_argument("--actor", help="who gives the order (default: your login)")
        parser.add_argument("--wait", type=float, default=15.0, metavar="S", help="seconds to wait (15)")
        add_stack_arguments(parser)


def _add_arguments(parser: argparse.ArgumentParser, verb: Verb, order: Order) -> None:
    parser.set_defaults(scope="*", guard="", state="")
    places = "PROVIDER, PROVIDER/REGION or a whole pool name"
    if "guard" in order.takes:
        guards = "; ".join(f"{name}: {guard.ensures}" for name, guard in OVERRIDABLE.items())
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
    """0: a published generation contains the order. 1: it was sent, and none did within the time."""
    settings = read_settings(args, os.environ, needs=(KAFKA,))
    quiet()
    return asyncio.run(_order(args, settings))


async def _order(args: argparse.Namespace, settings: Settings) -> int:
    command = command_of(args, now_ms())
    async with RoutesReader(settings.kafka, settings.topics.routes.name) as routes:
        before = routes.newest()
        check_policy(command, before)
        if before is None or not before.unsigned_commands:
            raise UserError(
                "the controllers refuse orders without a signature, and there are no keys to sign with yet: "
                "run them with --unsigned-dev-mode (for development only)"
            )
        async with Producer(settings.kafka, prefix=settings.namespace) as producer:
            command = command_of(args, now_ms())  # it lasts from now, not from before everything was reached
            try:
                sent = await producer.send(command)
            except ProducerError as error:
                raise UserError(f"the order was not sent: {error}") from None
        after = await routes.until(
            lambda record: record.commands_next_offset > sent.offset, min(max(args.wait, 0), WAIT_S_MAX)
        )
    if after is None:
        sys.stderr.write(
            f"{UNSIGNED_NOTICE}: the order {command.id} was written to {sent.topic} at offset {sent.offset}, "
            f"but no generation that contains it was published within {args.wait:g} s (the newest is "
            f"{before.generation}): is a controller running? See `tieline status`.\n"
        )
        return EXIT_NOT_APPLIED
    until = f" until {utc(command.expires_ms)}" if command.expires_ms is not None else ""
    print(f"{UNSIGNED_NOTICE}: {described(command)}{until} by {command.actor}: {command.reason}")
    moved = outcome(command.scope, before, after, await offered_now(settings))
    print(f"published as {after.generation}{moved}")
    return 0


def command_of(args: argparse.Namespace, issued_ms: int) -> Command:
    """The order as it was typed. Raises ``UserError``."""
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
        raise UserError(invalid_field(error)) from None
    if fault := misfit(command):
        raise UserError(fault)
    return command


def check_policy(command: Command, record: RoutesRecord | None) -> None:
    """Raises ``UserError`` unless the policy in force has something that this order could concern."""
    if record is None:
        raise UserError("no controller has published anything yet: start one with `tieline controller`")
    policy = decode_policy(record.policy)
    scope = command.scope
    scopes = {pool.id for pool in policy.pools} | {"*"} | {provider.id for provider in policy.providers}
    scopes |= {pool.id.rsplit("/", 1)[0] for pool in policy.pools}
    if scope not in scopes:
        raise UserError(f"the policy in force has no {scope!r}{near_miss(scope, scopes - {'*'})}")
    provider = next((item for item in policy.providers if item.id == scope.split("/")[0]), None)
    if command.verb == "approve" and provider and provider.mode != "recommend":
        raise UserError(
            f"{provider.id} is in mode {provider.mode}: only a provider in mode recommend can be approved"
        )
    if command.verb == "failback" and provider and provider.failback != "manual":
        raise UserError(f"failback of {provider.id} is auto: its pools return by themselves")
