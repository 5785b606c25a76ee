"""Feeds in the shapes of the real ones, made of what is true. The same seed gives the same bytes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from controller.collect.collector import Stamp
from controller.collect.feeds.azure import AzureStatus
from controller.collect.feeds.google import GoogleStatus
from controller.collect.feeds.oracle import OracleStatus
from controller.collect.feeds.status_feed import StatusFeed
from controller.collect.feeds.statusio import StatusIo
from controller.collect.feeds.statuspage import Statuspage
from tests.unit.controller.collect.feeds.cloud_feeds import azure, google, oracle
from tests.unit.controller.collect.feeds.hosted_feeds import statusio, statuspage
from tests.unit.controller.collect.feeds.truths import NOW_MS, OTHER_PRODUCTS, Ill, Truth


class Shape(NamedTuple):
    """One kind of feed: how it is written, the collector that reads it, and the names that the two share.

    ``places``: the feed's names of regions -> regions. ``has_windows``: whether it announces maintenance with
    times."""

    write: Callable[[Truth, random.Random], bytes]
    feed: StatusFeed
    product: str
    places: dict[str, str]
    has_windows: bool = False


def _shape(
    write: Callable[[Truth, random.Random], bytes],
    cls: type[StatusFeed],
    provider: str,
    *,
    product: str,
    places: dict[str, str],
    has_windows: bool = False,
) -> Shape:
    feed = cls(
        name=f"status-{provider}",
        url="https://status.example.com/feed",
        provider=provider,
        regions={name: (region,) for name, region in places.items()},
        products={product: ()},
    )
    return Shape(write, feed, product, places=places, has_windows=has_windows)


SHAPES = {
    "google": _shape(
        google, GoogleStatus, "gcp", product="Vertex AI",
        places={"us-central1": "us-central1", "europe-west4": "europe-west4"},
    ),
    "azure": _shape(
        azure, AzureStatus, "azure", product="Azure OpenAI Service",
        places={"Sweden Central": "swedencentral", "East US": "eastus", "East US 2": "eastus2"},
    ),
    "oracle": _shape(
        oracle, OracleStatus, "oci", product="Generative AI",
        places={"us-chicago-1": "us-chicago-1", "uk-london-1": "uk-london-1"},
    ),
    "statusio": _shape(
        statusio, StatusIo, "coreweave", product="GPU Compute",
        places={"US-EAST-04": "us-east-04", "EU-NORTH-1": "eu-north-1"}, has_windows=True,
    ),
    "statuspage": _shape(
        statuspage, Statuspage, "acme", product="Inference API",
        places={"US East": "us-east", "Europe": "europe"}, has_windows=True,
    ),
}  # fmt: skip


def stamp(shape: Shape, now_ms: int = NOW_MS) -> Stamp:
    """A stamp of the shape's own collector."""
    return Stamp(shape.feed.name, "here", sequence=1, now_ms=now_ms)


def truth_of(shape: Shape, rng: random.Random) -> Truth:
    """One outage or degradation of the mapped product in mapped regions, and some that concern nobody."""
    regions = rng.sample(sorted(shape.places), rng.randint(1, len(shape.places)))
    where = ("global",) if rng.random() < 0.1 else tuple(regions)
    ill = [Ill(rng.choice(("outage", "degraded")), shape.product, where, text=f"incident {rng.random()}")]
    if rng.random() < 0.3:
        ill.append(Ill("outage", OTHER_PRODUCTS[0], (rng.choice(sorted(shape.places)),), text="other"))
    return Truth(tuple(ill))
