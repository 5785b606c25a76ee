"""The text format of Prometheus: samples of some families, and quantiles of its histograms. Pure.

The bodies are untrusted. Only lines of the families that are asked for are parsed, and their number has a
limit. The last line must end with a line feed, as the format demands: without it the body was cut, maybe in
the middle of a number.
"""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from controller.collect.collector import UnreadableError

TEXT_TYPES = ("text/plain",)
SAMPLES_MAX = 50_000
LINE_MAX_CHARACTERS = 10_000
BLANK_FROM = 9e18  # DCGM writes numbers of this size in the place of a figure that it does not have
_AFTER_NAME = ("{", " ", "\t")


class Sample(NamedTuple):
    """One finite sample."""

    name: str
    labels: Mapping[str, str]
    value: float


def samples(body: bytes, names: Iterable[str]) -> list[Sample]:
    """The finite samples of these names, in their order. Raises ``UnreadableError`` for what is no such
    text, or has none of them."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise UnreadableError(f"the body is not UTF-8: {error.reason}") from None
    if not text.endswith("\n"):
        raise UnreadableError("the body was cut: its last line has no end")
    wanted = tuple(name + follows for name in names for follows in _AFTER_NAME)
    lines = [line for line in text.split("\n") if line.startswith(wanted)]
    if not lines:
        raise UnreadableError("the body has none of the metrics")
    if len(lines) > SAMPLES_MAX or any(len(line) > LINE_MAX_CHARACTERS for line in lines):
        raise UnreadableError(f"the body has more than {SAMPLES_MAX} samples, or a very long one")
    return _parsed(lines)


def _parsed(lines: list[str]) -> list[Sample]:
    """The samples of these lines; those that are not finite are left out."""
    try:
        families = list(text_string_to_metric_families("\n".join(lines) + "\n"))
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableError(f"the body is not the text format of Prometheus: {error}"[:300]) from None
    return [
        Sample(entry.name, entry.labels, entry.value)
        for family in families
        for entry in family.samples
        if math.isfinite(entry.value) and abs(entry.value) < BLANK_FROM
    ]


def total(entries: Iterable[Sample], name: str, labels: Mapping[str, str]) -> float | None:
    """The sum of the samples of a name that have these labels; None if there is none."""
    values = [
        sample.value
        for sample in entries
        if sample.name == name and all(sample.labels.get(key) == value for key, value in labels.items())
    ]
    return sum(values) if values else None


Buckets = dict[float, float]
"""Cumulative counts of a histogram by the upper bounds of its buckets."""


def buckets(entries: Iterable[Sample], name: str) -> Buckets:
    """The buckets of the histogram ``name``, summed over its other labels; one without a bound is none."""
    counts: Buckets = {}
    for sample in entries:
        if sample.name == f"{name}_bucket":
            try:
                bound = float(sample.labels.get("le", ""))
            except ValueError:
                continue
            if not math.isnan(bound):
                counts[bound] = counts.get(bound, 0.0) + sample.value
    return counts


def grown(now: Buckets, before: Buckets) -> Buckets | None:
    """What was counted between two readings of one histogram; None if it was reset or has other buckets."""
    if now.keys() != before.keys() or any(now[bound] < before[bound] for bound in now):
        return None
    return {bound: now[bound] - before[bound] for bound in now}


def quantile_bound(counts: Buckets, share: float) -> float | None:
    """The upper bound of the bucket in which the quantile lies, infinite for the last; None without
    observations. It is never below the quantile."""
    bounds = sorted(counts)
    count = counts[bounds[-1]] if bounds else 0.0
    if count <= 0:
        return None
    return next((bound for bound in bounds if counts[bound] >= share * count), bounds[-1])
