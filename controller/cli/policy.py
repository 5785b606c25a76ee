"""`tieline policy`: checks, shows and changes the policy that controllers have in force.

`check` and `init` need nothing but files. `show` and `history` read Kafka. `diff` says what another policy
would change, `apply` puts it in force by one record that every controller follows, without a restart, and
`rollback` applies an earlier policy again.
"""

import argparse
import asyncio
import os
from collections.abc import Coroutine
from typing import Any

from controller.cli.terminal import instant_ms, name_context
from controller.process.clock import now_ms
from controller.process.settings import KAFKA, Settings, add_stack_arguments, read_settings
from controller.process.telemetry import quiet

VERSION_HELP = "its number, or the first digits of its version, as `history` lists them"


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand and its own."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "policy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    _add_file_verbs(verbs)
    show = verbs.add_parser("show", help="print the policy in force, or an earlier one, as YAML")
    show.add_argument("version", nargs="?", metavar="VERSION", help=VERSION_HELP)
    history = verbs.add_parser("history", help="list the policies of the last 31 days: when, who, why")
    diff = verbs.add_parser("diff", help="say what the policy in a file would change, and change nothing")
    apply = verbs.add_parser("apply", help="put the policy in a file in force, without a restart")
    rollback = verbs.add_parser("rollback", help="put an earlier policy in force again")
    for verb in (diff, apply):
        verb.add_argument("file", metavar="FILE")
    rollback.add_argument("version", metavar="VERSION", help=VERSION_HELP)
    diff.add_argument(
        "--since", metavar="TIME", help="also decide again what was decided since then, e.g. 2h, or RFC 3339"
    )
    for verb in (apply, rollback):
        _add_apply_arguments(verb)
    for verb in (show, history, diff, apply, rollback):
        verb.add_argument("--json", action="store_true", help="one JSON object instead of text")
        add_stack_arguments(verb)


def _add_apply_arguments(verb: argparse.ArgumentParser) -> None:
    from controller.cli.agreement import add_consent_arguments
    from controller.cli.signer import add_key_argument

    verb.add_argument("--reason", required=True, help="why; it is recorded with the policy")
    verb.add_argument("--actor", help="who changes it (default: whose key signs it; unsigned: your login)")
    add_key_argument(verb)
    verb.add_argument("--within", default="15s", metavar="TIME", help="to wait for the leader's answer (15s)")
    add_consent_arguments(verb)


def _add_file_verbs(verbs: Any) -> None:
    check = verbs.add_parser("check", help="name every mistake in policy files; needs no Kafka")
    check.add_argument("file", nargs="+", metavar="FILE")
    check.add_argument("--json", action="store_true", help="one JSON object instead of text")
    init = verbs.add_parser("init", help="print a commented policy for a small company, to begin with")
    init.add_argument("file", nargs="?", metavar="FILE", help="write it into this new file instead")


def run(args: argparse.Namespace) -> int:
    """0: it was done. 1: a file has mistakes, or a policy is not in force as it should be."""
    quiet()
    if args.verb in ("check", "init"):
        from controller.cli import policy_files

        if args.verb == "init":
            return policy_files.init(args.file)
        return policy_files.check(args.file, as_json=args.json)
    return asyncio.run(_asked(args, read_settings(args, os.environ, needs=(KAFKA,))))


def _asked(args: argparse.Namespace, settings: Settings) -> Coroutine[Any, Any, int]:
    """What is to be done in Kafka. Everything that was typed is read and checked before."""
    from controller.cli import policy_log

    if args.verb == "show":
        return policy_log.show(settings, args.version, as_json=args.json)
    if args.verb == "history":
        return policy_log.list_history(settings, as_json=args.json)
    from controller.cli import policy_apply, policy_files

    if args.verb in ("apply", "rollback"):
        name_context(settings)
    if args.verb == "rollback":
        return policy_apply.roll_back(settings, args.version, policy_apply.choices_of(args))
    policy = policy_files.policy_in(args.file)
    if args.verb == "diff":
        return policy_apply.diff(settings, policy, _since_ms(args.since), as_json=args.json)
    return policy_apply.apply(settings, policy, policy_apply.choices_of(args))


def _since_ms(text: str | None) -> int | None:
    """``2h``, like ``-2h``, or an instant. Raises ``UserError``."""
    if text is None:
        return None
    typed = text.strip()
    return instant_ms(
        f"-{typed}" if typed[:1].isdigit() and typed[-1:] in "smhd" else typed, now_ms(), "--since"
    )
