"""`tieline keys`: operators' keys. `new` makes one, `list` shows who may give which orders, and `check` says
whether a key may give an order.

A private key stays in its file, which only its owner may read. What goes into the policy is the public key.
"""

import argparse
import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from rich.text import Text

from controller.cli.signer import add_key_argument, signing_of
from controller.cli.tables import fitted_table
from controller.cli.terminal import name_context, screen
from controller.core.policy.check import near_miss
from controller.core.policy.operators import GRANTABLE, Operator, OperatorId, approvals_needed
from controller.core.policy.policy import Policy, decode_policy
from controller.leading.routes_reader import RoutesReader
from controller.policy_file import load_policy
from controller.process.contexts import OPERATOR_KEY_FILE
from controller.process.errors import UserError
from controller.process.private_key import read_private_key, write_new_private_key
from controller.process.settings import KAFKA, add_stack_arguments, read_settings
from controller.process.telemetry import quiet
from tieline.order_signing import decode_public_key, encode_public_key, key_name

EXIT_MAY, EXIT_MAY_NOT = 0, 1


class NewKey(Struct, frozen=True):
    """What `keys new --json` prints: the lines for the policy are made of it. Nothing of it is secret."""

    id: str
    public_key: str
    key: str
    file: str


class OperatorRow(Struct, frozen=True):
    """One operator: ``keys`` are the names of the public keys."""

    id: str
    keys: tuple[str, ...]
    may: tuple[str, ...]


class KeyCheck(Struct, frozen=True):
    """Whether the operator who has this key may give an order, and how many people must sign it."""

    operator: str
    verb: str
    scope: str
    allowed: bool
    approvals: int


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand and its own."""
    parser: argparse.ArgumentParser = subparsers.add_parser("keys", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    new = verbs.add_parser("new", help="make a key, and print the lines for the policy")
    new.add_argument("--id", required=True, metavar="NAME", help="the operator's id, such as kim")
    new.add_argument("--out", type=Path, required=True, metavar="FILE", help="the new file of the key")
    shown = verbs.add_parser("list", help="show the operators of the policy in force")
    check = verbs.add_parser("check", help="say whether a key may give an order")
    check.add_argument("order", metavar="VERB", help="such as drain; policy for changes of the policy")
    check.add_argument("scope", metavar="SCOPE", help="such as azure/eastus2; * for the whole table")
    add_key_argument(check)
    for verb in (shown, check):
        verb.add_argument("--policy", metavar="FILE", help="ask this policy instead of the one in force")
        add_stack_arguments(verb)
    for verb in (new, shown, check):
        verb.add_argument("--json", action="store_true", help="one JSON object instead of text")


def run(args: argparse.Namespace) -> int:
    """0: it was made or shown, or the key may give the order. 1: it may not. Raises ``UserError``."""
    quiet()
    if args.verb == "new":
        return _new(args)
    policy = _policy(args)
    return _list(args, policy) if args.verb == "list" else _check(args, policy)


def _new(args: argparse.Namespace) -> int:
    try:
        operator_id = msgspec.convert(args.id, OperatorId)
    except msgspec.ValidationError:
        raise UserError(f"--id {args.id!r}: give a name of letters, digits and . _ + : @ -") from None
    public = write_new_private_key(args.out).public_key().public_bytes_raw()
    line = encode_public_key(public)
    if args.json:
        row = NewKey(operator_id, line, key_name(public), file=str(args.out))
        print(msgspec.json.encode(row).decode())
        return EXIT_MAY
    print(
        f"# The private key is in {args.out}: keep it to yourself. This goes into the policy, with what\n"
        f"# {operator_id} may do in the place of *:\n"
        "operators:\n"
        f'  - {{id: {operator_id}, public_keys: [{line}], may: ["*"]}}'
    )
    return EXIT_MAY


def _list(args: argparse.Namespace, policy: Policy) -> int:
    rows = [OperatorRow(item.id, _key_names(item), item.may) for item in policy.operators]
    if args.json:
        print(msgspec.json.encode({"operators": rows, "approvals": policy.approvals}).decode())
        return EXIT_MAY
    if not rows:
        print("the policy names no operators: orders are taken only in the unsigned development mode")
        return EXIT_MAY
    console = screen()
    cells = [tuple(map(Text, (row.id, ", ".join(row.keys), ", ".join(row.may)))) for row in rows]
    console.print(fitted_table("operators", ("id", "keys", "may"), cells, console.width))
    for rule in policy.approvals:
        print(f"{rule.approvals} people must sign {', '.join(rule.orders)}")
    return EXIT_MAY


def _check(args: argparse.Namespace, policy: Policy) -> int:
    if args.order not in GRANTABLE:
        raise UserError(f"there is no order {args.order!r}{near_miss(args.order, GRANTABLE)}")
    key_file = signing_of(args).key_file
    if key_file is None:
        raise UserError(f"which key? Give --key FILE, or set {OPERATOR_KEY_FILE}")
    name = key_name(read_private_key(key_file).public_key().public_bytes_raw())
    operator = next((item for item in policy.operators if name in _key_names(item)), None)
    if operator is None:
        raise UserError(f"the policy names no operator with the key in {key_file} ({name})")
    answer = KeyCheck(
        operator.id,
        args.order,
        args.scope,
        allowed=operator.is_allowed(args.order, args.scope),
        approvals=approvals_needed(policy.approvals, args.order, args.scope),
    )
    print(msgspec.json.encode(answer).decode() if args.json else _in_words(answer, operator))
    return EXIT_MAY if answer.allowed else EXIT_MAY_NOT


def _in_words(answer: KeyCheck, operator: Operator) -> str:
    order = f"{answer.verb}:{answer.scope}"
    if not answer.allowed:
        return f"{operator.id} may not give {order}: the policy allows {', '.join(operator.may) or 'nothing'}"
    more = f"; {answer.approvals} people must sign it" if answer.approvals > 1 else ""
    return f"{operator.id} may give {order}{more}"


def _key_names(operator: Operator) -> tuple[str, ...]:
    return tuple(key_name(decode_public_key(line)) for line in operator.public_keys)


def _policy(args: argparse.Namespace) -> Policy:
    if args.policy:
        return load_policy(args.policy)
    settings = read_settings(args, os.environ, needs=(KAFKA,))
    name_context(settings)

    async def in_force() -> Policy:
        async with RoutesReader(settings) as routes:
            record = routes.newest()
        if record is None:
            raise UserError("no controller has published a policy yet: give --policy FILE")
        return decode_policy(record.policy)

    return asyncio.run(in_force())
