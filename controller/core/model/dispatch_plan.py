"""What the dispatch is asked and what it answers, as plain values: a ``Problem`` in, a ``Plan`` out.

Both travel between processes and the plan is part of the recorded snapshot, so that deciding again never
calls a solver. Pools are the policy's own numbers; load is in units/s, shares in parts per million.
"""

from typing import Literal, TypeAlias

from msgspec import Struct

from tieline.table import Split

Relief: TypeAlias = Literal["shed", "contract", "security", "cost"]


class Problem(Struct, frozen=True):
    """The world as the programme sees it. By pool: ``usable``, ``committed``, ``grade`` (draft.py's).

    ``held`` is the table in force by route, in the policy's pool numbers. ``refused``: pools of the holder
    of the first refusal whose burst it has declined now. ``unshared``: providers whose largest shares an
    operator overrides.
    """

    policy_version: str
    at_ms: int
    demand: tuple[float, ...]
    held: tuple[Split, ...]
    usable: tuple[float, ...]
    committed: tuple[float, ...]
    grade: tuple[int, ...]
    group_usable: tuple[float, ...]
    refused: tuple[int, ...] = ()
    unshared: tuple[int, ...] = ()


class Target(Struct, frozen=True, array_like=True):
    """The share of one route that each pool should carry; with ``shed`` they sum to one million.

    ``route`` is its number among the policy's routes. A route without load has no target.
    """

    route: int
    pools: tuple[int, ...]
    weights: tuple[int, ...]
    shed: int = 0


class Shortfall(Struct, frozen=True, array_like=True):
    """Critical load that has no lawful room when ``lost`` (a provider or another failure domain) is lost.

    ``geographies``: where that load may go at all. ``routes`` are named ``workload/origin``.
    """

    lost: str
    geographies: tuple[str, ...]
    routes: tuple[str, ...]
    units_per_s: float


class Marginal(Struct, frozen=True, array_like=True):
    """A limit that binds: one unit/s more of it would improve the programme by ``worth`` cost points, and
    what that would buy. ``limit`` is a pool or a quota group."""

    limit: str
    worth: float
    relieves: Relief


class Plan(Struct, frozen=True):
    """Where all load should be. ``inputs`` is the digest of the problem that it answers.

    ``met`` and ``unmet`` name the losses that critical load survives as planned, and those it does not, with
    ``shortfalls`` saying where. Providers are always inside the programme; ``screened`` other failure domains
    were looked at afterwards and ``added`` of them joined it because they were not survived.
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

    def is_fresh(self, policy_version: str, fresh_ms: int, now_ms: int) -> bool:
        """Whether the plan may guide moves: made under this policy, and no more than ``fresh_ms`` ago."""
        return self.policy_version == policy_version and now_ms - self.made_ms <= fresh_ms
