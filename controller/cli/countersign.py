"""`tieline countersign`: agrees, as a second person, to an order that waits for that.

The policy says which orders more than one person must sign (`approvals`). `tieline status` lists those that
wait, with their ids. Nobody can countersign an order of their own, and an order that is not countersigned
within fifteen minutes lapses.
"""

import argparse
import asyncio
import os
from functools import partial
from typing import Any

from controller.cli.give_order import agreement, give
from controller.cli.order_arguments import add_order_arguments, choices_of
from controller.cli.order_report import Choices
from controller.cli.terminal import name_context
from controller.core.policy.check import near_miss
from controller.leading.routes_reader import RoutesReader
from controller.process.clock import now_ms
from controller.process.errors import UserError
from controller.process.settings import KAFKA, Settings, read_settings
from controller.process.telemetry import quiet
from controller.routes.record import PendingOrder
from controller.status.live import read_commands
from tieline.events import PolicyChange


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser("countersign", description=__doc__)
    parser.add_argument("id", metavar="ID", help="the order's id, as `tieline status` shows it")
    parser.add_argument("--reason", required=True, help="why you agree; it is recorded with the order")
    parser.add_argument("--actor", help="who agrees (default: whose key signs)")
    add_order_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """As of the other orders; 4: it was accepted, and still more people must sign the order."""
    settings = read_settings(args, os.environ, needs=(KAFKA,))
    name_context(settings)
    quiet()
    return asyncio.run(_countersign(args, settings, choices_of(args, args.wait)))


async def _countersign(args: argparse.Namespace, settings: Settings, choices: Choices) -> int:
    item = await _pending(args.id, settings)
    if isinstance(item.order, PolicyChange):
        from controller.cli import policy_apply

        return await policy_apply.countersign(
            settings,
            item,
            policy_apply.ApplyChoices(
                args.reason,
                choices.signing,
                consent=choices.consent,
                dry_run=choices.dry_run,
                as_json=choices.as_json,
                within_s=choices.within_s,
            ),
        )
    return await give(partial(agreement, item, args.reason, args.actor), settings, choices)


async def _pending(order_id: str, settings: Settings) -> PendingOrder:
    """The order with this id that waits. Raises ``UserError`` if there is none."""
    async with RoutesReader(settings) as routes:
        record = routes.newest()
    log = await read_commands(settings, record) if record is not None else None
    waiting = {item.order.id: item for item in log.waiting(now_ms())} if log is not None else {}
    if order_id not in waiting:
        raise UserError(f"no order {order_id!r} waits for a signature{near_miss(order_id, waiting)}")
    return waiting[order_id]
