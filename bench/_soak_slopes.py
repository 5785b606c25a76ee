"""What an hour of samples says about thirty days, and whether that stays within the documented limits. Pure.

The slope is Theil and Sen's, the median of the slopes between all pairs of cycles, so that a single high
cycle does not bend it. A cycle stands for itself by the median of its samples at rest: its first part has an
incident, whose retries and open connections are no growth, and the samples of one cycle resemble each other.
A slope counts as growth only where its interval of 95 % (Sen's) lies above zero; what goes up and down is
projected flat. Three questions are asked, each of other measures:

- what a process or server occupies (memory, descriptors, connections): its level in the end, plus its growth
  over 30 days;
- what a log or topic is given (bytes, lines): its rate over as long as it is kept;
- what the last cycle has more than the first one (descriptors, threads, connections): what was left behind.

The limits are those of docs/bounds.md. Those of memory are read from the Helm chart, where they are in force.
"""

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bench._frame import Case
from tieline.topics import HOUR_MS, MIB, Topic, Topics

HOURS_AHEAD = 30 * 24
HOURS_PER_DAY = 24
CYCLES_MIN = 3
NORMAL_95 = 1.96
CHART = Path(__file__).parents[1] / "deploy" / "helm" / "tieline" / "values.yaml"
KINDS = {"controller": "controller", "web": "web", "prober": "proberResources", "notify": "notify"}
COLLECT_LIKE = "proberResources"  # the chart gives collectors the same
APPLICATION_MIB = 512.0  # of an application with three clients; its own code is most of it
OCCUPIED_MAX = {
    "descriptors": 512.0,
    "threads": 64.0,
    "connections": 128.0,
    "series": 5_000.0,
    "kafka connections": 256.0,
    "redis connections": 256.0,
    "redis memory": 256.0,
    "redis keys": 10_000.0,
}
LOG_MIB_PER_DAY_MAX = 64.0
LOG_LINES_PER_MINUTE_MAX = 60.0
COMPACTED_MIB_MAX = 1_024.0
LEFT_BEHIND_MAX = {"descriptors": 4.0, "threads": 2.0, "connections": 4.0}
UNITS = {"memory": "MiB", "redis memory": "MiB", "log": "MiB", "topic": "MiB"}
_BINARY = {"Ki": 1 / 1024, "Mi": 1.0, "Gi": 1024.0}


class Sample(NamedTuple):
    """One value. ``at_h``: hours since the start. ``cycle`` counts from 0. ``at_rest``: long enough after the
    incident of its cycle."""

    at_h: float
    value: float
    cycle: int
    at_rest: bool


Series = Mapping[tuple[str, str], Sequence[Sample]]  # by subject (a process, a topic) and measure


class Slope(NamedTuple):
    """Per hour: the median of all slopes, and the least that it is with 95 %."""

    per_hour: float
    least_per_hour: float

    @property
    def growth_per_hour(self) -> float:
        """The slope where it is certain that there is one; else 0."""
        return self.per_hour if self.least_per_hour > 0 else 0.0


def slope_of(samples: Sequence[Sample]) -> Slope:
    """Theil and Sen's slope through the medians of the cycles. Raises ValueError for fewer than three."""
    points = _medians(samples)
    if len(points) < CYCLES_MIN:
        raise ValueError("too few cycles for a slope")
    slopes = sorted(
        (after[1] - before[1]) / (after[0] - before[0]) for before, after in combinations(points, 2)
    )
    count = len(points)
    spread = NORMAL_95 * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    least = max(0, math.floor((len(slopes) - spread) / 2))
    return Slope(statistics.median(slopes), slopes[least])


def _medians(samples: Sequence[Sample]) -> list[tuple[float, float]]:
    """(Hours, value) of each cycle."""
    cycles: dict[int, list[Sample]] = {}
    for sample in samples:
        cycles.setdefault(sample.cycle, []).append(sample)
    return [
        (statistics.median(s.at_h for s in members), statistics.median(s.value for s in members))
        for members in cycles.values()
    ]


def in_thirty_days(samples: Sequence[Sample]) -> float:
    """Its level in the last cycle, and its growth over 30 days."""
    return _medians(samples)[-1][1] + slope_of(samples).growth_per_hour * HOURS_AHEAD


def left_behind(samples: Sequence[Sample]) -> float:
    """By how much the median of the last cycle is above that of the first one; 0 for a single cycle."""
    first, last = samples[0].cycle, samples[-1].cycle
    medians = [statistics.median(s.value for s in samples if s.cycle == cycle) for cycle in (first, last)]
    return medians[1] - medians[0]


def memory_limits_mib() -> dict[str, float]:
    """The limit of each kind of process, as the chart gives it."""
    values: dict[str, Any] = yaml.safe_load(CHART.read_text())
    resources = {kind: values[key] for kind, key in {**KINDS, "collect": COLLECT_LIKE}.items()}
    limits = {kind: part.get("resources", part)["limits"]["memory"] for kind, part in resources.items()}
    return {"app": APPLICATION_MIB, **{kind: _mib(text) for kind, text in limits.items()}}


def _mib(quantity: str) -> float:
    match = re.fullmatch(r"(\d+)(Ki|Mi|Gi)", quantity)
    if match is None:
        raise ValueError(f"{CHART}: {quantity!r} is no memory in Ki, Mi or Gi")
    return int(match[1]) * _BINARY[match[2]]


def kept_hours(topic: Topic) -> float:
    """For how long a record of the topic lies on the disk at most: its retention, or the time until it is
    compacted, and the time until its segment ends."""
    config = topic.config
    kept_ms = int(config.get("retention.ms", config.get("max.compaction.lag.ms", "0")))
    return (kept_ms + int(config["segment.ms"])) / HOUR_MS


def topic_limit_mib(topic: Topic) -> float:
    """What the topic may take on one broker: its bytes and a segment, for each partition; what is compacted
    has no limit in Kafka, and the documented one here."""
    config = topic.config
    if "retention.bytes" not in config:
        return COMPACTED_MIB_MAX
    return topic.partitions * (int(config["retention.bytes"]) + int(config["segment.bytes"])) / MIB


def cases_of(series: Series, namespace: str) -> list[Case]:
    """Everything that was measured against its limit, process by process."""
    topics = {topic.name: topic for topic in Topics(namespace).all()}
    memory_mib = memory_limits_mib()
    cases: list[Case] = []
    for (subject, measure), samples in sorted(series.items()):
        calm = [sample for sample in samples if sample.at_rest]
        if len({sample.cycle for sample in calm}) < CYCLES_MIN:
            continue
        name = f"{subject}: {measure}"
        cases.append(Case(name, UNITS.get(measure, "count"), [sample.value for sample in samples]))
        if measure in ("log", "log lines"):
            cases.append(_logged(name, measure, calm))
        elif measure == "topic":
            cases += _topic(name, topics[subject], calm)
        else:
            limit = memory_mib[kind_of(subject)] if measure == "memory" else OCCUPIED_MAX[measure]
            cases += _occupied(name, measure, limit, calm)
    return cases


def kind_of(subject: str) -> str:
    """``controller-1`` -> ``controller``."""
    return subject.partition("-")[0]


def _occupied(name: str, measure: str, limit: float, calm: Sequence[Sample]) -> list[Case]:
    unit = UNITS.get(measure, "count")
    slope = slope_of(calm)
    cases = [
        Case(f"{name}, slope", f"{unit}/h", [slope.per_hour]),
        Case(f"{name}, slope at least", f"{unit}/h", [slope.least_per_hour]),
        Case(f"{name}, in 30 days", unit, [in_thirty_days(calm)], {"p50": limit}),
    ]
    if (most := LEFT_BEHIND_MAX.get(measure)) is not None:
        cases.append(Case(f"{name}, left behind", unit, [left_behind(calm)], {"p50": most}))
    return cases


def _logged(name: str, measure: str, calm: Sequence[Sample]) -> Case:
    per_hour = slope_of(calm).per_hour
    if measure == "log":
        return Case(f"{name}, a day", "MiB", [HOURS_PER_DAY * per_hour], {"p50": LOG_MIB_PER_DAY_MAX})
    return Case(f"{name}, a minute", "lines", [per_hour / 60], {"p50": LOG_LINES_PER_MINUTE_MAX})


def _topic(name: str, topic: Topic, calm: Sequence[Sample]) -> list[Case]:
    """The rate is that of the whole run, as a topic that has lost segments would show none.

    Where no promise needs the whole retention, Kafka may delete the oldest records before, once the topic has
    its bytes. Then it takes no more than these, and for how long records are kept is only reported.
    """
    largest = max(sample.value for sample in calm)
    per_hour, kept_h, limit = max(0.0, slope_of(calm).per_hour), kept_hours(topic), topic_limit_mib(topic)
    projected = max(largest, per_hour * kept_h)
    if topic.keeps or projected <= limit:
        return [Case(f"{name}, as long as it is kept", "MiB", [projected], {"p50": limit})]
    return [
        Case(f"{name}, as long as it is kept", "MiB", [max(largest, limit)], {"p50": limit}),
        Case(f"{name}, kept for", "days", [limit / per_hour / HOURS_PER_DAY]),
    ]
