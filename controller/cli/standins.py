"""`tieline standins`: stand-ins for providers, for a first try."""

import argparse
from typing import Any

from controller.standins import command

DESCRIPTION = "Runs HTTP servers that answer as providers do, with capacity limits and faults, until ^C."


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        "standins", help="stand-ins for providers, for a first try", description=DESCRIPTION
    )
    command.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs until told to end."""
    return command.run(args)
