"""Six real incidents as their status pages told them, minute by minute, for the replay through real
collectors.

Times, regions and services are from the providers' own reviews. The texts are in the shapes of the feeds.
What callers saw began 4 to 22 minutes before the first word of a page.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from controller.collect.feeds.azure import AzureStatus
from controller.collect.feeds.google import GoogleStatus
from controller.collect.feeds.status_feed import StatusFeed
from tests.unit.controller.collect.feeds.truths import Ill

NOT_A_FEED = "a page of HTML with status 200"


def at(text: str) -> int:
    """Such as 2026-01-27 09:22, in UTC, as Unix milliseconds."""
    return round(datetime.fromisoformat(f"{text}+00:00").timestamp() * 1_000)


class Moment(NamedTuple):
    """What the page says from an instant on, or ``NOT_A_FEED``, and the pools that are called ill then.
    ``after_min``: when that is looked at."""

    at_ms: int
    ill: tuple[Ill, ...] | str
    pools: frozenset[str]
    after_min: int = 1


class Told(NamedTuple):
    """One incident. ``pools``: all that the policy has."""

    name: str
    shape: str
    feed: StatusFeed
    pools: tuple[str, ...]
    moments: tuple[Moment, ...]


OPENAI = "Azure OpenAI Service"
GPT_REGIONS = {
    "Australia East": "australiaeast",
    "Central US": "centralus",
    "East US 2": "eastus2",
    "Korea Central": "koreacentral",
    "Norway East": "norwayeast",
    "Sweden Central": "swedencentral",
    "UK South": "uksouth",
}
AZURE_REGIONS = {**GPT_REGIONS, "East US": "eastus", "West US": "westus"}
AZURE_POOLS = tuple(
    f"azure/{region}/{model}" for region in sorted(AZURE_REGIONS.values()) for model in ("gpt-4o", "gpt-52")
)
GCP_POOLS = ("gcp/europe-west4/gemini", "gcp/us-central1/gemini")
NOTHING: frozenset[str] = frozenset()


def azure_feed(**more: Any) -> StatusFeed:
    settings: dict[str, Any] = {
        "regions": {name: (region,) for name, region in AZURE_REGIONS.items()},
        "products": {
            OPENAI: (),
            "GPT-5.2": tuple(pool for pool in AZURE_POOLS if pool.endswith("gpt-52")),
            "Azure Front Door": (),
            "Managed identities for Azure resources": (),
        },
        **more,
    }
    return AzureStatus(
        name="status-azure", url="http://127.0.0.1/", provider="azure", interval_s=60.0, **settings
    )


def azure_pools(*regions: str, model: str = "") -> frozenset[str]:
    """Azure's pools in these regions, all of them without any."""
    return frozenset(
        pool
        for pool in AZURE_POOLS
        if (not regions or pool.split("/")[1] in regions) and pool.endswith(model)
    )


def _azure(name: str, *moments: Moment, **more: Any) -> Told:
    return Told(name, "azure", azure_feed(**more), pools=AZURE_POOLS, moments=moments)


SWEDEN = (Ill("degraded", OPENAI, ("Sweden Central",)),)
IDENTITIES = (Ill("degraded", "Managed identities for Azure resources", ("East US", "West US")),)
FRONT_DOOR = (Ill("outage", "Azure Front Door", ("global",)),)
ONE_MODEL = (Ill("degraded", f"{OPENAI} GPT-5.2", tuple(GPT_REGIONS)),)
GCP_ALL = (Ill("outage", "Vertex AI", ("global",)),)
GCP_ONE = (Ill("outage", "Vertex AI", ("us-central1",)),)
GCP_RESIDUE = (Ill("degraded", "Vertex AI", ("us-central1",)),)
ALL_GCP, ONE_GCP = frozenset(GCP_POOLS), frozenset({"gcp/us-central1/gemini"})

INCIDENTS = (
    _azure(
        "azure-openai-sweden-2026-01-27",
        Moment(at("2026-01-27 09:00"), (), NOTHING),  # callers see failures, the page does not
        Moment(at("2026-01-27 09:22"), SWEDEN, azure_pools("swedencentral")),
        Moment(at("2026-01-27 12:36"), SWEDEN, azure_pools("swedencentral")),  # the restart has no effect
        Moment(at("2026-01-27 13:00"), NOT_A_FEED, azure_pools("swedencentral"), after_min=8),
        Moment(at("2026-01-27 13:09"), NOT_A_FEED, NOTHING, after_min=2),  # ten minutes after the last word
        Moment(at("2026-01-27 13:20"), SWEDEN, azure_pools("swedencentral")),
        Moment(at("2026-01-27 16:12"), (), NOTHING),
    ),
    _azure(
        "azure-openai-gpt52-2026-03-09",
        Moment(at("2026-03-09 23:20"), (), NOTHING),
        Moment(at("2026-03-09 23:42"), ONE_MODEL, azure_pools(*GPT_REGIONS.values(), model="gpt-52")),
        Moment(at("2026-03-10 12:00"), ONE_MODEL, azure_pools(*GPT_REGIONS.values(), model="gpt-52")),
        Moment(at("2026-03-10 19:32"), (), NOTHING),
    ),
    Told(
        "gcp-service-control-2025-06-12",
        "google",
        GoogleStatus(
            name="status-gcp",
            url="http://127.0.0.1/",
            provider="gcp",
            regions={"us-central1": ("us-central1",), "europe-west4": ("europe-west4",)},
            products={"Vertex AI": ()},
        ),
        pools=GCP_POOLS,
        moments=(
            Moment(at("2025-06-12 17:49"), (), NOTHING),
            Moment(at("2025-06-12 18:11"), GCP_ALL, ALL_GCP),
            Moment(at("2025-06-12 19:48"), GCP_ONE, ONE_GCP),  # most regions are back, one is not
            Moment(at("2025-06-12 20:49"), GCP_RESIDUE, ONE_GCP),
            Moment(at("2025-06-13 01:18"), (), NOTHING),
        ),
    ),
    _azure(
        "azure-front-door-2025-10-29",
        Moment(at("2025-10-29 15:45"), (), NOTHING),
        Moment(at("2025-10-29 16:00"), FRONT_DOOR, azure_pools()),
        Moment(at("2025-10-29 23:00"), FRONT_DOOR, azure_pools()),  # recovery by stages
        Moment(at("2025-10-30 00:05"), (), NOTHING),
    ),
    _azure(
        "azure-managed-identity-2026-02-03",
        Moment(at("2026-02-03 00:10"), (), NOTHING),
        Moment(at("2026-02-03 00:14"), IDENTITIES, azure_pools("eastus", "westus")),
        Moment(at("2026-02-03 00:50"), IDENTITIES, azure_pools("eastus", "westus")),  # overwhelmed again
        Moment(at("2026-02-03 06:05"), (), NOTHING),
    ),
    _azure(
        "azure-openai-requests-2025-05-16",
        Moment(at("2025-05-16 01:33"), (), NOTHING),
        Moment(at("2025-05-16 01:49"), (Ill("degraded", OPENAI, ()),), azure_pools()),
        Moment(at("2025-05-16 02:38"), (), NOTHING),
        unplaced=("*",),  # its item names no region
    ),
)
