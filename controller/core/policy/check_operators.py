"""What contradicts itself in the operators of a policy and in the approvals that it asks for."""

from collections.abc import Collection, Iterator
from typing import NamedTuple

from controller.core.policy.operators import (
    GRANTABLE,
    ApprovalRule,
    covers,
    parts_of,
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
    """Every mistake in ``operators`` and ``approvals``, and in the keys of ``sources``."""
    yield from _keys(policy)
    yield from _source_keys(policy)
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


def _source_keys(policy: Policy) -> Iterator[OperatorMistake]:
    for number, source in enumerate(policy.sources):
        for place, text in enumerate(source.public_keys):
            try:
                decode_public_key(text)
            except SignatureError as error:
                yield OperatorMistake(("sources", number, "public_keys", place), str(error))


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
    """Rules that ask for more people than may give any order of a kind that somebody may give."""
    for number, rule in enumerate(policy.approvals):
        for place, right in enumerate(rule.orders):
            path = ("approvals", number, "orders", place)
            if not policy.operators:
                yield OperatorMistake(path, "nobody could approve it, as the policy names no operators")
            elif short := _short_of_people(policy, rule, right):
                yield OperatorMistake(path, short)


def _short_of_people(policy: Policy, rule: ApprovalRule, right: str) -> str:
    """The first kind of order under this right that some operators may give, and nowhere enough of them."""
    verb, scope = parts_of(right)
    rights = (item for operator in policy.operators for item in operator.may)
    others = sorted({_example(policy, parts_of(item)[1]) for item in rights})
    scopes = dict.fromkeys([_example(policy, scope), *others])
    for name in sorted(GRANTABLE) if verb == "*" else [verb]:
        places = [place for place in scopes if covers(f"{name}:{scope}", name, place)]
        people = max((_allowed(policy, name, place) for place in places), key=len)
        if 0 < len(people) < rule.approvals:
            return (
                f"only {' and '.join(people)} may give {name}:{places[0]}, and it needs {rule.approvals} "
                "people: let more operators give it, or take it out of this rule"
            )
    return ""


def _allowed(policy: Policy, verb: str, scope: str) -> list[str]:
    return [operator.id for operator in policy.operators if operator.is_allowed(verb, scope)]


def _example(policy: Policy, scope: str) -> str:
    """A scope that stands for all that a right's scope covers: itself, or the first one that lies in it."""
    if not scope.endswith("/*"):
        return scope
    base = scope.removesuffix("/*")
    pool = next((pool.id for pool in policy.pools if in_scope(pool.id, base)), base)
    return "/".join(pool.split("/")[: base.count("/") + 2])
