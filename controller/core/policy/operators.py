"""Who may give which orders, and which orders more than one person must sign.

A right is written ``VERB:SCOPE``, such as ``drain:azure/*``; ``*`` alone is every order. Either part may be
``*``. A scope covers itself and everything in it: ``drain:azure`` is azure as a whole, its regions and its
pools. ``azure/*`` is what lies in azure, and not azure as a whole. Whoever may give an order may also take it
back (``tieline.events.TAKES_BACK``).

A right must cover the whole of an order's scope. An approval rule already holds for an order that touches
its scope: draining azure drains each pool in it.
"""

from collections.abc import Iterable
from typing import Annotated, get_args

from msgspec import Meta, Struct

from tieline.events import TAKES_BACK, Verb, in_scope

PUBLIC_KEYS_MAX = 4
RIGHTS_MAX = 200
APPROVALS_MIN, APPROVALS_MAX = 2, 5
POLICY_VERB = "policy"  # the right to change the policy, always for the whole table: ``policy:*``
GRANTABLE = frozenset({*get_args(Verb), POLICY_VERB}) - {"countersign"}
"""Verbs that a right can name. Whoever may give an order may countersign it."""

OperatorId = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._+:@-]{0,95}\Z",
        description="a name of letters, digits and . _ + : @ -, e.g. kim",
    ),
]
Right = Annotated[
    str,
    Meta(
        pattern=r"^(\*|([a-z]{1,32}|\*):(\*|[a-z0-9][a-z0-9._-]*(/[A-Za-z0-9._:-]+){0,2}(/\*)?))\Z",
        max_length=400,
        description="VERB:SCOPE, e.g. drain:azure/*, verdict:*, or * for every order",
    ),
]


class Operator(Struct, frozen=True, omit_defaults=True):
    """A person, or a program that acts for people. An order counts if one of ``public_keys`` signed it
    (written as ``tieline.order_signing`` says; two during a change of keys) and ``may`` has a right to it."""

    id: OperatorId
    public_keys: Annotated[tuple[str, ...], Meta(min_length=1, max_length=PUBLIC_KEYS_MAX)]
    may: Annotated[tuple[Right, ...], Meta(max_length=RIGHTS_MAX)]

    def is_allowed(self, verb: str, scope: str) -> bool:
        """Whether one of the rights covers this order, or the order that it takes back."""
        verbs = (verb, *TAKES_BACK.get(verb, ()))
        return any(covers(right, name, scope) for right in self.may for name in verbs)


class ApprovalRule(Struct, frozen=True, omit_defaults=True):
    """Orders that touch one of ``orders`` take effect once ``approvals`` different operators have signed
    them; whoever gives the order is the first."""

    orders: Annotated[tuple[Right, ...], Meta(min_length=1, max_length=RIGHTS_MAX)]
    approvals: Annotated[int, Meta(ge=APPROVALS_MIN, le=APPROVALS_MAX)] = APPROVALS_MIN


def parts_of(right: str) -> tuple[str, str]:
    """(verb, scope) of a right, each ``*`` where it is any."""
    verb, _, scope = right.partition(":")
    return verb, scope or "*"


def covers(right: str, verb: str, scope: str) -> bool:
    """Whether the right holds for this verb in the whole of this scope."""
    right_verb, right_scope = parts_of(right)
    return right_verb in ("*", verb) and _covers_scope(right_scope, scope)


def touches(right: str, verb: str, scope: str) -> bool:
    """Whether an order of this verb for this scope concerns something that the right covers."""
    right_verb, right_scope = parts_of(right)
    if right_verb not in ("*", verb):
        return False
    return _covers_scope(right_scope, scope) or in_scope(right_scope.removesuffix("/*"), scope)


def approvals_needed(rules: Iterable[ApprovalRule], verb: str, scope: str) -> int:
    """How many operators must sign this order: 1, unless a rule asks for more."""
    numbers = (rule.approvals for rule in rules if any(touches(right, verb, scope) for right in rule.orders))
    return max(numbers, default=1)


def _covers_scope(right_scope: str, scope: str) -> bool:
    if right_scope.endswith("/*"):
        return scope.startswith(right_scope[:-1])
    return in_scope(scope, right_scope)
