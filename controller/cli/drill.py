"""`tieline drill azure --for 10m`: practises the loss of a provider or a region, and measures the recovery.

A drill empties its pools as an evacuation does, within the same safety rules. The leader begins it only in a
quiet hour and only where the others have room, ends it when its time is over or at the first sign of harm,
and measures how long it took until clients had left the pools. It goes on without this terminal;
`tieline undrain SCOPE` ends it early. `tieline drill list` and `tieline drill show ID` say what came of
drills. `--plan FILE` goes through several drills, waits and approvals; `--schedule CRON` repeats one.

Exit status: 0 it began (with --wait: it succeeded). 1 it was not agreed to or refused. 3 it was not over in
the time that --wait gave it. 4 another person must sign it. 5 it failed. 6 it was interrupted. 7 it did not
begin: the capacity check failed, or it is no quiet hour.
"""

import argparse
import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec

from controller.cli.agreement import add_consent_arguments
from controller.cli.arguments import Arguments
from controller.cli.order_arguments import WITHIN, choices_of
from controller.cli.order_report import Choices
from controller.cli.replay import add_range_arguments, range_of
from controller.cli.signer import add_key_argument
from controller.cli.terminal import duration_ms, name_context
from controller.process.errors import UserError
from controller.process.settings import KAFKA, Settings, add_stack_arguments, read_settings
from controller.process.telemetry import quiet

RETURN_WITHIN_S = 1_200.0  # after its time: the leader measures the return for 15 minutes


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser: Arguments = subparsers.add_parser(
        "drill", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="SCOPE",
        help="PROVIDER, PROVIDER/REGION or a whole pool name; or `list`, or `show ID`",
    )
    parser.add_argument(
        "--for", dest="duration", metavar="TIME", help="how long the pools stay empty: 10m, 1h"
    )
    parser.add_argument("--reason", default="", help="why; it is recorded with the drill")
    parser.add_argument("--plan", type=Path, metavar="FILE", help="go through the steps of a plan in YAML")
    parser.add_argument(
        "--schedule",
        metavar="CRON",
        help="begin the drill, or the plan, whenever it is time, until a signal ends this: five fields in "
        "UTC, such as '0 10 * * 3'",
    )
    parser.add_argument(
        "--despite-alarms", action="store_true", help="begin although alarms stand or an overlay is in force"
    )
    parser.add_argument("--wait", action="store_true", help="follow the drill until its load is back")
    parser.add_argument("--within", metavar="TIME", help=f"for how long to wait for an answer ({WITHIN['']})")
    parser.add_argument("--actor", help="who gives the order (default: whose key signs it)")
    add_key_argument(parser)
    add_consent_arguments(parser)
    add_range_arguments(parser, "-90d")
    parser.add_argument("--json", action="store_true", help="one JSON object with what came of it")
    add_stack_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """The exit status, as the module says."""
    words: list[str] = args.words
    if words and words[0] in ("list", "show"):
        return _results(args, words)
    if args.plan is None and len(words) != 1:
        raise UserError("give one SCOPE, such as `tieline drill azure --for 10m`, or `list`, or `show ID`")
    if args.plan is not None and words:
        raise UserError(f"--plan names the drills itself: leave {' '.join(words)!r} out")
    if not args.reason.strip():
        raise UserError("--reason must not be empty")
    if args.schedule and (args.json or args.dry_run or args.wait):
        raise UserError("--schedule waits by itself and prints lines: leave --json, --dry-run and --wait out")
    settings = read_settings(args, os.environ, needs=(KAFKA,))
    name_context(settings)
    quiet()
    choices = choices_of(args, "")
    if args.schedule:
        from controller.cli.drill_schedule import keep_schedule, schedule_of

        asyncio.run(
            keep_schedule(schedule_of(args.schedule), lambda: _once(args, settings, choices, wait=True))
        )
        return 0
    return asyncio.run(_once(args, settings, choices, wait=args.wait))


async def _once(args: argparse.Namespace, settings: Settings, choices: Choices, *, wait: bool) -> int:
    """One drill or one plan, and its exit status."""
    from controller.cli.drill_run import DrillRequest, run_drill

    if args.plan is not None:
        from controller.cli.drill_plan import PlanChoices, read_plan, run_plan

        return await run_plan(
            read_plan(args.plan),
            settings,
            PlanChoices(args.reason, choices, despite_alarms=args.despite_alarms, actor=args.actor),
        )
    if args.duration is None:
        raise UserError("give --for TIME: for how long the pools are to stay empty")
    length_ms = duration_ms(args.duration)
    request = DrillRequest(
        args.words[0],
        args.reason,
        length_ms,
        wait_s=length_ms / 1_000 + RETURN_WITHIN_S if wait else 0.0,
        despite_alarms=args.despite_alarms,
        actor=args.actor,
    )
    report = await run_drill(request, settings, choices)
    if choices.as_json:
        print(msgspec.json.encode(report).decode())
    return report.exit_status


def _results(args: argparse.Namespace, words: list[str]) -> int:
    from controller.cli.drill_results import print_list, print_one, read_drills

    if words[0] == "show" and len(words) != 2:
        raise UserError("give the id of one drill, as `tieline drill list` shows it")
    if words[0] == "list" and len(words) != 1:
        raise UserError("`tieline drill list` takes no names; `tieline drill show ID` shows one drill")
    from_ms, to_ms = range_of(args)
    settings = read_settings(args, os.environ, needs=(KAFKA,))
    quiet()
    rows = asyncio.run(read_drills(settings, from_ms, to_ms))
    if words[0] == "show":
        print_one(rows, words[1], as_json=args.json)
    else:
        print_list(rows, as_json=args.json)
    return 0
