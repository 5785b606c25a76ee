"""What is true in a generated world: what is ill and what is planned, by product and region."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Literal, NamedTuple

NOW_MS = 1_780_000_000_000
MINUTE_MS = 60_000
Severity = Literal["outage", "degraded", "information"]
WORDS = ("we are aware", "of an issue", "and", "<b>all</b>", "&amp;", "delay\nnext", "update", "follows")
OTHER_PRODUCTS = ("Cloud Storage", "Virtual Network", "Block Volume", "Billing", "Support")
OTHER_REGIONS = ("mars-north1", "Atlantis Central", "moon-1")


class Ill(NamedTuple):
    """A product is ill in regions, by the feed's names; ``("global",)`` is everywhere."""

    severity: Severity
    product: str
    regions: tuple[str, ...]
    since_ms: int = NOW_MS - 30 * MINUTE_MS
    text: str = "requests fail"


class Planned(NamedTuple):
    """Announced maintenance of a product in a region."""

    product: str
    region: str
    starts_ms: int
    ends_ms: int
    text: str = "network work"


class Truth(NamedTuple):
    """What is true at ``now_ms``."""

    ill: tuple[Ill, ...] = ()
    planned: tuple[Planned, ...] = ()
    now_ms: int = NOW_MS


def iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="seconds")


def prose(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(3, 60)))
