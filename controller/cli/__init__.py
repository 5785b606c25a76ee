"""The command `tieline`: its subcommands, one module each, loaded only when they are asked for.

What goes in: arguments and the environment (``process.settings``). What comes out: text for people, or with
`--json` one JSON object, on standard output; errors and logs on standard error; and an exit status:

- 0: it was done. 1: it was not done or not confirmed, as the subcommand's help says (an order that no
  publication contains yet, a replay that differs). 2: the operator's mistake or an absent server, told in one
  sentence that names the place and the remedy. 3: it was done, but clients did not take it over in the time
  that `--wait` gave them. 130: interrupted. A traceback is a fault of this program.
- Reasons are sentences on a terminal (``core.model.words``) and codes in JSON, so that programs compare codes
  and people never need to know them.

There are three kinds of subcommands. `controller`, `web`, `gateway`, `envoy`, `probe`, `collect` and
`notify` run until a signal ends them. `status`, `explain`, `whatif`, `replay` and `spend` only read: they
take one snapshot of Kafka and Redis (``live``) or the recorded decisions, decide again on paper by the
planner's own code, and change nothing. `history` reads what was written when it happened. `drain`, `freeze`
and the other orders, `overlay` and `emit` write: each checks what it can before it sends, and says what
came of it.

A module has ``add_parser(subparsers)`` and ``run(args) -> int``. Other installed distributions add
subcommands by the entry point ``tieline.commands``. Rich draws tables; ``terminal`` has what subcommands
share.

Tests: tests/unit/controller/cli, tests/integration/test_cli.py, test_orders.py, test_replay.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import NamedTuple, NoReturn

from controller.cli.arguments import EXIT_USAGE, Arguments

EXIT_INTERRUPTED = 130


class Command(NamedTuple):
    """One subcommand: its module, and its line in `tieline --help`."""

    module: str
    help: str


COMMANDS = {
    "controller": Command("controller.cli.controller", "take events in, decide, and publish route tables"),
    "web": Command("controller.cli.web", "serve route tables and take reports over HTTP"),
    "gateway": Command("gateway.command", "serve OpenAI's API over HTTP, routed by the client library"),
    "status": Command(
        "controller.cli.status", "show providers and pools: state, capacity, load, weight, and why"
    ),
    "explain": Command("controller.cli.explain", "say why a route or a pool gets what it gets"),
    "whatif": Command("controller.cli.whatif", "say what a loss or growth would leave, and change nothing"),
    "replay": Command("controller.cli.replay", "decide recorded decisions again, or by another policy"),
    "history": Command("controller.cli.history", "say what happened between two instants: who, why, what"),
    "spend": Command("controller.cli.spend", "show commitments: used, projected, and what would stay unused"),
    "offers": Command("controller.cli.offers", "show requests for capacity, and answer them"),
    "drain": Command(
        "controller.cli.orders", "take a pool, a region or a provider out of routing for a while"
    ),
    "evacuate": Command(
        "controller.cli.orders", "empty a provider, a region or a pool as fast as others have room"
    ),
    "undrain": Command("controller.cli.orders", "take a drain, an evacuation or a drill back"),
    "drill": Command("controller.cli.drill", "practise a loss, and measure the recovery"),
    "failover": Command("controller.cli.orders", "move a workload to one pool, as far as that has room"),
    "pin": Command("controller.cli.orders", "let a workload use only this pool"),
    "unpin": Command("controller.cli.orders", "take a pin or a failover back"),
    "freeze": Command("controller.cli.orders", "stop moves by choice, in the whole table or in a scope"),
    "unfreeze": Command("controller.cli.orders", "take a freeze back"),
    "override": Command("controller.cli.orders", "lift one guard for a while"),
    "restore": Command("controller.cli.orders", "take an override back"),
    "verdict": Command("controller.cli.orders", "set the state of a pool, a region or a provider yourself"),
    "retract": Command("controller.cli.orders", "take a verdict back"),
    "approve": Command("controller.cli.orders", "let a provider in mode recommend be acted on"),
    "revoke": Command("controller.cli.orders", "take an approval back"),
    "mode": Command("controller.cli.orders", "let a provider be observed, recommended on or acted on"),
    "failback": Command("controller.cli.orders", "let pools return whose failback is manual"),
    "countersign": Command(
        "controller.cli.countersign", "agree, as a second person, to an order that waits for that"
    ),
    "keys": Command("controller.cli.keys", "make operators' keys, and say who may give which orders"),
    "acls": Command("controller.cli.acls", "print the rights that each program needs at Kafka and Redis"),
    "adopt-lineage": Command(
        "controller.cli.adopt_lineage", "go on with the tables of a new history of Kafka"
    ),
    "rebuild": Command("controller.cli.rebuild", "write into Redis what Kafka says"),
    "policy": Command("controller.cli.policy", "check, show and change the policy in force"),
    "overlay": Command(
        "controller.cli.overlay", "exclude pools at every client at once, by a signed overlay"
    ),
    "emit": Command("controller.cli.emit", "send health and capacity events, also from a pipe"),
    "notify": Command("controller.cli.notify", "tell Slack, PagerDuty, Alertmanager or a webhook"),
    "doctor": Command(
        "controller.cli.doctor", "look at all that is needed, and say how to mend what is wrong"
    ),
    "deadletter": Command(
        "controller.cli.deadletter", "look at records that could not be taken, and append them again"
    ),
    "probe": Command("controller.cli.probe", "probe every pool and report its health"),
    "collect": Command("controller.cli.collect", "read status pages and other sources, and report them"),
    "envoy": Command("controller.cli.envoy", "let Envoy route requests by the route table"),
    "picker": Command("picker.command", "pick pools for Envoy, as an endpoint picker over ext_proc"),
    "contract": Command(
        "controller.cli.contract", "print the contract with producers, and check records against it"
    ),
    "context": Command("controller.cli.context", "show and choose the installation that commands speak to"),
    "completion": Command("controller.cli.completion", "print the completion script of a shell"),
    "man": Command("controller.cli.man", "print the manual page"),
}
GROUP = "tieline.commands"  # entry points: each is a mapping from names to `Command`
LAB_COMMANDS = ("demo", "stack", "standins")  # the distribution tieline-lab adds them by its entry point
NO_LAB = (
    "this command is part of the distribution tieline-lab, which is not installed: "
    "install it from the directory lab of a checkout of Tieline (pip install -e lab)"
)
DESCRIPTION = "Keeps AI inference requests served when a pool, a region or a whole provider fails."
EPILOG = """\
Kafka and Redis are found by --kafka and --redis, by TIELINE_KAFKA and TIELINE_REDIS, or by a context
(`tieline context --help`){stack}.
`tieline COMMAND --help` says more about one command."""
EPILOG_STACK = "; `tieline stack` runs both here and prints the settings"


class _ShowVersion(argparse.Action):
    """Prints the version and ends the process; whoever does not ask for it need not wait for it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> NoReturn:
        from importlib.metadata import version

        print(f"tieline {version('tieline-controller')}")
        parser.exit()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand and returns its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    commands = COMMANDS if words and words[0] in COMMANDS else {**COMMANDS, **added_commands()}
    if words and words[0] in LAB_COMMANDS and words[0] not in commands:
        print(f"tieline {words[0]}: {NO_LAB}", file=sys.stderr)
        return EXIT_USAGE
    chosen = words[0] if words and words[0] in commands else None
    try:
        args = _parser(commands, chosen).parse_args(words)
        return int(import_module(commands[args.command].module).run(args))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # the reader of the output has gone
        return EXIT_INTERRUPTED
    except Exception as error:
        sentence = import_module("controller.cli.mistakes").sentence_of(error)
        if sentence is None:
            raise
        print(f"tieline {chosen}: {sentence}", file=sys.stderr)
        return EXIT_USAGE


def added_commands() -> dict[str, Command]:
    """The commands that other installed distributions add."""
    from importlib.metadata import entry_points  # most commands need none of it

    return {name: command for point in entry_points(group=GROUP) for name, command in point.load().items()}


def _parser(commands: Mapping[str, Command], chosen: str | None) -> argparse.ArgumentParser:
    """The parser: complete for the chosen subcommand, with one line of help for every other."""
    parser = Arguments(
        prog="tieline",
        description=DESCRIPTION,
        epilog=EPILOG.format(stack=EPILOG_STACK if "stack" in commands else ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version and exit")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    home = commands[chosen].module if chosen else ""
    for name, command in commands.items():
        if command.module != home:
            subparsers.add_parser(name, help=command.help)
        elif name == chosen:
            import_module(home).add_parser(subparsers)
    return parser
