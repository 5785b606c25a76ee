"""Whether a loss would be survived as planned: a quick look that never says yes wrongly."""

import numpy as np

from controller.core.programme import Bools, Floats, World


def survives(world: World, flows: Floats, lost: Bools) -> float:
    """Critical load (scaled) for which no room is found after ``lost``; 0: survived.

    Fills greedily, the least choosy pools last, and may find less room than there is, never more. Lower
    criticality makes way.
    """
    critical = world.klass >= 0
    stays = flows[critical].sum(axis=0)
    room = np.where(world.reserve.any(axis=0) & ~lost, np.maximum(world.usable - stays, 0.0), 0.0)
    order = np.argsort(world.reserve.sum(axis=0), kind="stable")
    for group, limit in enumerate(world.group_usable):
        members = (world.group == group) & ~lost
        _cap(room, order[members[order]], float(limit - stays[members].sum()))
    without = 0.0
    for klass in np.argsort(world.reserve.sum(axis=1), kind="stable"):
        routes = world.klass == klass
        load = float(flows[routes][:, lost].sum())
        if load <= 0:
            continue
        usable = np.where(world.reserve[klass], room, 0.0)
        for (place, provider), most in world.share.items():
            if routes[place]:
                members = (world.provider == provider) & ~lost
                _cap(usable, order[members[order]], most - float(flows[place, members].sum()))
        taken = _fill(usable, order, load)
        room -= taken
        without += load - float(taken.sum())
    return without if without > 0 else 0.0


def _cap(room: Floats, order: np.ndarray[tuple[int], np.dtype[np.intp]], limit: float) -> None:
    """Takes room from the last pools until together they have no more than ``limit``."""
    room[order] -= room[order] - _first(room[order], max(limit, 0.0))


def _fill(room: Floats, order: np.ndarray[tuple[int], np.dtype[np.intp]], load: float) -> Floats:
    taken = np.zeros(len(room))
    taken[order] = _first(room[order], load)
    return taken


def _first(room: Floats, most: float) -> Floats:
    """As much of each, in order, as fits into ``most`` together."""
    before = np.cumsum(room) - room
    return np.minimum(room, np.maximum(most - before, 0.0))
