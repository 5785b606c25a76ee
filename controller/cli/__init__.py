"""The command `tieline`. Each subcommand lives in a module of its own, loaded only when it is asked for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import NamedTuple

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class Command(NamedTuple):
    """One subcommand: the module with `add_parser(subparsers)` and `run(args) -> int`, and a line of help."""

    module: str
    help: str


COMMANDS = {
    "controller": Command("controller.cli.controller", "take events in, decide, publish route tables"),
    "web": Command("controller.cli.web", "route tables and reports over HTTP"),
    "status": Command("controller.cli.status", "providers and pools: state, capacity, load, weight, why"),
    "explain": Command("controller.cli.explain", "why a route or a pool has what it has"),
    "whatif": Command("controller.cli.whatif", "what a loss or growth would leave, changing nothing"),
    "replay": Command("controller.cli.replay", "decide recorded decisions again, or by another policy"),
    "spend": Command("controller.cli.spend", "commitments: used, projected, and what would be left unused"),
    "drain": Command("controller.cli.orders", "take a pool, region or provider out of routing for a while"),
    "undrain": Command("controller.cli.orders", "take a drain back"),
    "freeze": Command("controller.cli.orders", "no moves by choice, of the whole table or of a scope"),
    "unfreeze": Command("controller.cli.orders", "take a freeze back"),
    "override": Command("controller.cli.orders", "lift one guard for a while"),
    "restore": Command("controller.cli.orders", "take an override back"),
    "verdict": Command("controller.cli.orders", "say yourself how a pool, region or provider is"),
    "retract": Command("controller.cli.orders", "take a verdict back"),
    "approve": Command("controller.cli.orders", "let a provider in mode recommend be acted on"),
    "revoke": Command("controller.cli.orders", "take an approval back"),
    "failback": Command("controller.cli.orders", "let pools return whose failback is manual"),
    "overlay": Command("controller.cli.overlay", "exclude pools at every client at once, by signature"),
    "emit": Command("controller.cli.emit", "send a health or capacity event"),
    "probe": Command("controller.cli.probe", "probe every pool and report its health"),
}
GROUP = "tieline.commands"  # entry points: each a mapping from the names of commands to `Command`
LAB_COMMANDS = ("demo", "stack", "standins")  # the distribution tieline-lab adds them by its entry point
NO_LAB = (
    "this command is part of the distribution tieline-lab, which is not installed: "
    "install it from the directory lab of a checkout of Tieline (pip install -e lab)"
)
EPILOG = """\
Kafka and Redis are found by --kafka and --redis, or by TIELINE_KAFKA and TIELINE_REDIS{stack}.
`tieline COMMAND --help` says more about one command."""
EPILOG_STACK = "; `tieline stack` runs\nboth here and prints the settings"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand and returns its status. A user's mistake is one sentence and status 2."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    commands = COMMANDS if given and given[0] in COMMANDS else {**COMMANDS, **_added()}
    if given and given[0] in LAB_COMMANDS and given[0] not in commands:
        print(f"tieline {given[0]}: {NO_LAB}", file=sys.stderr)
        return EXIT_USAGE
    chosen = given[0] if given and given[0] in commands else None
    args = _parser(commands, chosen).parse_args(given)
    run = import_module(commands[args.command].module).run
    try:
        return int(run(args))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # whoever read the output has gone
        return EXIT_INTERRUPTED
    except Exception as error:
        sentence = import_module("controller.cli.mistakes").sentence_of(error)
        if sentence is None:
            raise
        print(f"tieline {args.command}: {sentence}", file=sys.stderr)
        return EXIT_USAGE


def _added() -> dict[str, Command]:
    """The commands that other installed distributions add."""
    return {name: command for found in entry_points(group=GROUP) for name, command in found.load().items()}


def _parser(commands: Mapping[str, Command], chosen: str | None) -> argparse.ArgumentParser:
    """The parser: complete for the chosen subcommand, a line of help for every other."""
    parser = argparse.ArgumentParser(
        prog="tieline",
        description="Keeps AI inference requests served when a pool, a region or a whole provider fails.",
        epilog=EPILOG.format(stack=EPILOG_STACK if "stack" in commands else ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    home = commands[chosen].module if chosen else ""
    for name, command in commands.items():
        if command.module != home:
            subparsers.add_parser(name, help=command.help)
        elif name == chosen:
            import_module(home).add_parser(subparsers)
    return parser
