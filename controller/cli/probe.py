"""``tieline probe``: probes every pool of a policy until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import structlog

from controller.cli.arguments import EXIT_USAGE
from controller.probe.prober import Pace, Prober
from controller.probe.targets import ProbeError, plan, secret_files, source
from controller.process import clock, telemetry
from controller.process.errors import UserError
from controller.process.monitor import Vitals, labelled, monitored
from controller.process.settings import (
    KAFKA,
    POLICY,
    Settings,
    add_monitor_argument,
    add_stack_arguments,
    read_settings,
)
from tieline.credentials import Credentials
from tieline.producer import Producer, ProducerStatus

INTERVAL_MIN_MS = 200
TIMEOUT_MAX_MS = 60_000
_log = structlog.get_logger("tieline.probe")


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        "probe",
        description="Sends a request of one token to every pool at an interval and reports what came of it. "
        "A pool's credential NAME is read from the variable TIELINE_CREDENTIAL_<NAME>, or from the file that "
        "TIELINE_CREDENTIAL_<NAME>_FILE names.",
    )
    parser.add_argument("--policy", metavar="FILE", help=f"what to probe (else {POLICY})")
    add_monitor_argument(parser)
    add_stack_arguments(parser, follows_current=False)
    parser.add_argument("--source", help="registered source of kind probe (the policy's first)")
    parser.add_argument("--pool", action="append", default=[], help="only this pool; may be given again")
    parser.add_argument("--interval-ms", type=int, default=2_000, help="between two probes of a pool (2000)")
    parser.add_argument("--timeout-ms", type=int, default=3_000, help="for the first token (3000)")


def run(args: argparse.Namespace) -> int:
    """Returns 0 after SIGTERM or SIGINT, 2 when the input is wrong."""
    from controller.policy_file import PolicyError, load_policy

    telemetry.configure()
    try:
        settings = read_settings(args, os.environ, needs=(KAFKA, POLICY))
        pace = _pace(args)
        policy = load_policy(settings.policy or Path())
        credentials = Credentials(secret_files(policy, os.environ), clock.monotonic_ms, os.environ)
        probe_plan = plan(policy, credentials, args.pool)
        name = source(policy, args.source)
    except (ProbeError, PolicyError, UserError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    for pool, variable in sorted(probe_plan.without_secret.items()):
        _log.warning("pool is not probed: its secret is missing or unusable", pool=pool, variable=variable)
    producer = Producer(settings.kafka, source=name, prefix=settings.namespace)
    prober = Prober(
        probe_plan.targets, producer, pace, credentials=credentials, monotonic_ms=clock.monotonic_ms
    )
    _log.info("probing", pools=len(probe_plan.targets), interval_ms=pace.interval_ms, source=name)
    asyncio.run(_until_stopped(prober, producer, settings))
    return 0


def _pace(args: argparse.Namespace) -> Pace:
    if args.interval_ms < INTERVAL_MIN_MS:
        raise ProbeError(f"--interval-ms must be at least {INTERVAL_MIN_MS}.")
    if not 0 < args.timeout_ms <= TIMEOUT_MAX_MS:
        raise ProbeError(f"--timeout-ms must be above 0 and at most {TIMEOUT_MAX_MS}.")
    return Pace(args.interval_ms, args.timeout_ms)


async def _until_stopped(prober: Prober, producer: Producer, settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    running = asyncio.current_task()
    if running is None:
        raise RuntimeError("not inside a task")
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    async with producer, monitored(settings.monitor, lambda: _vitals(producer.status)):
        try:
            await prober.run()
        except asyncio.CancelledError:
            status = producer.status
            _log.info("stopped", delivered=status.delivered, dropped=status.dropped_expired)


def _vitals(status: ProducerStatus) -> Vitals:
    """A prober is well while it is connected and Kafka took its last report."""
    complaint = status.error or ("" if status.connected else "not connected to Kafka yet")
    reports = {
        "delivered": status.delivered,
        "expired": status.dropped_expired,
        "dropped": status.dropped_full,
        "failed": status.failed,
    }
    return Vitals(
        complaint,
        (labelled("reports", "Reports by what became of them", "what", values=reports, counter=True),),
    )
