"""Which losses need rows in the programme: a quick look that never calls a loss survived that is not.

Losses of providers are always in the programme. The other failure domains are many, and most are survived
anyway, so they are screened after each solve. Three tests follow each other, each dearer and sharper than the
one before: a part of a survived loss is survived as well; ``doubtful`` compares sums, for all losses at once;
``without_room`` fills the remaining room greedily, for one loss. The last two may find less room than there
is, never more. So they may let a loss join that needs no rows, which costs time and not safety.
"""

import numpy as np
from numpy.typing import NDArray

from controller.core.lp.programme import Bools, Floats, Instance
from controller.core.policy.compiled import CompiledPolicy

Order = NDArray[np.intp]


def failure_domains(compiled: CompiledPolicy) -> dict[str, Bools]:
    """The failure domains other than providers, by name in order, each as the pools that it loses.

    They are the regions, and the ``domains`` that pools name. A domain that is exactly all of a provider is
    left out, as it is that provider.
    """
    whole_providers = {tuple(pools) for pools in compiled.pools_of}
    members: dict[str, list[int]] = {}
    for index, pool in enumerate(compiled.policy.pools):
        for name in dict.fromkeys((f"{pool.provider}/{pool.region}", *pool.domains)):
            members.setdefault(name, []).append(index)
    domains = {}
    for name in sorted(name for name in members if tuple(members[name]) not in whole_providers):
        lost = np.zeros(len(compiled.pools), dtype=np.bool_)
        lost[members[name]] = True
        domains[name] = lost
    return domains


def unsurvived(
    instance: Instance, flows: Floats, domains: dict[str, Bools], survived: list[Bools], least: float
) -> list[str]:
    """The domains whose loss seems to leave more than ``least`` critical load without room, the worst first.

    ``flows`` is [R, P] all load, scaled. ``survived`` are losses that are known to be survived, by pool.
    """
    names = [name for name, lost in domains.items() if not any((lost <= other).all() for other in survived)]
    if not names:
        return []
    doubt = doubtful(instance, flows, np.array([domains[name] for name in names]))
    suspects = [name for name, is_doubtful in zip(names, doubt, strict=True) if is_doubtful]
    short = {name: without_room(instance, flows, domains[name]) for name in suspects}
    return sorted((name for name in suspects if short[name] > least), key=lambda name: (-short[name], name))


def doubtful(instance: Instance, flows: Floats, losses: Bools) -> Bools:
    """[K] which of the losses ([K, P]) need a closer look, all in one pass.

    A loss is certainly survived if each class that it strikes could find room for all that is lost of all
    classes together. A class with a share limit is never certain, as its room is not the pools' room.
    """
    classes = len(instance.reserve)
    room = _room(instance, flows, np.zeros(len(instance.usable), dtype=np.bool_))
    by_class = np.zeros((classes, len(room)))
    for number in range(classes):
        by_class[number] = flows[instance.class_of == number].sum(axis=0)
    lost = losses @ by_class.T
    left = (instance.reserve @ room)[None, :] - losses @ (instance.reserve * room).T
    limited = np.zeros(classes, dtype=np.bool_)
    with_limit = [instance.class_of[place] for place, _ in instance.share_room]
    limited[[number for number in with_limit if number >= 0]] = True
    certain = (left >= lost.sum(axis=1)[:, None]) & ~limited[None, :]
    doubt: Bools = ((lost > 0) & ~certain).any(axis=1)
    return doubt


def without_room(instance: Instance, flows: Floats, lost: Bools) -> float:
    """The critical load, scaled, for which no room is found after the loss of these pools; 0 if survived.

    All load that is not critical makes way. Classes with the fewest pools choose first, and pools that the
    most classes may use are filled last.
    """
    room = _room(instance, flows, lost)
    order = _fewest_users_first(instance)
    short = 0.0
    for number in np.argsort(instance.reserve.sum(axis=1), kind="stable"):
        routes = instance.class_of == number
        load = float(flows[routes][:, lost].sum())
        if load <= 0:
            continue
        usable = np.where(instance.reserve[number], room, 0.0)
        for (place, provider), most in instance.share_room.items():
            if routes[place]:
                members = (instance.provider_of == provider) & ~lost
                _cap(usable, order[members[order]], most - float(flows[place, members].sum()))
        taken = np.zeros(len(usable))
        taken[order] = _first(usable[order], load)
        room -= taken
        short += load - float(taken.sum())
    return max(short, 0.0)


def _room(instance: Instance, flows: Floats, lost: Bools) -> Floats:
    """[P] what each remaining pool can take beside the critical load that it has already.

    Where a quota group allows less than its pools together, the pools that most classes may use have less.
    """
    stays = flows[instance.class_of >= 0].sum(axis=0)
    usable = instance.reserve.any(axis=0) & ~lost
    room = np.where(usable, np.maximum(instance.usable - stays, 0.0), 0.0)
    order = _fewest_users_first(instance)
    for group, limit in enumerate(instance.group_usable):
        members = instance.in_group(group) & ~lost
        _cap(room, order[members[order]], float(limit - stays[members].sum()))
    return room


def _fewest_users_first(instance: Instance) -> Order:
    """The pools, those that the fewest classes may use first."""
    return np.argsort(instance.reserve.sum(axis=0), kind="stable")


def _cap(room: Floats, order: Order, limit: float) -> None:
    """Takes room from the last pools of ``order`` until these pools have no more than ``limit`` together."""
    room[order] -= room[order] - _first(room[order], max(limit, 0.0))


def _first(room: Floats, most: float) -> Floats:
    """As much of each in order as fits into ``most`` together."""
    before = np.cumsum(room) - room
    return np.minimum(room, np.maximum(most - before, 0.0))
