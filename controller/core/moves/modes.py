"""What modes and freezes leave of what a pool may be used for. Health and capacity know nothing of either."""

from controller.core.capacity.usable import UNBOUNDED
from controller.core.moves.draft import KEEPS, OUT
from controller.core.moves.eligible import Use
from controller.core.orders.in_force import Orders
from controller.core.policy.compiled import CompiledPolicy


def bound_by_mode(use: Use, compiled: CompiledPolicy, given: Orders) -> Use:
    """Pools of providers that may not be acted on keep what they carry and gain nothing, whatever is found.

    An operator's drain holds all the same, and an approval lets a provider in mode recommend be acted on.
    The same object if nothing is bound.
    """
    bound = bound_pools(compiled, given)
    if not bound:
        return use
    limits = use.limits
    usable, grade, keeps = list(limits.usable), list(limits.grade), list(use.keeps)
    for index in bound:
        grade[index], usable[index], keeps[index] = KEEPS, UNBOUNDED, UNBOUNDED
    ahead = {index: most for index, most in use.ahead.items() if index not in bound}
    return use._replace(limits=limits._replace(usable=usable, grade=grade), keeps=keeps, ahead=ahead)


def bound_pools(compiled: CompiledPolicy, given: Orders) -> list[int]:
    """Pools whose provider's mode forbids to act on them now."""
    modes = [provider.mode for provider in compiled.policy.providers]
    if all(mode == "act" for mode in modes):
        return []
    return [
        index
        for index, provider in enumerate(compiled.provider_of)
        if modes[provider] != "act"
        and index not in given.drained
        and not (modes[provider] == "recommend" and index in given.approved)
    ]


def without_choice(use: Use, given: Orders) -> Use:
    """The same for moves by choice: what is frozen keeps what it carries and gains nothing."""
    if not given.frozen:
        return use
    grade = list(use.limits.grade)
    for index in given.frozen:
        grade[index] = KEEPS if grade[index] != OUT else OUT
    ahead = {index: most for index, most in use.ahead.items() if index not in given.frozen}
    return use._replace(limits=use.limits._replace(grade=grade), ahead=ahead)
