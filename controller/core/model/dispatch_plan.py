"""What the dispatch is asked and what it answers: a ``Problem`` in, a ``Plan`` out.

Both travel between processes. The plan is part of the recorded snapshot, so that deciding again never calls a
solver. Pools and routes are the policy's indices, load is in units/s, shares are in parts per million.
"""

from typing import Literal, TypeAlias

from msgspec import Struct

from tieline.table import Split

Relief: TypeAlias = Literal["shed", "contract", "security", "cost"]


class Problem(Struct, frozen=True):
    """What the linear programme is to solve.

    ``demand`` and ``in_force``, the table in force, are by route. ``usable``, ``committed`` and ``grade``
    (moves/draft.py) are by pool, ``group_usable`` is by quota group. ``refused``: pools on which the holder
    of the first refusal gives no burst now. ``unshared``: providers whose largest shares are overridden.
    ``used_up``: providers whose commitments to spend are used up.
    """

    policy_version: str
    at_ms: int
    demand: tuple[float, ...]
    in_force: tuple[Split, ...]
    usable: tuple[float, ...]
    committed: tuple[float, ...]
    grade: tuple[int, ...]
    group_usable: tuple[float, ...]
    refused: tuple[int, ...] = ()
    unshared: tuple[int, ...] = ()
    used_up: tuple[str, ...] = ()


class Target(Struct, frozen=True, array_like=True):
    """The share of one route that each pool should carry; with ``shed`` the weights sum to one million.

    A route without load has no target.
    """

    route: int
    pools: tuple[int, ...]
    weights: tuple[int, ...]
    shed: int = 0


class Shortfall(Struct, frozen=True, array_like=True):
    """Critical load that has no lawful room once ``lost``, a provider or another failure domain, is lost.

    ``geographies``: where that load may go at all, sorted. ``routes`` are named ``workload/origin``. With
    ``lost`` empty the load has no room although nothing is lost.
    """

    lost: str
    geographies: tuple[str, ...]
    routes: tuple[str, ...]
    units_per_s: float


class Marginal(Struct, frozen=True, array_like=True):
    """A limit that binds: one unit/s more of it would improve the plan by ``worth`` points of cost.

    ``limit`` names a pool or a quota group, ``relieves`` what the improvement would be.
    """

    limit: str
    worth: float
    relieves: Relief


class Plan(Struct, frozen=True):
    """Where all load should be. ``inputs`` is the digest of the problem that it answers.

    ``met`` names the losses that critical load survives as planned, ``unmet`` those that it does not, and
    ``shortfalls`` says where. Losses of providers are always part of the programme. Of other failure domains
    ``screened`` were looked at afterwards, and those in ``added`` joined it as they were not survived.
    ``grown``: what would be short if demand grew as the policy's ``offers`` say, with and without a loss.
    """

    policy_version: str
    inputs: str
    made_ms: int
    targets: tuple[Target, ...]
    met: tuple[str, ...] = ()
    unmet: tuple[str, ...] = ()
    shortfalls: tuple[Shortfall, ...] = ()
    marginals: tuple[Marginal, ...] = ()
    screened: int = 0
    added: tuple[str, ...] = ()
    rounds: int = 0
    grown: tuple[Shortfall, ...] = ()

    def is_fresh(self, policy_version: str, fresh_ms: int, now_ms: int) -> bool:
        """Whether the plan may guide moves: made under this policy, and no more than ``fresh_ms`` ago."""
        return self.policy_version == policy_version and now_ms - self.made_ms <= fresh_ms
