"""Whether a loss would be survived as planned: a quick look that never says yes wrongly."""

import numpy as np
from numpy.typing import NDArray

from controller.core.lp.programme import Bools, Floats, World

Order = NDArray[np.intp]


def doubtful(world: World, flows: Floats, losses: Bools) -> Bools:
    """Which losses (the first axis; the second is the pool) need a closer look, all at once: not those for
    which every class that is struck could find room for all that is lost of all classes together."""
    room = _room(world, flows, np.zeros(len(world.usable), dtype=np.bool_))
    by_class = np.zeros((len(world.reserve), len(room)))
    for klass in range(len(world.reserve)):
        by_class[klass] = flows[world.klass == klass].sum(axis=0)
    lost = losses @ by_class.T
    left = (world.reserve @ room)[None, :] - losses @ (world.reserve * room).T
    limited = np.zeros(len(world.reserve), dtype=np.bool_)
    limited[[world.klass[place] for place, _ in world.share if world.klass[place] >= 0]] = True
    sure = (left >= lost.sum(axis=1)[:, None]) & ~limited[None, :]
    found: Bools = ((lost > 0) & ~sure).any(axis=1)
    return found


def survives(world: World, flows: Floats, lost: Bools) -> float:
    """Critical load (scaled) for which no room is found after ``lost``; 0: survived.

    Fills greedily, the least choosy pools last, and may find less room than there is, never more. Lower
    criticality makes way.
    """
    room = _room(world, flows, lost)
    order = _order(world)
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


def _room(world: World, flows: Floats, lost: Bools) -> Floats:
    """Beside the critical load that is there already; what a quota group lacks its last pools lack."""
    stays = flows[world.klass >= 0].sum(axis=0)
    room = np.where(world.reserve.any(axis=0) & ~lost, np.maximum(world.usable - stays, 0.0), 0.0)
    order = _order(world)
    for group, limit in enumerate(world.group_usable):
        members = (world.group == group) & ~lost
        _cap(room, order[members[order]], float(limit - stays[members].sum()))
    return room


def _order(world: World) -> Order:
    """The pools, those that the fewest classes may use first."""
    return np.argsort(world.reserve.sum(axis=0), kind="stable")


def _cap(room: Floats, order: Order, limit: float) -> None:
    """Takes room from the last pools until together they have no more than ``limit``."""
    room[order] -= room[order] - _first(room[order], max(limit, 0.0))


def _fill(room: Floats, order: Order, load: float) -> Floats:
    taken = np.zeros(len(room))
    taken[order] = _first(room[order], load)
    return taken


def _first(room: Floats, most: float) -> Floats:
    """As much of each, in order, as fits into ``most`` together."""
    before = np.cumsum(room) - room
    return np.minimum(room, np.maximum(most - before, 0.0))
