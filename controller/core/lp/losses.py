"""One loss as rows and columns of the programme: what was on the lost pools must find room on the others.

After a loss, critical load on the remaining pools stays where it is, and all other load makes way. The
programme is kept small by aggregation, which changes nothing in its answer: routes count by class, and pools
that the same classes may use, of one provider and the same quota groups, count as one kind.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from controller.core.lp.hubs import NO_LINKS, through_hubs
from controller.core.lp.programme import Bools, Floats, Instance, Ints

Positions = NDArray[np.signedinteger]


class LossBlock(NamedTuple):
    """The rows and columns that one loss adds, with S struck classes, T kinds of pools and F flows.

    Rows are numbered from 0 within the block: first one for each struck class, then one for each kind, quota
    group and share limit, and last one for each hub. A flow says how much load of a class, or out of a hub, a
    kind takes over. A link says how much goes on into a hub.
    """

    name: str
    lost: Bools  # [P] the pools that are lost
    kind_of: Ints  # [P] kind, -1 for a pool that is lost or that no class may use
    struck: Ints  # [S] class of each of the first rows
    class_row: Ints  # [C] row of the class, -1 if the loss does not strike it
    kind_row: Ints  # [T] row of the kind
    group_row: Ints  # [G + 1] row of the quota group, -1 for none; the last entry stands for "no group"
    share_row: dict[tuple[int, int], int]  # (route's place, provider) to the row of its share limit
    lower: Floats  # lower bound of each row
    upper: Floats  # upper bound of each row
    flows: NDArray[np.int32]  # [F, 2] row of the class or hub, number of the kind
    flow_groups: Ints  # [F, M] quota groups of the kind
    flow_provider: Ints  # [F] provider of the kind
    links: NDArray[np.int32]  # [L, 2] row of the class or hub that gives, row of the hub that takes


class _Kinds(NamedTuple):
    """``of_pool``: [P] kind or -1. For each kind, ``may_use``: [T, C] whether each class may use it,
    ``groups``: [T, M] its quota groups, and ``provider``: [T]."""

    of_pool: Ints
    may_use: NDArray[np.int32]
    groups: Ints
    provider: Ints


def block_of(instance: Instance, name: str, lost: Bools, *, with_hubs: bool = False) -> LossBlock | None:
    """The block of one loss, ``lost`` by pool. None if the loss can't strike critical load.

    ``with_hubs``: classes without share limits reach their kinds through hubs (hubs.py), which takes far
    fewer columns where there are many classes and kinds, and has the same optimum.
    """
    struck = _struck(instance, lost)
    if not len(struck):
        return None
    remaining = instance.reserve.any(axis=0) & ~lost
    kinds = _kinds(instance, remaining)
    groups = [g for g in range(len(instance.group_usable)) if (remaining & instance.in_group(g)).any()]
    shares = [key for key in instance.share_room if instance.class_of[key[0]] in struck]
    room = _room(instance, lost, kinds, groups, shares)
    # Fixed load on lost pools needs a place as well, although no column of the programme carries it.
    from_fixed = np.array([instance.fixed[instance.class_of == c][:, lost].sum() for c in struck])
    first_kind, first_group = len(struck), len(struck) + len(kinds.may_use)
    class_row = np.full(len(instance.reserve), -1, dtype=np.int32)
    class_row[struck] = np.arange(len(struck))
    group_row = np.full(len(instance.group_usable) + 1, -1, dtype=np.int32)
    group_row[groups] = first_group + np.arange(len(groups))
    flows = _flows(kinds, struck)
    links, hubs = NO_LINKS, 0
    if with_hubs:
        limited = np.isin(struck, instance.class_of[[place for place, _ in shares]])
        first_hub = len(struck) + len(room)
        hub_flows, links, hubs = through_hubs(kinds.may_use[:, struck], limited, first_hub)
        flows = np.concatenate([flows[limited[flows[:, 0]]], hub_flows]).astype(np.int32)
    nothing = np.zeros(hubs)
    return LossBlock(
        name=name,
        lost=lost,
        kind_of=kinds.of_pool,
        struck=struck.astype(np.int32),
        class_row=class_row,
        kind_row=(first_kind + np.arange(len(kinds.may_use))).astype(np.int32),
        group_row=group_row,
        share_row={key: first_group + len(groups) + i for i, key in enumerate(shares)},
        lower=np.concatenate([from_fixed, np.full(len(room), -np.inf), nothing]),
        upper=np.concatenate([from_fixed, room, nothing]),
        flows=flows,
        flow_groups=kinds.groups[flows[:, 1]],
        flow_provider=kinds.provider[flows[:, 1]],
        links=links,
    )


def _struck(instance: Instance, lost: Bools) -> Positions:
    """The classes that have, or could be given, load on lost pools."""
    critical = instance.class_of >= 0
    could_be_there = (np.isfinite(instance.cost) & lost[None, :]).any(axis=1)
    fixed_there = instance.fixed[:, lost].sum(axis=1) > 0
    struck: Positions = np.unique(instance.class_of[critical & (could_be_there | fixed_there)])
    return struck


def _kinds(instance: Instance, remaining: Bools) -> _Kinds:
    """The remaining pools, grouped by what the rows of the block can tell apart."""
    keys = np.concatenate([instance.reserve, instance.groups_of.T, instance.provider_of[None, :]]).T
    of_pool = np.full(len(remaining), -1, dtype=np.int32)
    kinds, number = np.unique(keys[remaining], axis=0, return_inverse=True)
    of_pool[remaining] = number.reshape(-1)
    classes = len(instance.reserve)
    return _Kinds(of_pool, kinds[:, :classes], kinds[:, classes:-1], provider=kinds[:, -1])


def _flows(kinds: _Kinds, struck: Positions) -> NDArray[np.int32]:
    """[F, 2] for each struck class and each kind that it may use: (row of the class, kind)."""
    if not len(kinds.may_use):
        return np.zeros((0, 2), dtype=np.int32)
    class_row, kind = np.nonzero(kinds.may_use[:, struck].T)
    return np.stack([class_row, kind], axis=1).astype(np.int32)


def _room(
    instance: Instance, lost: Bools, kinds: _Kinds, groups: list[int], shares: list[tuple[int, int]]
) -> Floats:
    """What kinds, quota groups and share limits leave beside fixed critical load, in the order of rows."""
    fixed = instance.fixed[instance.class_of >= 0].sum(axis=0)
    remaining = kinds.of_pool >= 0
    of_kind = np.zeros(len(kinds.may_use))
    np.add.at(of_kind, kinds.of_pool[remaining], np.maximum(instance.usable - fixed, 0.0)[remaining])
    of_group = [float(instance.group_usable[g] - fixed[instance.in_group(g) & ~lost].sum()) for g in groups]
    return np.concatenate([of_kind, np.maximum(of_group, 0.0), [instance.share_room[key] for key in shares]])
