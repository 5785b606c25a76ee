"""What feeds say in tests: claims in short form, and documents that differ in one part."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any, TypeAlias

from controller.collect.collector import Findings
from controller.collect.feeds.status_feed import StatusFeed
from tests.unit.controller.collect.feeds.shapes import SHAPES, Shape, stamp
from tests.unit.controller.collect.feeds.truths import NOW_MS, Ill, Truth
from tieline.events import Statement

HOUR_MS = 3_600_000
ClaimRow: TypeAlias = tuple[str, str, str, tuple[str, ...]]
OUTAGE = "outage"


def ill_document(name: str, seed: int = 1, severity: Any = OUTAGE) -> Any:
    """The document of a feed in which the mapped product is ill in the first of its regions."""
    shape = SHAPES[name]
    truth = Truth((Ill(severity, shape.product, (next(iter(shape.places)),)),))
    return json.loads(shape.write(truth, random.Random(seed)))


def findings_of(name: str, document: Any, feed: StatusFeed | None = None, now_ms: int = NOW_MS) -> Findings:
    """What the feed's collector reads in a document."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    shape = SHAPES[name]
    return (feed or shape.feed).read((body,), stamp(shape, now_ms))


def rows(findings: Findings) -> list[ClaimRow]:
    """Kind, region, state and pools of every claim."""
    return [
        (event.kind, event.region, claim.state, claim.pools)
        for event in findings.events
        if isinstance(event, Statement)
        for claim in event.claims
    ]


def states(findings: Findings) -> dict[str, str]:
    """State by region, of claims about health."""
    return {region: state for kind, region, state, _ in rows(findings) if kind == "status"}


def changed(document: Any, change: Callable[[Any], object]) -> Any:
    """A copy with a change."""
    other = copy.deepcopy(document)
    change(other)
    return other


def first_place(shape: Shape) -> str:
    """The region of the first place that a shape maps."""
    return next(iter(shape.places.values()))
