"""What an order or another policy would change, told before it is sent, and the question if it is grave.

Two kinds of things are asked about. What a rule of ``FORCE_RULES`` protects is agreed to beforehand by
``--force RULE``, by name, so that nobody agrees to what they did not think of. ``--yes`` agrees beforehand to
whatever has no such name: that nobody can say what the order would shed, as the live tables can't be read.
"""

import asyncio
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from controller.core.inspect.consequence_words import summary
from controller.core.inspect.consequences import FORCE_RULES, Consequences
from controller.process.telemetry import without_controls


class Consent(NamedTuple):
    """What was agreed to on the command line."""

    yes: bool = False
    forced: frozenset[str] = frozenset()


def add_consent_arguments(parser: Any) -> None:
    """Adds ``--dry-run``, ``--force`` and ``--yes``."""
    parser.add_argument("--dry-run", action="store_true", help="say what it would change, and send nothing")
    rules = "; ".join(f"{name}: {text}" for name, text in FORCE_RULES.items())
    parser.add_argument(
        "--force",
        action="append",
        default=[],
        choices=tuple(FORCE_RULES),
        metavar="RULE",
        help=f"do it although this rule forbids it; may be given several times ({rules})",
    )
    parser.add_argument(
        "--yes", action="store_true", help="do it without a question where no rule of --force forbids it"
    )


def consent_of(args: Any) -> Consent:
    """What the arguments agree to."""
    return Consent(args.yes, frozenset(args.force))


def pending_rules(change: Consequences, consent: Consent) -> tuple[str, ...]:
    """The rules that forbid the change and that nobody has agreed to break, in the order of the list."""
    rules = {objection.rule for objection in change.objections} - consent.forced
    return tuple(rule for rule in FORCE_RULES if rule in rules)


async def is_agreed(about: str, change: Consequences | None, consent: Consent, *, may_shed: bool) -> bool:
    """Shows the summary, and whether it may be sent: nothing forbids it, or a person has agreed.

    ``change`` is None where it is not known; ``may_shed``: then it could be grave.
    """
    if change is None:
        remedy = "" if consent.yes or not may_shed else "--yes"
        sentences: Sequence[str] = ()
    else:
        rules = pending_rules(change, consent)
        remedy = " ".join(f"--force {rule}" for rule in rules)
        sentences = [item.sentence for item in change.objections if item.rule in rules]
        for line in summary(change):
            say(line)
    if not remedy:
        return True
    if sentences:
        say(f"{about}: {'; '.join(sentences)}")
    if not sys.stdin.isatty():
        say(f"nothing was sent: add {remedy} to do it all the same")
        return False
    reply = await asyncio.to_thread(input, "Do it all the same? [y/N] ")
    return reply.strip().lower() in ("y", "yes")


def say(text: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"{without_controls(text)}\n")
