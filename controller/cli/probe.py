"""``tieline probe``: probes every pool of a policy until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from typing import Any

from controller.cli.arguments import EXIT_USAGE
from controller.core.policy.policy import Policy
from controller.probe.prober import planned
from controller.probe.region import Pace
from controller.probe.run import Choices, assigned, policy_in_force, run_probe
from controller.probe.targets import ProbeError
from controller.process import telemetry
from controller.process.errors import UserError
from controller.process.settings import (
    KAFKA,
    POLICY,
    add_monitor_argument,
    add_stack_arguments,
    read_settings,
)

INTERVAL_MIN_MS = 200
LONG_EVERY_MIN_MS = 1_000
TIMEOUT_MAX_MS = 60_000
DEFAULT = Pace()


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        "probe",
        description="Sends chat completions to every pool at an interval, tiny and long, as streams and "
        "whole, for each model, and reports what came of them. They cost no more than a budget; the interval "
        "grows where it must. See docs/probing.md. A pool's credential NAME is read from the variable "
        "TIELINE_CREDENTIAL_<NAME>, or from the file that TIELINE_CREDENTIAL_<NAME>_FILE names.",
    )
    parser.add_argument(
        "--policy",
        metavar="FILE",
        help=f"what to probe (else {POLICY}, else the policy in force, as it changes)",
    )
    add_monitor_argument(parser)
    add_stack_arguments(parser, follows_current=False)
    parser.add_argument("--source", help="registered source of kind probe (the policy's first)")
    parser.add_argument("--pool", action="append", default=[], help="only this pool; may be given again")
    parser.add_argument(
        "--interval-ms",
        type=int,
        default=DEFAULT.interval_ms,
        help=f"between two tiny probes of a pool ({DEFAULT.interval_ms})",
    )
    parser.add_argument(
        "--timeout-ms",
        type=int,
        default=DEFAULT.timeout_ms,
        help=f"for the first token ({DEFAULT.timeout_ms})",
    )
    parser.add_argument(
        "--long-every-ms",
        type=int,
        default=DEFAULT.long_every_ms,
        help=f"between two long probes of a pool ({DEFAULT.long_every_ms}); 0 for none",
    )
    parser.add_argument(
        "--budget",
        type=float,
        default=DEFAULT.budget_per_pool,
        metavar="MONEY",
        help="the most that the probes of one pool may cost in an hour, in the money of the policy's prices "
        f"({DEFAULT.budget_per_pool:.2f})",
    )
    parser.add_argument(
        "--costs",
        action="store_true",
        help="print what the probes of each region will cost, and probe nothing",
    )


def run(args: argparse.Namespace) -> int:
    """Returns 0 after SIGTERM or SIGINT, 2 when the input is wrong."""
    from controller.policy_file import PolicyError, load_policy

    if args.costs:
        telemetry.quiet()
    else:
        telemetry.configure()
    try:
        settings = read_settings(args, os.environ, needs=() if args.costs else (KAFKA,))
        choices = Choices(args.source, tuple(args.pool), _pace(args))
        policy = load_policy(settings.policy) if settings.policy else None
        if args.costs:
            return _print_costs(args, policy, choices)
        asyncio.run(run_probe(settings, policy, choices))
    except (ProbeError, PolicyError, UserError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    return 0


def _pace(args: argparse.Namespace) -> Pace:
    if args.interval_ms < INTERVAL_MIN_MS:
        raise ProbeError(f"--interval-ms must be at least {INTERVAL_MIN_MS}.")
    if not 0 < args.timeout_ms <= TIMEOUT_MAX_MS:
        raise ProbeError(f"--timeout-ms must be above 0 and at most {TIMEOUT_MAX_MS}.")
    if args.long_every_ms and args.long_every_ms < LONG_EVERY_MIN_MS:
        raise ProbeError(f"--long-every-ms must be 0 or at least {LONG_EVERY_MIN_MS}.")
    if not 0 < args.budget < float("inf"):
        raise ProbeError("--budget must be above 0.")
    return Pace(args.interval_ms, args.timeout_ms, args.long_every_ms, budget_per_pool=args.budget)


def _print_costs(args: argparse.Namespace, policy: Policy | None, choices: Choices) -> int:
    """A line for each region and one for all."""
    if policy is None:
        policy = asyncio.run(policy_in_force(read_settings(args, os.environ, needs=(KAFKA,))))
    assignment = assigned(policy, choices)
    spends = planned(assignment.probe_plan.targets, choices.pace, counts_tokens=assignment.counts_tokens)
    print(f"{'region':<32} {'pools':>5} {'every':>8} {'cost/h':>9} {'budget/h':>9}")
    for spend in spends:
        every = f"{spend.interval_ms / 1_000:.1f} s"
        print(
            f"{spend.region:<32} {spend.pools:>5} {every:>8} "
            f"{spend.cost_per_hour:>9.4f} {spend.budget_per_hour:>9.4f}"
        )
    cost, budget = (sum(getattr(s, name) for s in spends) for name in ("cost_per_hour", "budget_per_hour"))
    print(f"{'all':<32} {sum(spend.pools for spend in spends):>5} {'':>8} {cost:>9.4f} {budget:>9.4f}")
    return 0
