"""Hubs: how the load of many classes reaches many kinds of pools after a loss with few columns.

Where routes ask for different contexts, whoever may use pools of a small context may also use those of a
larger one. A column for each class and each kind that it may use says that again and again: there are 13,000
for each loss at 4,000 pools with 32 contexts. Instead each set of classes that may use the same pools has a
hub.
Load enters at the smallest sets that hold its class, and goes on from a hub to the next larger sets that hold
all of it, until a kind takes it over. Sets in between make links from the smallest to the largest superfluous
(the transitive reduction of an order, Aho, Garey and Ullman 1972).

This has the same optimum. Load that enters a hub may use the pools of each hub behind it, as its class is in
each of these sets. The other way round, each set that holds a class is one of the smallest that do, or lies
behind one of them.

A class with a share limit goes to its kinds directly, since the limit binds that class alone.
Tested in tests/property/test_pool_classes_property.py.
"""

import numpy as np
from numpy.typing import NDArray

from controller.core.lp.programme import Bools

Links = NDArray[np.int32]
NO_LINKS: Links = np.zeros((0, 2), dtype=np.int32)


def through_hubs(may_use: NDArray[np.int32], limited: Bools, first_hub: int) -> tuple[Links, Links, int]:
    """([F, 2] row of a hub and kind, [L, 2] row of a class or hub and of the hub behind it, number of hubs).

    ``may_use``: [T, S] whether each kind is for each struck class. ``limited``: [S] the classes that need no
    hubs. The row of struck class s is s; the rows of hubs begin at ``first_hub``.
    """
    open_to = may_use.astype(np.bool_) & ~limited[None, :]
    kinds = np.nonzero(open_to.any(axis=1))[0]
    if not len(kinds):
        return NO_LINKS, NO_LINKS, 0
    sets, hub_of = np.unique(open_to[kinds], axis=0, return_inverse=True)
    flows = np.stack([first_hub + hub_of.reshape(-1), kinds], axis=1)
    behind = _behind(sets)
    giver, taker = np.nonzero(behind & ~_reach_in_two(behind))
    links = [np.stack([first_hub + giver, first_hub + taker], axis=1)]
    for number in np.nonzero(sets.any(axis=0))[0]:
        holders = np.nonzero(sets[:, number])[0]
        smallest = holders[~behind[np.ix_(holders, holders)].any(axis=0)]
        links.append(np.stack([np.full(len(smallest), number), first_hub + smallest], axis=1))
    return flows.astype(np.int32), np.concatenate(links).astype(np.int32), len(sets)


def _behind(sets: Bools) -> Bools:
    """[H, H] whether the second set holds all of the first, and more."""
    outside = sets.astype(np.float32) @ (~sets).astype(np.float32).T
    contains: Bools = outside == 0
    return contains & ~np.eye(len(sets), dtype=np.bool_)


def _reach_in_two(behind: Bools) -> Bools:
    """[H, H] whether another set lies between the first and the second."""
    steps: Bools = (behind.astype(np.float32) @ behind.astype(np.float32)) > 0
    return steps
