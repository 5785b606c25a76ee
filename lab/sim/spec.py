"""A world as plain data: what there is, and what befalls it when. The same data gives the same run."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from controller.core.policy.policy import Policy

Kind: TypeAlias = Literal[
    "demand", "errors", "throttle", "hang", "slow", "serves", "group_serves", "capacity", "group_capacity",
    "planned", "silence", "clients_silent", "lag", "status", "maintenance", "declined", "drain", "freeze",
    "verdict", "override", "approve", "failback", "take_over", "own_network", "lying_demand", "lying_probe",
    "evacuate", "drill", "pin", "failover", "mode",
]  # fmt: skip
SILENCES: frozenset[str] = frozenset({"silence", "clients_silent", "lag"})
LIES: tuple[Kind, ...] = ("lying_demand", "lying_probe", "own_network")


class Occurrence(Struct, frozen=True, omit_defaults=True):
    """Something that happens from ``at_s`` on, for ``for_s`` seconds (0: for good).

    ``target`` is a pool or a wider scope, a route, a source, a client or a quota group; ``value`` is a share,
    units/s or seconds, ``word`` a result class, a state or a guard, as ``kind`` demands (run.py).
    """

    kind: Kind
    at_s: int
    target: str = ""
    value: float = 0.0
    word: str = ""
    for_s: int = 0

    def is_on(self, second: int) -> bool:
        """Whether it is in effect in this second."""
        return self.at_s <= second and (not self.for_s or second < self.at_s + self.for_s)


class FuzzWorld(Struct, frozen=True):
    """``demand`` by route name in units/s. ``shares``: each client's part of the load. ``delay_max_ms``: how
    late reports arrive at most. ``noise``: the share by which demand varies from second to second.
    ``planned``: the dispatch guides moves by choice. ``real``: what pools serve, as a share of their limit in
    the policy."""

    seed: str
    policy: Policy
    demand: dict[str, float]
    occurrences: tuple[Occurrence, ...]
    seconds: int
    shares: tuple[float, ...]
    real: dict[str, float]
    delay_max_ms: int = 0
    noise: float = 0.0
    planned: bool = False
