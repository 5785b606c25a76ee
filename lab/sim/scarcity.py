"""How well the planner does where there is too little for all, against somebody who knows everything.

Four worlds: a provider is lost for long while demand is 1.3 times as high, the same while the other pools
serve less than is stated, a crowd comes at once, and one model fails at several pools. Reports arrive up to
2.5 s late and demand varies. The clairvoyant knows demand and what each pool really serves in this very
second, and deals out all of it, the most critical first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from controller.core.policy.policy import Origin, Policy, Pool, Provider, Source, Workload
from lab.sim.contracts import RANKS, Contracts, contracts_of
from lab.sim.flow import Claimant, most_served
from lab.sim.run import Simulation
from lab.sim.spec import FuzzWorld, Occurrence
from lab.sim.splits import movement
from tieline.table import CRITICALITIES, MILLION, ModelOffer, RouteTable

WORKLOADS = ("chat", "api", "batch", "bulk")
SHARES = (0.3, 0.3, 0.25, 0.15)
POOLS = (
    ("azure/eu/gpt", 2_000.0), ("azure/us/gpt", 2_000.0), ("gcp/eu/gpt", 1_500.0), ("gcp/us/gpt", 1_500.0),
    ("oci/us/gpt", 1_000.0), ("coreweave/eu/gpt", 1_000.0),
)  # fmt: skip
SHORT = {"gcp/eu/gpt": 0.75, "oci/us/gpt": 0.6}  # what they serve, of what is stated
LONG_OUTAGE, SHORT_OUTAGE, CROWD, ONE_MODEL = range(4)  # places in ``worlds``
CLIENTS = 20
WARM_S = 60  # the first table settles before anything is counted


class Figures(NamedTuple):
    """What came of a world. ``served`` and ``best`` by workload: shares of demand, the planner's and the
    clairvoyant's. ``moved``: how often all load changed its place, as a multiple of it."""

    world: str
    publications: int
    urgent: int
    moved: float
    served: dict[str, float]
    best: dict[str, float]

    def lines(self) -> Iterator[str]:
        """For people."""
        tables = f"{self.publications} tables, {self.urgent} urgent"
        yield f"{self.world}: {tables}, all load moved {self.moved:.1f} times"
        for name in (*WORKLOADS, "all"):
            yield f"  {name:6} served {self.served[name]:8.3%}   clairvoyant {self.best[name]:8.3%}"


def worlds(minutes: int = 40, *, planned: bool = True) -> tuple[FuzzWorld, ...]:
    """The four worlds; ``planned``: the dispatch guides moves by choice."""
    seconds = minutes * 60
    surge, short_surge = (
        tuple(
            Occurrence("demand", 300, target=f"{name}/{place}", value=1.3 * total * share / 2)
            for name, share in zip(WORKLOADS, SHARES, strict=True)
            for place in ("eu", "us")
        )
        for total in (3_850.0, 3_260.0)
    )
    crowd = tuple(
        Occurrence("demand", at_s, target=f"chat/{place}", value=6_000.0 * 0.3 / 2 * factor)
        for at_s, factor in ((300, 1.4), (303, 1.8), (306, 2.3), (900, 1.0), (1_200, 2.3), (1_500, 1.0))
        for place in ("eu", "us")
    )
    ill = (
        Occurrence("errors", 120, target="azure/eu/gpt", value=0.3, word="server_error", for_s=seconds),
        Occurrence("serves", 140, target="azure/us/gpt", value=800.0, for_s=seconds),
        Occurrence("serves", 160, target="gcp/us/gpt", value=450.0, for_s=seconds),
    )
    outage = Occurrence("errors", 120, target="azure", value=1.0, word="connect", for_s=seconds)
    name = "planned" if planned else "merit order"
    return (
        _world(f"long outage, {name}", 3_850.0, (outage, *surge), seconds, planned),
        _world(
            f"long outage of pools that serve less than stated, {name}",
            3_260.0,
            (outage, *short_surge),
            seconds,
            planned,
            SHORT,
        ),
        _world(f"flash crowd, {name}", 6_000.0, crowd, seconds, planned),
        _world(f"one model, {name}", 4_600.0, ill, seconds, planned),
    )


def measure(world: FuzzWorld) -> Figures:
    """Runs a world and adds up what was served."""
    simulation = Simulation(world)
    contracts = contracts_of(msgspec.to_builtins(world.policy))
    sums = {kind: dict.fromkeys((*WORKLOADS, "all"), 0.0) for kind in ("wanted", "served", "best")}
    publications = urgent = 0
    moved = 0.0
    for second in range(world.seconds):
        facts = simulation.tick(second)
        if second < WARM_S:
            continue
        for route, units in simulation.outcome.wanted.items():
            _add(sums["wanted"], route, units)
            _add(sums["served"], route, simulation.outcome.served.get(route, 0.0))
        for name, units in _clairvoyant(simulation, contracts).items():
            _add(sums["best"], name, units)
        if facts.before is not None:
            publications, urgent = publications + 1, urgent + facts.urgent
            moved += _moved_share(facts.before, facts.table, dict(facts.demand))
    wanted = sums["wanted"]
    return Figures(
        world.seed, publications, urgent, moved=moved,
        served={name: sums["served"][name] / wanted[name] for name in wanted},
        best={name: sums["best"][name] / wanted[name] for name in wanted},
    )  # fmt: skip


def _add(sums: dict[str, float], route: str, units: float) -> None:
    sums[route.split("/")[0]] += units
    sums["all"] += units


def _clairvoyant(simulation: Simulation, contracts: Contracts) -> dict[str, float]:
    """By workload: the most that could have been served in this second."""
    natures = simulation.weather.natures
    rooms = {pool: nature.serves * (1 - nature.errors) for pool, nature in natures.items()}
    claimants = {}
    for route, units in simulation.outcome.wanted.items():
        contract = contracts.routes[route]
        pools = tuple(sorted(contract.lawful))
        claimants[route] = Claimant(contract.rank, units, pools, share_left={})
    totals = most_served(claimants, rooms, {}, {})
    return {name: totals[rank] - (totals[rank - 1] if rank else 0.0) for rank, name in enumerate(WORKLOADS)}


def _moved_share(before: RouteTable, after: RouteTable, demand: dict[str, float]) -> float:
    """Units that changed their place, of all units."""
    units = sum(
        demand.get(route, 0.0) * sum(parts for parts in changes.values() if parts > 0) / MILLION
        for route, changes in movement(before, after).items()
    )
    return units / max(sum(demand.values()), 1.0)


def _world(
    name: str,
    total: float,
    occurrences: tuple[Occurrence, ...],
    seconds: int,
    planned: bool,
    real: Mapping[str, float] = MappingProxyType({}),
) -> FuzzWorld:
    demand = {
        f"{workload}/{place}": total * share / 2
        for workload, share in zip(WORKLOADS, SHARES, strict=True)
        for place in ("eu", "us")
    }
    return FuzzWorld(
        seed=name, policy=policy(), demand=demand, occurrences=occurrences, seconds=seconds,
        shares=(1 / CLIENTS,) * CLIENTS, real={pool: real.get(pool, 1.0) for pool, _ in POOLS},
        delay_max_ms=2_500, noise=0.03, planned=planned,
    )  # fmt: skip


def policy() -> Policy:
    """Four providers, six pools, four workloads from two origins; three fifths of each pool is committed."""
    pools = tuple(
        Pool(
            name, name.split("/")[1], "https://example.invalid/v1", models=(ModelOffer("gpt", "gpt"),),
            limit_units_per_s=limit, committed_units_per_s=0.6 * limit, price_per_million_units=2.0,
            latency_ms={place: 20.0 if f"/{place}/" in name else 90.0 for place in ("eu", "us")},
        )
        for name, limit in POOLS
    )  # fmt: skip
    workloads = tuple(
        Workload(name, criticality, models=("gpt",))
        for name, criticality in zip(WORKLOADS, CRITICALITIES, strict=True)
    )
    return Policy(
        "scarcity", ("eu", "us"), (Origin("eu"), Origin("us")),
        providers=tuple(Provider(name) for name in ("azure", "gcp", "oci", "coreweave")),
        pools=pools, workloads=workloads,
        sources=(Source("prober", "probe"), Source("fleet", "fleet")),
    )  # fmt: skip


assert len(RANKS) == len(WORKLOADS)
