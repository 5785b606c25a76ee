"""A truth, written as Google, Azure and Oracle do: among past incidents, other products and regions."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from xml.sax.saxutils import escape

from tests.unit.controller.collect.feeds.truths import (
    MINUTE_MS,
    OTHER_PRODUCTS,
    OTHER_REGIONS,
    Truth,
    iso,
    prose,
)


def google(truth: Truth, rng: random.Random) -> bytes:
    """incidents.json: what goes on, between past incidents, some of them twice."""
    impact = {
        "outage": "SERVICE_OUTAGE",
        "degraded": "SERVICE_DISRUPTION",
        "information": "SERVICE_INFORMATION",
    }
    entries = [_google_past(truth, rng) for _ in range(rng.randint(1, 6))]
    for ill in truth.ill:
        places = [{"title": f"Somewhere ({region})", "id": region} for region in ill.regions]
        # The last update of some incidents only says sorry.
        latest = impact[ill.severity] if rng.random() < 0.7 else "SERVICE_INFORMATION"
        update = {
            "created": iso(truth.now_ms - 5 * MINUTE_MS),
            "modified": iso(truth.now_ms - 5 * MINUTE_MS),
            "when": iso(truth.now_ms - 5 * MINUTE_MS),
            "text": prose(rng),
            "status": latest,
            "affected_locations": places,
        }
        entry: dict[str, Any] = {
            **_google_head(rng, ill.since_ms),
            "modified": iso(truth.now_ms - 5 * MINUTE_MS),
            "external_desc": ill.text,
            "updates": [update],
            "most_recent_update": update,
            "status_impact": impact[ill.severity],
            "affected_products": [{"title": ill.product, "id": "p1"}],
            "currently_affected_locations": places,
            "previously_affected_locations": [],
        }
        if rng.random() < 0.3:  # the same id as it was before
            entries.append({**entry, "modified": iso(ill.since_ms), "external_desc": "earlier"})
        if rng.random() < 0.3:  # opened again: an end before the last update
            entry["end"] = iso(truth.now_ms - 20 * MINUTE_MS)
            entry["most_recent_update"] = {**update, "status": impact[ill.severity]}
        entries.append(entry)
    rng.shuffle(entries)
    return json.dumps(entries).encode()


def _google_head(rng: random.Random, begun_ms: int) -> dict[str, Any]:
    return {
        "id": "".join(rng.choices("abcdefghkmnpqrstuvwxyzABCDEFGHKMNPQRSTUVWXYZ123456789", k=20)),
        "number": str(rng.getrandbits(63)),
        "begin": iso(begun_ms),
        "created": iso(begun_ms + MINUTE_MS),
        "severity": rng.choice(("low", "medium", "high")),
        "service_name": "Multiple Products",
        "uri": "incidents/x",
    }


def _google_past(truth: Truth, rng: random.Random) -> dict[str, Any]:
    begun_ms = truth.now_ms - rng.randint(1, 400) * 24 * 60 * MINUTE_MS
    places = [{"title": "Iowa", "id": "us-central1"}]
    update = {"when": iso(begun_ms + 90 * MINUTE_MS), "text": prose(rng), "status": "AVAILABLE"}
    return {
        **_google_head(rng, begun_ms),
        "end": iso(begun_ms + 60 * MINUTE_MS),
        "modified": iso(begun_ms + 90 * MINUTE_MS),
        "external_desc": prose(rng),
        "updates": [update],
        "most_recent_update": update,
        "status_impact": rng.choice(("SERVICE_OUTAGE", "SERVICE_DISRUPTION", "SERVICE_INFORMATION")),
        "affected_products": [{"title": rng.choice(("Vertex AI", *OTHER_PRODUCTS)), "id": "p0"}],
        "currently_affected_locations": [],
        "previously_affected_locations": places,
    }


def azure(truth: Truth, rng: random.Random) -> bytes:
    """RSS 2.0; what is over or only informs may still be listed."""
    words = {"outage": "Outage", "degraded": "Intermittent failures", "information": "Informational"}
    entries = []
    for ill in truth.ill:
        regions = ["Global" if region == "global" else region for region in ill.regions]
        in_title = rng.random() < 0.5
        where = f" - {', '.join(regions)}" if in_title else ""
        tags = [] if in_title else regions
        entries.append(
            (f"{words[ill.severity]} - {ill.product}{where}", prose(rng), [ill.product, *tags], ill.since_ms)
        )
    if rng.random() < 0.5:
        entries.append(("Mitigated - Azure OpenAI Service - East US 2", prose(rng), [], truth.now_ms))
    if rng.random() < 0.5:
        entries.append((f"Failures - {OTHER_PRODUCTS[1]} - {OTHER_REGIONS[1]}", prose(rng), [], truth.now_ms))
    rng.shuffle(entries)
    lines = [_azure_item(*entry, number=number) for number, entry in enumerate(entries)]
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<rss xmlns:a10="http://www.w3.org/2005/Atom" version="2.0"><channel>\n'
        "<title>Azure Status</title><link>https://status.azure.com/</link>"
        "<description>Azure Status</description><language>en-US</language>"
        f"<lastBuildDate>{_rfc822(truth.now_ms)}</lastBuildDate>\n{''.join(lines)}</channel></rss>"
    ).encode()


def _azure_item(title: str, text: str, tags: list[str], at_ms: int, *, number: int) -> str:
    categories = "".join(f"<category>{escape(tag)}</category>" for tag in tags)
    return (
        f'<item><guid isPermaLink="false">{number}</guid><link>https://status.azure.com/</link>{categories}'
        f"<title>{escape(title)}</title><description>{escape(f'<p>{text}</p>')}</description>"
        f"<pubDate>{_rfc822(at_ms)}</pubDate><a10:updated>{iso(at_ms)}</a10:updated></item>\n"
    )


def _rfc822(at_ms: int) -> str:
    return format_datetime(datetime.fromtimestamp(at_ms / 1_000, UTC))


def oracle(truth: Truth, rng: random.Random) -> bytes:
    """components_v2.json: every service in every region, most of them well."""
    words = {"outage": "ServiceOutage", "degraded": "ServiceDisruption", "information": "Informational"}
    regions = ["us-chicago-1", "uk-london-1", "eu-frankfurt-1", *OTHER_REGIONS[:1]]
    reports = []
    for number, region in enumerate(regions):
        services: list[dict[str, Any]] = []
        for product in ("Generative AI", *OTHER_PRODUCTS):
            status = "NormalPerformance"
            for ill in truth.ill:
                if ill.product == product and (region in ill.regions or "global" in ill.regions):
                    status = words[ill.severity]
            if any(plan.product == product and plan.region == region and plan.starts_ms <= truth.now_ms
                   for plan in truth.planned):  # fmt: skip
                status = "ScheduledMaintenance"
            services.append(
                {
                    "serviceId": f"s{len(services)}",
                    "serviceName": product,
                    "serviceCanonicalName": product.replace(" ", ""),
                    "serviceCategoryName": "Other",
                    "serviceStatus": status,
                    "incidents": []
                    if status == words["information"] or status == "NormalPerformance"
                    else [{"incidentId": "i", "severity": "Medium"}],
                }
            )
        reports.append(
            {
                "regionId": f"r{number}",
                "regionName": f"Region {number}",
                "regionCanonicalName": region,
                "geographicAreaName": "Somewhere",
                "serviceHealthReports": services,
            }
        )
    rng.shuffle(reports)
    return json.dumps({"regionHealthReports": reports, "page": prose(rng)}).encode()
