"""What modes and freezes leave of what a pool may be used for. Health and capacity know nothing of either."""

from typing import cast

from controller.core.capacity.usable import UNBOUNDED
from controller.core.moves.draft import KEEPS, OUT
from controller.core.moves.eligible import Use
from controller.core.orders.in_force import Orders
from controller.core.policy.compiled import CompiledPolicy
from controller.core.policy.policy import Mode


def modes_in_force(compiled: CompiledPolicy, orders: Orders) -> list[Mode]:
    """The mode of each provider: an operator's, or else the policy's."""
    ordered = {compiled.provider_of[index]: order.mode for index, order in orders.modes.items()}
    return [
        cast(Mode, ordered.get(number) or provider.mode)
        for number, provider in enumerate(compiled.policy.providers)
    ]


def bound_pools(compiled: CompiledPolicy, orders: Orders) -> list[int]:
    """The pools that may not be acted on now because of their provider's mode.

    A drain or evacuation is acted on in every mode, and an approval lets a provider in mode recommend be
    acted on.
    """
    modes = modes_in_force(compiled, orders)
    if all(mode == "act" for mode in modes):
        return []
    return [
        index
        for index, provider in enumerate(compiled.provider_of)
        if modes[provider] != "act"
        and index not in orders.drained
        and index not in orders.evacuated
        and not (modes[provider] == "recommend" and index in orders.approved)
    ]


def within_modes(use: Use, compiled: CompiledPolicy, orders: Orders) -> Use:
    """Pools that may not be acted on keep what they carry and gain nothing, whatever their health.

    The same object if all pools may be acted on.
    """
    bound = bound_pools(compiled, orders)
    if not bound:
        return use
    limits = use.limits
    usable, grade, keeps = list(limits.usable), list(limits.grade), list(use.keeps)
    for index in bound:
        grade[index], usable[index], keeps[index] = KEEPS, UNBOUNDED, UNBOUNDED
    ahead = {index: most for index, most in use.ahead.items() if index not in bound}
    return use._replace(limits=limits._replace(usable=usable, grade=grade), keeps=keeps, ahead=ahead)


def within_freezes(use: Use, orders: Orders) -> Use:
    """For moves by choice: frozen pools keep what they carry and gain nothing."""
    if not orders.frozen:
        return use
    grade = list(use.limits.grade)
    for index in orders.frozen:
        grade[index] = KEEPS if grade[index] != OUT else OUT
    ahead = {index: most for index, most in use.ahead.items() if index not in orders.frozen}
    return use._replace(limits=use.limits._replace(grade=grade), ahead=ahead)
