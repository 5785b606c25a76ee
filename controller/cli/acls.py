"""`tieline acls`: prints the rights that each program needs at Kafka and Redis, and no others.

`tieline acls kafka > acls.sh` prints commands for Kafka's own kafka-acls.sh, which finds the servers in
BOOTSTRAP and its settings in the file COMMAND_CONFIG. `tieline acls redis` prints commands for redis-cli;
give each user a password with `ACL SETUSER NAME '#SHA256'`, and keep them with `ACL SAVE`. It only prints.
"""

import argparse
import os
import shlex
from typing import Any

import msgspec

from controller.cli.access_rules import ROLES, kafka_rights, redis_rules
from controller.process.errors import UserError
from controller.process.settings import add_stack_arguments, read_settings

SYSTEMS = ("kafka", "redis")
_HEAD = {
    "kafka": "kafka-acls.sh --bootstrap-server $BOOTSTRAP --command-config $COMMAND_CONFIG",
    "redis": "ACL SETUSER",
}


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser: argparse.ArgumentParser = subparsers.add_parser("acls", description=__doc__)
    parser.add_argument("system", choices=SYSTEMS, metavar="SYSTEM", help="kafka or redis")
    parser.add_argument(
        "--role",
        action="append",
        choices=ROLES,
        help=f"only this role, of {', '.join(ROLES)}; may be given more than once",
    )
    parser.add_argument(
        "--user",
        action="append",
        default=[],
        metavar="ROLE=NAME",
        help="the user of a role, by default NAMESPACE-ROLE; with client certificates such as client=CN=app",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    add_stack_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Always 0. Raises ``UserError``."""
    namespace = read_settings(args, os.environ, needs=()).namespace
    users = {role: f"{namespace}-{role.replace('_', '-')}" for role in ROLES} | _users(args.user)
    lines = {role: _lines(args.system, role, users[role], namespace) for role in args.role or ROLES}
    if args.json:
        print(msgspec.json.encode(lines).decode())
        return 0
    for role, commands in lines.items():
        if commands:
            print("\n".join((f"# {role}", *commands)))
    return 0


def _lines(system: str, role: str, user: str, namespace: str) -> list[str]:
    if system == "redis":
        rules = redis_rules(role, namespace)
        return [f"{_HEAD[system]} {user} {' '.join(rules)}"] if rules else []
    principal = shlex.quote(f"User:{user}")
    return [
        f"{_HEAD[system]} --add --allow-principal {principal} {right.flags}"
        for right in kafka_rights(role, namespace)
    ]


def _users(texts: list[str]) -> dict[str, str]:
    users = {}
    for text in texts:
        role, _, name = text.partition("=")
        if role not in ROLES or not name:
            raise UserError(f"--user {text!r}: give ROLE=NAME, where ROLE is one of {', '.join(ROLES)}")
        users[role] = name
    return users
