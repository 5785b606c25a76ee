"""What befalls a world: drawn by kind, with a place, a time and a length.

Most of it happens in the first two thirds, so that the end shows whether the table comes to rest.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from controller.core.policy.policy import Policy, Pool
from lab.sim.spec import Kind, Occurrence

FIRST_S = 40
COUNT_MAX = 12
LENGTHS_S = (10, 30, 60, 120)
BROKEN = ("server_error", "server_error", "timeout", "connect", "auth", "not_found")


class Draw(NamedTuple):
    """What an occurrence is drawn from."""

    random: Random
    policy: Policy
    demand: dict[str, float]
    clients: int

    @property
    def pool(self) -> Pool:
        """Any pool."""
        return self.random.choice(self.policy.pools)

    def scope(self) -> str:
        """A pool, a region or a provider."""
        return "/".join(self.pool.id.split("/")[: self.random.choice((1, 2, 3, 3))])

    def source(self, *kinds: str) -> str:
        """A registered source of one of these kinds, or one that does not exist."""
        return self.random.choice(
            [source.id for source in self.policy.sources if source.kind in kinds] or ["none"]
        )


Fields = dict[str, Any]
Maker = Callable[[Draw], Fields]


def _demand(draw: Draw) -> Fields:
    route = draw.random.choice(sorted(draw.demand))
    units = draw.demand[route] or 100.0
    return {"target": route, "value": round(units * draw.random.choice((0.0, 0.5, 1.5, 2.0, 3.0))) * 1.0}


def _errors(draw: Draw) -> Fields:
    share = draw.random.choice((0.07, 0.3, 0.6, 1.0, 1.0))
    return {"target": draw.scope(), "value": share, "word": draw.random.choice(BROKEN)}


def _serves(draw: Draw) -> Fields:
    pool = draw.pool
    return {"target": pool.id, "value": pool.limit_units_per_s * draw.random.choice((0.3, 0.6, 0.8))}


def _capacity(draw: Draw) -> Fields:
    pool = draw.pool
    return {"target": pool.id, "value": pool.limit_units_per_s * draw.random.choice((0.0, 0.3, 0.5, 2.0))}


def _override(draw: Draw) -> Fields:
    guard = draw.random.choice(("fresh_capacity", "provider_share", "sources_unheard", "providers_lost"))
    of_table = guard in ("sources_unheard", "providers_lost")
    return {"target": "*" if of_table else draw.pool.provider, "word": guard}


MAKERS: dict[Kind, tuple[int, Maker]] = {
    "demand": (6, _demand),
    "errors": (8, _errors),
    "hang": (2, lambda draw: {"target": draw.scope()}),
    "slow": (1, lambda draw: {"target": draw.scope(), "value": 5_000.0}),
    "serves": (4, _serves),
    "group_serves": (1, lambda draw: {"target": "quota", "value": draw.random.choice((100.0, 300.0))}),
    "capacity": (4, _capacity),
    "group_capacity": (2, lambda draw: {"target": "quota", "value": draw.random.choice((100.0, 300.0))}),
    "planned": (1, _capacity),
    "silence": (4, lambda draw: {"target": draw.source("probe", "fleet")}),
    "clients_silent": (2, lambda draw: {"value": draw.random.choice((0.5, 1.0))}),
    "lag": (1, lambda _: {}),
    "status": (2, lambda draw: {"target": draw.scope(), "word": draw.random.choice(("degraded", "down"))}),
    "maintenance": (2, lambda draw: {"target": draw.scope(), "value": draw.random.choice((0.0, 60.0))}),
    "declined": (1, lambda draw: {"target": draw.policy.first_refusal or draw.pool.provider}),
    "drain": (4, lambda draw: {"target": draw.scope()}),
    "freeze": (2, lambda draw: {"target": draw.random.choice(("*", draw.scope()))}),
    "verdict": (
        2,
        lambda draw: {"target": draw.scope(), "word": draw.random.choice(("healthy", "degraded", "down"))},
    ),
    "override": (1, _override),
    "approve": (1, lambda draw: {"target": draw.pool.provider}),
    "failback": (1, lambda draw: {"target": draw.pool.provider}),
    "take_over": (4, lambda _: {}),
    "own_network": (1, lambda draw: {"target": f"client-{draw.random.randrange(draw.clients)}"}),
    "lying_demand": (1, lambda draw: {"target": draw.random.choice(sorted(draw.demand)), "value": 1e9}),
    "lying_probe": (
        2,
        lambda draw: {"target": draw.scope(), "word": draw.random.choice(("server_error", "auth"))},
    ),
}
LASTING = ("demand", "capacity", "take_over")


def occurrences(
    random: Random, policy: Policy, demand: dict[str, float], seconds: int, clients: int
) -> tuple[Occurrence, ...]:
    """Up to ``COUNT_MAX`` occurrences, the earliest first."""
    draw = Draw(random, policy, demand, clients=clients)
    kinds = list(MAKERS)
    weights = [weight for weight, _ in MAKERS.values()]
    last_s = max(seconds * 2 // 3, FIRST_S + 1)
    drawn = []
    for kind in random.choices(kinds, weights, k=random.randint(1, COUNT_MAX)):
        fields = MAKERS[kind][1](draw)
        at_s = random.randint(FIRST_S, last_s)
        lasts = kind in LASTING and random.random() < 0.5
        for_s = 0 if lasts else random.choice(LENGTHS_S)
        drawn.append(Occurrence(kind, at_s, **fields, for_s=for_s))
    return tuple(sorted(drawn, key=lambda occurrence: occurrence.at_s))
