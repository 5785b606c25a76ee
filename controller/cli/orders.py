"""Operators' orders to the controllers, through Kafka: drain, freeze, override, verdict and others.

Here is how they are typed. ``give_order`` sends them and says what came of them.
"""

import argparse
import asyncio
import getpass
import os
from functools import partial
from typing import Any, NamedTuple

from controller.cli.arguments import Arguments
from controller.cli.give_order import give, may_shed
from controller.cli.order_arguments import add_order_arguments, checked_order, choices_of, new_order_id
from controller.cli.order_report import WaitFor
from controller.cli.terminal import duration_ms, name_context
from controller.core.orders.overridable import OVERRIDABLE, override_fault
from controller.process.clock import now_ms
from controller.process.errors import UserError
from controller.process.settings import KAFKA, read_settings
from controller.process.telemetry import quiet
from tieline.events import OF_THE_WHOLE_TABLE, TAKES_BACK, Command, Verb


class Order(NamedTuple):
    """How one verb is typed. ``takes`` names its arguments. ``lasts``: its duration unless the operator gives
    one; None where the operator must."""

    says: str
    takes: tuple[str, ...] = ("scope",)
    lasts: str | None = None


ORDERS: dict[Verb, Order] = {
    "drain": Order("Takes a pool, a region or a provider out of routing for a while."),
    "evacuate": Order(
        "Empties a provider, a region or a pool as fast as other pools have room, the most critical load "
        "first. Less critical load elsewhere makes way. What finds no room stays for as long as it is served."
    ),
    "undrain": Order("Takes back every drain, evacuation and drill of exactly this scope."),
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
    "failover": Order(
        "Moves a workload to one pool for a while, as far as that has room. At the end it goes back by "
        "bounded steps.",
        ("workload", "--to"),
    ),
    "pin": Order(
        "Lets a workload use only this pool for a while, and others that it is pinned to. Origins that none "
        "of them may serve stay as they are.",
        ("workload", "scope"),
    ),
    "unpin": Order("Takes back the pin or failover of this workload to this pool.", ("workload", "scope")),
    "mode": Order(
        "Puts another mode in the place of a provider's own for a while; `policy` ends that.",
        ("scope", "mode"),
    ),
}


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand of every order."""
    for verb, order in ORDERS.items():
        parser: Arguments = subparsers.add_parser(
            verb,
            description=f"{order.says} Waits until a generation that contains the order is published.",
        )
        _add_arguments(parser, verb, order)
        parser.add_argument("--reason", required=True, help="why; it is recorded with the decision")
        if verb not in TAKES_BACK:
            parser.add_argument(
                "--for",
                dest="duration",
                required=order.lasts is None and verb != "mode",
                default=order.lasts,
                metavar="TIME",
                help=f"for how long: 90s, 30m, 1h or 2d{f' ({order.lasts})' if order.lasts else ''}",
            )
        parser.add_argument(
            "--actor", help="who gives the order (default: whose key signs it; unsigned: your login)"
        )
        add_order_arguments(parser)


def _add_arguments(parser: argparse.ArgumentParser, verb: Verb, order: Order) -> None:
    parser.set_defaults(scope="*", guard="", state="", workload="", mode="")
    places = "PROVIDER, PROVIDER/REGION or a whole pool name"
    if "guard" in order.takes:
        guards = "; ".join(f"{name}: {guard.ensures}" for name, guard in OVERRIDABLE.items())
        parser.add_argument("guard", metavar="GUARD", help=guards)
    if "workload" in order.takes:
        parser.add_argument("workload", metavar="WORKLOAD", help="a workload of the policy")
    if "--to" in order.takes:
        parser.add_argument("--to", dest="scope", required=True, metavar="POOL", help="a whole pool name")
    elif "--scope" in order.takes:
        parser.add_argument("--scope", metavar="SCOPE", help=f"{places}; without it the whole table")
    elif verb in OF_THE_WHOLE_TABLE:
        parser.add_argument("scope", metavar="SCOPE", nargs="?", help=f"{places}; without it the whole table")
    else:
        names = {"mode": ("PROVIDER", "a provider"), "pin": ("POOL", "a whole pool name")}
        metavar, text = names.get(verb.removeprefix("un"), ("SCOPE", places))
        parser.add_argument("scope", metavar=metavar, help=text)
    if "mode" in order.takes:
        parser.add_argument("mode", metavar="MODE", choices=("observe", "recommend", "act", "policy"))
    if "state" in order.takes:
        parser.add_argument("state", metavar="STATE", choices=("healthy", "degraded", "down"))


def run(args: argparse.Namespace) -> int:
    """0: the leader accepted the order, published a table with it, and clients can have that table (with
    ``--wait``: they use it). 1: it was not agreed to or refused, or one of these didn't come within the time.
    3: only what ``--wait`` waits for didn't come within the time."""
    settings = read_settings(args, os.environ, needs=(KAFKA,))
    name_context(settings)
    quiet()
    wait: WaitFor = args.wait
    choices = choices_of(args, wait)
    if wait == "idle" and not may_shed(command_of(args, now_ms())):
        raise UserError("--wait=idle is for orders that empty pools: use --wait")
    return asyncio.run(give(partial(command_of, args), settings, choices))


def command_of(args: argparse.Namespace, issued_ms: int) -> Command:
    """The order as it was typed. Raises ``UserError``."""
    verb: Verb = args.command
    ends_others = verb in TAKES_BACK or args.mode == "policy"
    if not ends_others and args.duration is None:
        raise UserError("give --for TIME: for how long the mode is to last")
    expires_ms = None if ends_others else issued_ms + duration_ms(args.duration)
    command = Command(
        id=new_order_id(),
        verb=verb,
        scope=args.scope.strip().rstrip("/"),
        actor=args.actor or getpass.getuser(),
        reason=args.reason,
        issued_ms=issued_ms,
        expires_ms=expires_ms,
        guard=args.guard.replace("-", "_"),
        state=args.state,
        workload=args.workload,
        mode=args.mode,
    )
    if command.guard and (fault := override_fault(command.guard, command.scope)):
        raise UserError(fault)
    return checked_order(command)
