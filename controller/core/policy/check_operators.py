"""What contradicts itself in the operators of a policy and in the approvals that it asks for."""

from collections.abc import Collection, Iterator
from typing import NamedTuple

from controller.core.policy.operators import (
    GRANTABLE,
    ApprovalRule,
    approvals_needed,
    parts_of,
    touches,
)
from controller.core.policy.policy import Policy
from tieline.events import in_scope
from tieline.order_signing import SignatureError, decode_public_key


class OperatorMistake(NamedTuple):
    """``path`` leads to the field, ``text`` says what is wrong with it. A name that refers to nothing is
    ``name``, and ``defined`` are those that it could be."""

    path: tuple[str | int, ...]
    text: str
    name: str = ""
    defined: Collection[str] = ()


def operator_mistakes(policy: Policy) -> Iterator[OperatorMistake]:
    """Every mistake in ``operators`` and ``approvals``."""
    yield from _keys(policy)
    rights = list(_rights_to_nothing(policy))
    yield from rights
    if not rights:
        yield from _unattainable_approvals(policy)


def _keys(policy: Policy) -> Iterator[OperatorMistake]:
    owners: dict[bytes, str] = {}
    for number, operator in enumerate(policy.operators):
        for place, text in enumerate(operator.public_keys):
            path = ("operators", number, "public_keys", place)
            try:
                key = decode_public_key(text)
            except SignatureError as error:
                yield OperatorMistake(path, str(error))
                continue
            if key in owners:
                yield OperatorMistake(
                    path, f"this key is {owners[key]}'s already: each operator needs a key of their own"
                )
            owners.setdefault(key, operator.id)


def _rights_to_nothing(policy: Policy) -> Iterator[OperatorMistake]:
    scopes = {pool.id for pool in policy.pools} | {provider.id for provider in policy.providers}
    scopes |= {pool.id.rsplit("/", 1)[0] for pool in policy.pools}
    lists = [(("operators", number, "may"), item.may) for number, item in enumerate(policy.operators)]
    lists += [(("approvals", number, "orders"), item.orders) for number, item in enumerate(policy.approvals)]
    for path, rights in lists:
        for place, right in enumerate(rights):
            verb, scope = parts_of(right)
            if verb != "*" and verb not in GRANTABLE:
                yield OperatorMistake((*path, place), f"there is no order {verb!r}", verb, defined=GRANTABLE)
            base = scope.removesuffix("/*")
            if base != "*" and base not in scopes:
                yield OperatorMistake(
                    (*path, place), f"there is nothing named {base!r}", base, defined=scopes
                )


def _unattainable_approvals(policy: Policy) -> Iterator[OperatorMistake]:
    """Rules that ask for more people than may give some order that somebody may give."""
    for number, rule in enumerate(policy.approvals):
        for place, right in enumerate(rule.orders):
            path = ("approvals", number, "orders", place)
            if not policy.operators:
                yield OperatorMistake(path, "nobody could approve it, as the policy names no operators")
            elif short := _short_of_people(policy, rule, right):
                yield OperatorMistake(path, short)


def _short_of_people(policy: Policy, rule: ApprovalRule, right: str) -> str:
    """The first order under this right that some operators may give, and too few to approve it."""
    verb, scope = parts_of(right)
    rights = [right, *(item for operator in policy.operators for item in operator.may)]
    verbs = sorted(GRANTABLE) if verb == "*" else [verb]
    scopes = sorted({example for item in rights for example in _examples(policy, parts_of(item)[1])})
    for name in verbs:
        for example in scopes:
            if not touches(f"{name}:{scope}", name, example):
                continue
            people = [item.id for item in policy.operators if item.is_allowed(name, example)]
            needed = approvals_needed((rule,), name, example)
            if 0 < len(people) < needed:
                who = " and ".join(people)
                return (
                    f"only {who} may give {name}:{example}, and it needs {needed} people: let more "
                    "operators give it, or take it out of this rule"
                )
    return ""


def _examples(policy: Policy, scope: str) -> list[str]:
    """Scopes that stand for all that a right's scope covers: itself, or the first one that lies in it."""
    if not scope.endswith("/*"):
        return [scope]
    base = scope.removesuffix("/*")
    inner = (pool.id for pool in policy.pools if in_scope(pool.id, base))
    pool = next(inner, base)
    return ["/".join(pool.split("/")[: base.count("/") + 2])]
