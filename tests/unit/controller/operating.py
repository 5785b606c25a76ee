"""Operators with keys, for tests: who they are, a policy that names them, and orders that they sign."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from controller.commands.authority import OrderRules
from controller.core.policy.operators import ApprovalRule, Operator
from controller.core.policy.policy import Policy
from controller.policy_file import load_policy
from tests.places import EXAMPLE_POLICY
from tieline.events import Command, Verb
from tieline.order_signing import encode_public_key, fingerprint, sign_order

NOW_MS = 1_800_000_000_000
NAMESPACE = "tieline"
KEYS = {name: Ed25519PrivateKey.from_private_bytes(name.ljust(32).encode()) for name in ("kim", "lee", "max")}
STRANGER = Ed25519PrivateKey.from_private_bytes(b"stranger".ljust(32))
RIGHTS = {"kim": ("*",), "lee": ("drain:azure/*", "drain:gcp", "verdict:*"), "max": ("drain:*",)}


def public_line(name: str) -> str:
    """This operator's public key, as a policy names it."""
    return encode_public_key(KEYS[name].public_key().public_bytes_raw())


def signed_policy(*approvals: ApprovalRule, leave_out: tuple[str, ...] = ()) -> Policy:
    """The example's policy with kim, who may do everything, and with lee and max, who may do less."""
    operators = tuple(
        Operator(name, (public_line(name),), RIGHTS[name]) for name in KEYS if name not in leave_out
    )
    return replace(load_policy(EXAMPLE_POLICY), operators=operators, approvals=approvals)


def rules(*approvals: ApprovalRule, leave_out: tuple[str, ...] = ()) -> OrderRules:
    """The rules of that policy; the development mode is asked for too, and is not given."""
    policy = signed_policy(*approvals, leave_out=leave_out)
    return OrderRules.of(policy, unsigned=True, namespace=NAMESPACE)


def order(
    verb: Verb = "drain", scope: str = "azure/eastus2", actor: str = "kim", id: str = "a", at_ms: int = NOW_MS
) -> Command:
    """A drain for an hour, or another order; not signed yet."""
    lasts = None if verb in ("undrain", "countersign") else at_ms + 3_600_000
    return Command(id, verb, scope, actor=actor, reason="why", issued_ms=at_ms, expires_ms=lasts)


def signed(
    command: Command, key: Ed25519PrivateKey | None = None, lineage: str = "multicloud-1", **place: str
) -> Command:
    """The same order with its actor's signature, or with another's."""
    private = key or KEYS[command.actor]
    return sign_order(command, private, namespace=place.get("namespace", NAMESPACE), lineage=lineage)


def countersigned(waiting: Command, actor: str = "lee", id: str = "b", at_ms: int = NOW_MS) -> Command:
    """This operator's agreement to an order that was signed."""
    agreement = order("countersign", waiting.scope, actor, id, at_ms)
    return signed(replace(agreement, countersigns=f"{waiting.id}#{fingerprint(waiting.signature)}"))
