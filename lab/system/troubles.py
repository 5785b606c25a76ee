"""What befalls several things of a world at once, or one again and again: drawn by kind, as occurrences.

A failure domain of the policy (an edge, an identity system, a model family) fails in all its pools. A network
that clients share takes all of them away, a prober whose key has expired calls every pool a faulty one. A
source flaps, the only source of capacity dies, the load comes back all at once after an outage, and operators
give orders in the middle of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import NamedTuple

from controller.core.policy.policy import Policy
from lab.sim.spec import Kind, Occurrence

COUNTS = (0, 1, 1, 2, 3)
FLAPS, FLAP_S = 5, 2
SURGE = 3.0
HALF, LUMP = 0.5, 3.0


class Scene(NamedTuple):
    """What trouble is drawn from: it lasts from ``at_s`` for ``for_s`` seconds."""

    random: Random
    policy: Policy
    demand: Mapping[str, float]
    clients: int
    at_s: int
    for_s: int

    def during(self, kind: Kind, target: str, value: float = 0.0, word: str = "") -> Occurrence:
        """Something that lasts as long as the trouble."""
        return Occurrence(kind, self.at_s, target, value=value, word=word, for_s=self.for_s)


def troubles(
    random: Random,
    policy: Policy,
    demand: Mapping[str, float],
    clients: int,
    first_s: int,
    last_s: int,
) -> list[Occurrence]:
    """Some troubles, each of them over at ``last_s``."""
    occurrences: list[Occurrence] = []
    for _ in range(random.choice(COUNTS)):
        at_s = random.randint(first_s, last_s - 2)
        for_s = min(random.choice((3, 8, 20, 60)), last_s - at_s)
        scene = Scene(random, policy, demand, clients=clients, at_s=at_s, for_s=for_s)
        occurrences += random.choice(KINDS)(scene)
    return occurrences


def _domain(scene: Scene) -> Iterator[Occurrence]:
    """A failure domain is lost: an edge network, an identity system, a family of models."""
    words = {"edge": ("connect", "timeout"), "identity": ("auth",), "model": ("server_error", "not_found")}
    domains = sorted({domain for pool in scene.policy.pools for domain in pool.domains})
    if not domains:
        return
    domain = scene.random.choice(domains)
    word = scene.random.choice(words.get(domain.split("-")[0], ("server_error",)))
    for pool in scene.policy.pools:
        if domain in pool.domains:
            yield scene.during("errors", pool.id, 1.0, word)


def _shared_network(scene: Scene) -> Iterator[Occurrence]:
    """Clients behind one network that is broken."""
    for number in range(scene.random.randint(1, scene.clients)):
        yield scene.during("own_network", f"client-{number}")


def _expired_key(scene: Scene) -> Iterator[Occurrence]:
    yield scene.during("lying_probe", "*", word="auth")


def _flapping(scene: Scene) -> Iterator[Occurrence]:
    """A pool, or what a prober says of it, changes every few seconds."""
    pool = scene.random.choice(scene.policy.pools).id
    kind: Kind = scene.random.choice(("errors", "lying_probe"))
    for number in range(FLAPS):
        at_s = scene.at_s + 2 * FLAP_S * number
        if at_s + FLAP_S <= scene.at_s + scene.for_s:
            yield Occurrence(kind, at_s, pool, value=1.0, word="server_error", for_s=FLAP_S)


def _dying_fleet(scene: Scene) -> Iterator[Occurrence]:
    """The one source of capacity is silent."""
    yield scene.during("silence", "fleet")


def _herd(scene: Scene) -> Iterator[Occurrence]:
    """A provider is lost, and when it is back all that waited comes at once."""
    provider = scene.random.choice(scene.policy.providers).id
    back_s = scene.at_s + max(scene.for_s // 2, 1)
    yield Occurrence("errors", scene.at_s, provider, value=1.0, word="connect", for_s=back_s - scene.at_s)
    for route, units in sorted(scene.demand.items()):
        if units and back_s < scene.at_s + scene.for_s:
            left_s = scene.at_s + scene.for_s - back_s
            yield Occurrence("demand", back_s, route, value=units * SURGE, for_s=left_s)


def _lump(scene: Scene) -> Iterator[Occurrence]:
    """Capacity comes in a lump, or half of it is taken away, also of a quota group."""
    factor = scene.random.choice((HALF, LUMP))
    pool = scene.random.choice(scene.policy.pools)
    yield scene.during("capacity", pool.id, pool.limit_units_per_s * factor)
    if scene.policy.quota_groups and factor == HALF:
        group = scene.random.choice(scene.policy.quota_groups)
        yield scene.during("group_capacity", group.id, group.limit_units_per_s * factor)


def _orders(scene: Scene) -> Iterator[Occurrence]:
    """An operator evacuates, practises, pins, moves a workload, or changes a provider's mode."""
    random = scene.random
    pool = random.choice(scene.policy.pools).id
    kind: Kind = random.choice(("evacuate", "drill", "pin", "failover", "mode"))
    if kind in ("evacuate", "drill"):
        yield scene.during(kind, "/".join(pool.split("/")[: random.choice((1, 2, 3))]))
    elif kind == "mode":
        yield scene.during(kind, pool.split("/")[0], word=random.choice(("observe", "recommend", "act")))
    else:
        yield scene.during(kind, pool, word=random.choice(scene.policy.workloads).id)


KINDS: tuple[Callable[[Scene], Iterator[Occurrence]], ...] = (
    _domain, _domain, _shared_network, _expired_key, _flapping, _dying_fleet, _herd, _lump, _orders, _orders,
)  # fmt: skip
