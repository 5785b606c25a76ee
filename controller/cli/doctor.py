"""`tieline doctor`: looks at everything that an installation needs, and says what to do about what is wrong.

It looks at Kafka and its topics, Redis and its settings, clocks, who leads, the policy and its lineage, keys,
versions, clients and dead letters. It changes nothing. The exit status is 0 when nothing is wrong, 1 when
something is, and 2 when something could not be looked at.
"""

import argparse
import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from controller.cli import diagnosis
from controller.cli.diagnosis import Check
from controller.cli.examine import Looked, look
from controller.cli.signer import Signing, signer_of
from controller.cli.terminal import screen
from controller.commands.policies import published_policy
from controller.core.policy.policy import version_of
from controller.policy_file import PolicyError, load_policy
from controller.process.clock import now_ms
from controller.process.contexts import OPERATOR_KEY_FILE
from controller.process.errors import UserError
from controller.process.settings import KAFKA, REDIS, Settings, add_stack_arguments, place_from, read_settings
from controller.process.telemetry import quiet
from controller.routes.record import RoutesRecord

LEVELS = {
    "well": ("ok", "green"),
    "careful": ("careful", "yellow"),
    "wrong": ("WRONG", "bold red"),
    "unknown": ("UNKNOWN", "bold red"),
}


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        "doctor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--policy", metavar="FILE", help="also check this policy file (else TIELINE_POLICY)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    add_stack_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """0: nothing is wrong. 1: something is. 2: something could not be looked at."""
    settings = read_settings(args, os.environ, needs=(KAFKA, REDIS))
    quiet()
    looked = asyncio.run(look(settings))
    key_file = place_from(args, os.environ).environment.get(OPERATOR_KEY_FILE, "").strip()
    checks = tuple(checks_of(looked, settings, key_file))
    if args.json:
        print(msgspec.json.encode({"context": settings.context, "checks": checks}).decode())
    else:
        draw(checks, settings.context, screen())
    return diagnosis.exit_status(checks)


def checks_of(looked: Looked, settings: Settings, key_file: str) -> Iterator[Check]:
    """Every check, by subject in a fixed order, what could not be looked at first."""
    yield from looked.failures
    if looked.cluster is not None:
        yield from diagnosis.of_cluster(looked.cluster)
    if looked.redis is not None:
        yield from diagnosis.of_redis(looked.redis)
    yield from diagnosis.of_clocks(looked.status, looked.redis)
    if (status := looked.status) is not None:
        yield from diagnosis.of_leading(status)
        own = version("tieline-controller")
        yield from diagnosis.of_versions(status, own, looked.client_versions or {})
        yield from diagnosis.of_evidence(status)
    if (record := looked.record) is not None:
        policy = published_policy(record, unsigned=record.unsigned_commands).policy
        own_version, mistake = _own_policy(settings)
        yield from diagnosis.of_policy(record.policy_version, own_version, mistake)
        yield from diagnosis.of_lineage(record.generation, record.published_ms, looked.redis, now_ms())
        own_key = _own_key(record, settings, key_file)
        yield from diagnosis.of_keys(policy, unsigned=record.unsigned_commands, own_key=own_key)


def draw(checks: tuple[Check, ...], context: str, console: Console) -> None:
    """One line for each check, the remedy of what is not well below it, and a last line that sums up."""
    if context:
        console.print(Text(context))
    width = max((len(check.subject) for check in checks), default=0)
    for check in checks:
        word, style = LEVELS[check.level]
        console.print(
            Text.assemble((f"{word:8}", style), f"{check.subject:{width}}  {check.words}"), soft_wrap=True
        )
        if check.remedy:
            console.print(Text(f"{'':8}{'':{width}}  -> {check.remedy}", style="cyan"), soft_wrap=True)
    counts: Counter[str] = Counter(check.level for check in checks)
    parts = [f"{counts[level]} {word}" for level, (word, _) in LEVELS.items() if counts[level]]
    console.print(Text(", ".join(parts)))


def _own_policy(settings: Settings) -> tuple[str, str]:
    """The version of the policy file that was named, empty without one, and what is wrong with the file."""
    if settings.policy is None:
        return "", ""
    try:
        return version_of(load_policy(settings.policy)), ""
    except (PolicyError, OSError) as error:
        return "", " ".join(str(error).split())


def _own_key(record: RoutesRecord, settings: Settings, key_file: str) -> str:
    """Why the key that was named can't sign orders; empty if it can, or if none was named."""
    if not key_file:
        return ""
    try:
        signer_of(Signing(Path(key_file)), record, settings.namespace)
    except UserError as error:
        return str(error)
    return ""
