"""How good decisions are: `script/bench quality`, on six real incidents in virtual time.

Tieline runs beside what people use today (bench/_quality_routers.py, bench/_quality_priority.py) on the same
frozen worlds (bench/_quality_worlds.py), and both beside the optimum of somebody who knows the future
(bench/_quality_figures.py says what each figure is). Everything is deterministic: one run is enough, and
the machine's load changes nothing. docs/quality.md has the table, the picture and what follows.

Tieline runs twice: where a source states the limits of pools, as `tieline collect` does, and under the
policies of the replayed incidents as they are, which have no such source, so that the limits in the policy
count. The promises hold for both.

The promises: no violation; critical demand served within one percentage point of the best other product in
each incident; in total more than each of them; and 95 % of the optimum on the mean of the incidents.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from statistics import fmean

from bench._frame import Case, run
from bench._quality_figures import Bound, Quality, bound_of, quality_of, router_seconds, tieline_seconds
from bench._quality_priority import PrioritySpill
from bench._quality_routers import CoolDown, Router, StaticWeights
from bench._quality_worlds import NAMES, IncidentWorld, incident_world, with_capacity_source
from controller.core.policy.policy import Policy

TIELINE = "Tieline"
UNSTATED = "Tieline, capacity not stated"
TIELINES = (UNSTATED, TIELINE)
OPTIMUM = "optimum"
ROUTERS: dict[str, Callable[[Policy], Router]] = {
    "static weights": StaticWeights,
    "cool-down": CoolDown,
    "priority spill": PrioritySpill,
}
UNITS = {
    "critical": "% critical served", "total": "% served", "overload_s": "s overload",
    "violations": "violations", "burst_money": "$ burst", "unused_money": "$ unused", "moved": "x load moved",
    "leave_s": "s to leave", "return_s": "s to return",
}  # fmt: skip
PERCENT = ("critical", "total")
CRITICAL_SLACK = 1.0  # percentage points
OF_OPTIMUM = 95.0


def measure() -> Iterator[Case]:
    """The six incidents as they were frozen."""
    yield from compare(map(incident_world, NAMES))


def compare(incidents: Iterable[IncidentWorld]) -> Iterator[Case]:
    """All figures by incident and product, then the promises over all incidents."""
    served: dict[str, list[float]] = {}
    for incident in incidents:
        figures = {
            router: quality_of(incident, router_seconds(incident.world, build(incident.world.policy)))
            for router, build in ROUTERS.items()
        }
        figures[UNSTATED] = quality_of(incident, tieline_seconds(incident.world))
        figures[TIELINE] = quality_of(incident, tieline_seconds(with_capacity_source(incident.world)))
        bound = bound_of(incident)
        yield from incident_cases(incident.world.seed, figures, bound)
        for product, quality in figures.items():
            served.setdefault(product, []).append(100 * quality.total)
        served.setdefault(OPTIMUM, []).append(100 * bound.total)
    yield from mean_cases({product: fmean(percents) for product, percents in served.items()})


def incident_cases(name: str, figures: Mapping[str, Quality], bound: Bound) -> Iterator[Case]:
    """One case for each figure; what never happened has none. Tieline's carry the promises."""
    best = max(100 * figures[router].critical for router in ROUTERS)
    for product, quality in figures.items():
        promises = {"critical": best - CRITICAL_SLACK, "violations": 0.0} if product in TIELINES else {}
        for field, unit in UNITS.items():
            value = getattr(quality, field)
            if value is None:
                continue
            target = {"p50": promises[field]} if field in promises else {}
            amount = 100 * value if field in PERCENT else float(value)
            yield Case(f"{name}, {product}", unit, [amount], target, at_least=field == "critical")
    yield Case(f"{name}, {OPTIMUM}", UNITS["critical"], [100 * bound.critical])
    yield Case(f"{name}, {OPTIMUM}", UNITS["total"], [100 * bound.total])


def mean_cases(means: Mapping[str, float]) -> Iterator[Case]:
    """What was served on the mean of the incidents, in percent of demand, and Tieline's of the optimum."""
    best = max(means[router] for router in ROUTERS)
    for product, percent in means.items():
        target = {"p50": best} if product in TIELINES else {}
        yield Case(f"mean, {product}", UNITS["total"], [percent], target, at_least=True)
    for product in TIELINES:
        share = 100 * means[product] / means[OPTIMUM]
        yield Case(f"mean, {product}", "% of the optimum", [share], {"p50": OF_OPTIMUM}, at_least=True)


if __name__ == "__main__":
    sys.exit(run("quality", measure))
