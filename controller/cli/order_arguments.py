"""What all commands that give an order share: its arguments, what was chosen by them, its id, and the check
of the order before it is sent.
"""

import argparse
import uuid

import msgspec

from controller.cli.agreement import add_consent_arguments, consent_of
from controller.cli.arguments import Arguments
from controller.cli.order_report import Choices, WaitFor
from controller.cli.signer import add_key_argument, signing_of
from controller.cli.terminal import duration_ms, invalid_field
from controller.process.errors import UserError
from controller.process.settings import add_stack_arguments
from tieline.events import Command
from tieline.misfits import misfit

WITHIN: dict[WaitFor, str] = {"": "15s", "clients": "1m", "idle": "10m"}


def add_order_arguments(parser: Arguments) -> None:
    """Adds what every order takes beside its subject, reason and actor; ``choices_of`` reads it."""
    add_key_argument(parser)
    _add_wait_arguments(parser)
    add_consent_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object with what came of it")
    add_stack_arguments(parser)


def _add_wait_arguments(parser: Arguments) -> None:
    """Adds ``--wait`` and ``--within``."""
    parser.bare_values["--wait"] = "clients"
    parser.add_argument(
        "--wait",
        choices=("clients", "idle"),
        default="",
        help="also wait until 99 %% of the reporting clients use the table; --wait=idle: and until nothing "
        "is in flight any more at the pools that the order empties",
    )
    limits = ", ".join(f"{limit}{f' with --wait={what}' if what else ''}" for what, limit in WITHIN.items())
    parser.add_argument("--within", metavar="TIME", help=f"for how long to wait at most ({limits})")


def choices_of(args: argparse.Namespace, wait: WaitFor) -> Choices:
    """How the order is to be given. Raises ``UserError`` for a duration that is none."""
    return Choices(
        consent=consent_of(args),
        dry_run=args.dry_run,
        as_json=args.json,
        wait=wait,
        within_s=duration_ms(args.within or WITHIN[wait], "--within") / 1_000,
        signing=signing_of(args),
    )


def new_order_id() -> str:
    """An id that no other order has."""
    return f"cmd-{uuid.uuid4().hex[:16]}"


def checked_order(command: Command) -> Command:
    """The order, if it is as the contract says. Raises ``UserError`` that names the field."""
    try:
        command = msgspec.convert(msgspec.to_builtins(command), Command)
    except msgspec.ValidationError as error:
        raise UserError(invalid_field(error)) from None
    if fault := misfit(command):
        raise UserError(fault)
    return command
