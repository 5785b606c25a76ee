"""The worlds of `quality`: six real incidents in virtual time, under demand as a production trace had it.

In: ``examples/incidents`` (what failed and when, and a policy) and the sample of a production trace
(``examples/trace``). Out: one ``FuzzWorld`` for each incident, frozen: a test pins the digest of each, so no
setting of any product can be fitted by changing the world instead.

What is changed about an incident, and why:

- *Time*: a stretch in which nothing happens is cut to ``STRETCH_MAX_S``. Products differ while something
  changes; hours of the same would only make the differences look small.
- *Faults*: those that meet at one pool are joined to one share of failed requests, of the first fault's kind.
  A 429 stays a 429: the pool turns away that share of whatever is sent there.
- *Demand*: each route's expected demand, times what the trace brought in every ten seconds, as a multiple of
  the trace's mean. Each route begins at another place of the trace.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import NamedTuple

import msgspec
import yaml

from controller.core.policy.policy import Policy, Source
from lab.demo.examples import example
from lab.demo.incident import Happening, Incident, ScopedFault, pools_in, read
from lab.demo.trace import TraceRequest
from lab.demo.trace import read as read_trace
from lab.sim.spec import FuzzWorld, Kind, Occurrence

NAMES = (
    "azure-front-door-2025-10-29", "azure-managed-identity-2026-02-03", "azure-openai-gpt52-2026-03-09",
    "azure-openai-requests-2025-05-16", "azure-openai-sweden-2026-01-27", "gcp-service-control-2025-06-12",
)  # fmt: skip
START_S = 240  # quiet before the first happening
STRETCH_MAX_S = 420
END_S = 900  # quiet after the last one, in which load returns
BUCKET_S = 10
CLIENTS = 10
DELAY_MAX_MS = 2_500  # of the reports that Tieline decides by
RESULTS = {
    "503": "server_error", "refuse": "connect", "hang": "timeout", "401": "auth", "400": "client_error",
}  # fmt: skip


def with_capacity_source(world: FuzzWorld) -> FuzzWorld:
    """The same for an installation that runs ``tieline collect``: it states the limit of each pool.

    That is a setting of Tieline and changes nothing that befalls it. Outages of the incident are not stated.
    """
    sources = (*world.policy.sources, Source("fleet", "fleet"))
    return msgspec.structs.replace(world, policy=msgspec.structs.replace(world.policy, sources=sources))


def with_more_demand(incident: IncidentWorld, factor: float) -> IncidentWorld:
    """The same incident under ``factor`` times the demand of every moment."""
    world = incident.world
    changed = tuple(
        msgspec.structs.replace(occurrence, value=occurrence.value * factor)
        if occurrence.kind == "demand" else occurrence
        for occurrence in world.occurrences
    )  # fmt: skip
    demand = {route: units * factor for route, units in world.demand.items()}
    return incident._replace(world=msgspec.structs.replace(world, demand=demand, occurrences=changed))


def with_burst_refused(incident: IncidentWorld) -> IncidentWorld:
    """The same incident where pools give only what is committed, as far as anything is."""
    real = {
        pool.id: pool.assumed_units_per_s / pool.limit_units_per_s for pool in incident.world.policy.pools
    }
    return incident._replace(world=msgspec.structs.replace(incident.world, real=real))


class Chapter(NamedTuple):
    """One happening, the second in which it begins, and the second in which the next one begins."""

    happening: Happening
    at_s: int
    until_s: int


class IncidentWorld(NamedTuple):
    """A world, and when its incident begins and ends, in seconds."""

    world: FuzzWorld
    begins_s: int
    ends_s: int

    @property
    def digest(self) -> str:
        """Of everything that a product meets in it."""
        return blake2b(msgspec.msgpack.encode(self.world, order="deterministic"), digest_size=8).hexdigest()


def incident_world(name: str) -> IncidentWorld:
    """The world of an incident in ``NAMES``. Raises IncidentError for a file that can't be used."""
    directory = example(f"incidents/{name}")
    policy = msgspec.convert(yaml.safe_load((directory / "policy.yaml").read_text("utf-8")), Policy)
    plan = chapters(read(directory, policy))
    demand = {
        f"{workload.id}/{origin}": units
        for workload in policy.workloads
        for origin, units in workload.expected_units_per_s.items()
    }
    seconds = plan[-1].until_s
    world = FuzzWorld(
        seed=name, policy=policy, demand=demand, seconds=seconds, shares=(1 / CLIENTS,) * CLIENTS,
        occurrences=(*_demand(demand, seconds), *occurrences(plan, policy)),
        real={pool.id: 1.0 for pool in policy.pools}, delay_max_ms=DELAY_MAX_MS, planned=True,
    )  # fmt: skip
    return IncidentWorld(world, plan[0].at_s, plan[-1].at_s)


def chapters(incident: Incident) -> list[Chapter]:
    """The happenings in the seconds of the world."""
    minutes = [happening.minute for happening in incident.happenings]
    gaps_s = [min((later - minute) * 60, STRETCH_MAX_S) for minute, later in pairwise(minutes)]
    at_s, plan = START_S, []
    for happening, gap_s in zip(incident.happenings, [*gaps_s, END_S], strict=True):
        plan.append(Chapter(happening, at_s, at_s + gap_s))
        at_s += gap_s
    return plan


def occurrences(plan: Sequence[Chapter], policy: Policy) -> Iterator[Occurrence]:
    """What befalls the pools, and what status pages claim, in the order of time."""
    faults: dict[str, tuple[ScopedFault, ...]] = {}
    factors: dict[str, float] = {}
    claims: dict[str, Occurrence] = {}
    limits = {pool.id: pool.limit_units_per_s for pool in policy.pools}
    for happening, at_s, until_s in plan:
        for scope in happening.clear:
            faults.update(dict.fromkeys(pools_in(policy, scope), ()))
        for fault in happening.faults:
            for pool in {pool: None for scope in fault.on for pool in pools_in(policy, scope)}:
                faults[pool] = (*faults.get(pool, ()), fault)
        for scope, factor in happening.capacity.items():
            factors.update(dict.fromkeys(pools_in(policy, scope), factor))
        for claim in happening.claims:
            scope = claim.provider if claim.region == "*" else f"{claim.provider}/{claim.region}"
            claims[scope] = Occurrence("status", at_s, target=scope, word=claim.state)
        for pool in sorted(faults):
            yield from _joined(pool, faults[pool], at_s, until_s - at_s)
        for pool, factor in sorted(factors.items()):
            if factor < 1:
                yield Occurrence(
                    "serves", at_s, target=pool, value=factor * limits[pool], for_s=until_s - at_s
                )
        for accusation in claims.values():
            if accusation.word != "operational":
                yield msgspec.structs.replace(accusation, at_s=at_s, for_s=until_s - at_s)


def _joined(pool: str, faults: Sequence[ScopedFault], at_s: int, for_s: int) -> Iterator[Occurrence]:
    """All faults of a pool as one share of failures and one of 429."""
    succeeding: dict[Kind, float] = {"errors": 1.0, "throttle": 1.0}
    for fault in faults:
        succeeding["throttle" if fault.kind == "429" else "errors"] *= 1 - fault.share
    words = [RESULTS[fault.kind] for fault in faults if fault.kind != "429"]
    for kind, share in succeeding.items():
        if share < 1:
            word = words[0] if kind == "errors" else ""
            yield Occurrence(kind, at_s, target=pool, value=round(1 - share, 6), word=word, for_s=for_s)


def _demand(demand: dict[str, float], seconds: int) -> Iterator[Occurrence]:
    factors = bucket_factors(read_trace())
    for number, (route, units) in enumerate(demand.items()):
        first = number * len(factors) // len(demand)
        for at_s in range(0, seconds, BUCKET_S):
            factor = factors[(first + at_s // BUCKET_S) % len(factors)]
            yield Occurrence("demand", at_s, target=route, value=round(units * factor, 3), for_s=BUCKET_S)


def bucket_factors(requests: Sequence[TraceRequest]) -> list[float]:
    """The tokens that arrived in each whole ten seconds of a trace, as a multiple of their mean."""
    sums = [0.0] * int(requests[-1].offset_s // BUCKET_S)
    for request in requests:
        bucket = int(request.offset_s // BUCKET_S)
        if bucket < len(sums):
            sums[bucket] += request.context_tokens + request.generated_tokens
    mean = sum(sums) / len(sums)
    return [tokens / mean for tokens in sums]
