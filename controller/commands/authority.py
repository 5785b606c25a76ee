"""Whose orders count: in the words of the policy, and by the signatures of its operators. Pure.

With operators in the policy an order counts only if one of them signed it for this installation. All that is
cheap is asked first, so that only orders which could be good cost the check of a signature. Without operators
there is nothing to check a signature with: orders then count in the unsigned development mode only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.core.orders.overridable import override_fault
from controller.core.policy.operators import POLICY_VERB, ApprovalRule, Operator, approvals_needed
from controller.core.policy.policy import Policy
from tieline.events import WITHOUT_END, Command, PolicyChange
from tieline.misfits import misfit
from tieline.order_signing import (
    SignatureError,
    decode_public_key,
    is_signed_by,
    key_name,
    key_of_signature,
)
from tieline.topics import DAY_MS

OVERRIDE_MAX_MS = 30 * DAY_MS
ISSUED_WITHIN_MS = 60_000
UNSIGNED = "it is unsigned, and only the unsigned development mode (--unsigned-dev-mode) accepts that"


@dataclass(frozen=True, slots=True)
class OrderRules:
    """The rules of one installation under one policy. ``keys``: by operator the public keys, by their names.

    ``unsigned_allowed`` is never true together with ``operators``.
    """

    unsigned_allowed: bool
    namespace: str = ""
    lineage: str = ""
    operators: Mapping[str, Operator] = field(default_factory=dict)
    keys: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    approvals: tuple[ApprovalRule, ...] = ()

    @classmethod
    def of(cls, policy: Policy, *, unsigned: bool, namespace: str) -> "OrderRules":
        """The rules of this policy; ``unsigned`` asks for the unsigned development mode."""
        return cls(
            unsigned_allowed=unsigned and not policy.operators,
            namespace=namespace,
            lineage=policy.lineage,
            operators={operator.id: operator for operator in policy.operators},
            keys={operator.id: _keys_of(operator) for operator in policy.operators},
            approvals=policy.approvals,
        )

    def refusal(self, command: Command | PolicyChange, append_ms: int) -> str:
        """Why an order that was appended at ``append_ms`` doesn't count; empty if it does."""
        if not self.operators:
            return self._unsigned_refusal(command) or form_fault(command, append_ms)
        return (
            self._stranger(command)
            or self._not_fresh(command, append_ms)
            or self.not_allowed(command.actor, command)
            or form_fault(command, append_ms)
            or self._forged(command)
        )

    def not_allowed(self, actor: str, order: Command | PolicyChange) -> str:
        """Why the policy doesn't let this operator give, or countersign, this order; empty if it does."""
        operator = self.operators.get(actor)
        if operator is None:
            return f"the policy names no operator {actor!r}"
        verb, scope = verb_and_scope(order)
        if verb == "countersign" or operator.is_allowed(verb, scope):
            return ""
        rights = ", ".join(operator.may) or "nothing"
        return f"{actor} may not give {verb}:{scope}: the policy allows {rights}"

    def approvals_needed(self, order: Command | PolicyChange) -> int:
        """How many operators must sign this order, the one who gives it included."""
        return approvals_needed(self.approvals, *verb_and_scope(order))

    def keeps(self, order: Command | PolicyChange) -> bool:
        """Whether an order that a publication found in force stays in force here.

        It was accepted by the policy at its place in the log, so its signature is not asked for again, and an
        operator who has left the policy since takes no order along. An unsigned order ends where orders must
        be signed.
        """
        return (bool(order.signature) or self.unsigned_allowed) and not form_fault(order, order.issued_ms)

    def _unsigned_refusal(self, command: Command | PolicyChange) -> str:
        if command.signature:
            return "its signature can't be checked, as the policy names no operators and so no keys"
        return "" if self.unsigned_allowed else UNSIGNED

    def _stranger(self, command: Command | PolicyChange) -> str:
        """Why the key that the signature names is none of the actor's."""
        if not command.signature:
            return "it is unsigned, and the policy names operators, so every order must be signed"
        try:
            name = key_of_signature(command.signature)
        except SignatureError as error:
            return str(error)
        if command.actor not in self.keys:
            return f"the policy names no operator {command.actor!r}"
        if name not in self.keys[command.actor]:
            return f"it is signed with the key {name!r}, which is none of {command.actor}'s"
        return ""

    def _not_fresh(self, command: Command | PolicyChange, append_ms: int) -> str:
        """Why it may be a copy of an old order: an id is remembered only for a while, so age counts too."""
        if abs(append_ms - command.issued_ms) <= ISSUED_WITHIN_MS:
            return ""
        seconds = abs(append_ms - command.issued_ms) // 1_000
        when = "after" if append_ms > command.issued_ms else "before"
        return (
            f"it was appended {seconds} s {when} it was signed, more than {ISSUED_WITHIN_MS // 1_000} s: "
            "either it is an old order once more, or a clock is wrong"
        )

    def _forged(self, command: Command | PolicyChange) -> str:
        name = key_of_signature(command.signature)
        key = self.keys[command.actor][name]
        if is_signed_by(command, command.signature, key, namespace=self.namespace, lineage=self.lineage):
            return ""
        return (
            f"the signature is not by {command.actor}'s key, or not for this order, or for another "
            f"installation than {self.namespace} with the lineage {self.lineage}"
        )


def verb_and_scope(order: Command | PolicyChange) -> tuple[str, str]:
    """By what rights and approvals name an order. A change of the policy is always for the whole table."""
    return (POLICY_VERB, "*") if isinstance(order, PolicyChange) else (order.verb, order.scope)


def form_fault(command: Command | PolicyChange, append_ms: int) -> str:
    """What is wrong with an order whoever gave it; empty if nothing is. What a policy change brings is
    checked when the leader takes it in (``policies``)."""
    if fault := misfit(command):
        return fault
    if isinstance(command, PolicyChange):
        return ""
    if command.verb == "override" and (fault := override_fault(command.guard, command.scope)):
        return fault
    if command.verb in WITHOUT_END or command.expires_ms is None:
        return ""
    if command.expires_ms <= append_ms:
        return "it had expired before it was appended"
    if command.expires_ms > append_ms + OVERRIDE_MAX_MS:
        return "it expires more than 30 days after it was appended"
    return ""


def _keys_of(operator: Operator) -> dict[str, bytes]:
    keys = map(decode_public_key, operator.public_keys)
    return {key_name(key): key for key in keys}
