"""How a command signs what it sends: with an operator's key file, as the policy in force asks for it."""

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from msgspec.structs import replace

from controller.commands.authority import OrderRules
from controller.commands.in_force import rules_under
from controller.commands.policies import published_policy
from controller.process.contexts import OPERATOR_KEY_FILE
from controller.process.errors import UserError
from controller.process.private_key import read_private_key
from controller.process.settings import UNSIGNED_NOTICE, place_from
from controller.routes.record import RoutesRecord
from tieline.events import Command, PolicyChange
from tieline.order_signing import key_name, sign_order

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

Order = TypeVar("Order", bound=Command | PolicyChange)

NO_OPERATORS = (
    "the controllers take no orders, because the policy names no operators whose signature could be checked: "
    "add `operators` to it (`tieline keys new` prints the lines), or run the controllers with "
    "--unsigned-dev-mode, for development only"
)
NO_KEY = f"every order must be signed: give --key FILE, or set {OPERATOR_KEY_FILE}"


class Signing(NamedTuple):
    """What was typed: the file of the private key, and who gives the order; None for what was not."""

    key_file: Path | None = None
    actor: str | None = None


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs orders as ``operator``. Without a ``private`` key it leaves them unsigned, for the development
    mode."""

    rules: OrderRules
    operator: str = ""
    private: "Ed25519PrivateKey | None" = None

    @property
    def notice(self) -> str:
        """What goes before every line that says what was ordered."""
        return "" if self.private is not None else f"{UNSIGNED_NOTICE}: "

    def signed(self, command: Order) -> Order:
        """The order as it is sent. Raises ``UserError`` for one that the policy does not let this operator
        give."""
        if self.private is None:
            return command
        order = replace(command, actor=self.operator)
        if fault := self.rules.not_allowed(self.operator, order):
            raise UserError(fault)
        return sign_order(order, self.private, namespace=self.rules.namespace, lineage=self.rules.lineage)


def add_key_argument(parser: argparse.ArgumentParser) -> None:
    """Adds the flag of every command that signs."""
    parser.add_argument(
        "--key", type=Path, metavar="FILE", help=f"your private key, to sign with (else {OPERATOR_KEY_FILE})"
    )


def signing_of(args: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> Signing:
    """What was typed, else what the environment or the context says."""
    name = place_from(args, environment).environment.get(OPERATOR_KEY_FILE, "").strip()
    path = args.key or (Path(name) if name else None)
    return Signing(path, getattr(args, "actor", None))


def signer_of(signing: Signing, record: RoutesRecord, namespace: str) -> Signer:
    """Who signs, by the policy in force. Raises ``UserError`` where it takes no order of theirs."""
    rules = rules_under(published_policy(record, unsigned=record.unsigned_commands), namespace)
    if not rules.operators:
        if not rules.unsigned_allowed:
            raise UserError(NO_OPERATORS)
        return Signer(rules)
    if signing.key_file is None:
        raise UserError(NO_KEY)
    private = read_private_key(signing.key_file)
    operator = operator_of(key_name(private.public_key().public_bytes_raw()), rules)
    if operator is None:
        raise UserError(f"the policy in force names no operator with the key in {signing.key_file}")
    if signing.actor not in (None, operator):
        raise UserError(f"--actor {signing.actor}: the key in {signing.key_file} is {operator}'s")
    return Signer(rules, operator, private)


def operator_of(name: str, rules: OrderRules) -> str | None:
    """The operator who has the key with this name."""
    return next((operator for operator, keys in rules.keys.items() if name in keys), None)
