"""A truth, written as pages do that Status.io and Statuspage host."""

from __future__ import annotations

import json
import random
from typing import Any

from tests.unit.controller.collect.feeds.truths import OTHER_PRODUCTS, OTHER_REGIONS, Truth, iso, prose


def statusio(truth: Truth, rng: random.Random) -> bytes:
    """Status.io: components with containers."""
    codes = {"outage": (500, "Service Disruption"), "degraded": (300, "Degraded Performance"),
             "information": (100, "Operational")}  # fmt: skip
    components = []
    for product in ("GPU Compute", *OTHER_PRODUCTS[:2]):
        containers = []
        for place in ("US-EAST-04", "EU-NORTH-1", *OTHER_REGIONS[2:]):
            code, words = 100, "Operational"
            for ill in truth.ill:
                if ill.product == product and (place in ill.regions or "global" in ill.regions):
                    code, words = codes[ill.severity]
            containers.append({"id": place, "name": place, "status": words, "status_code": code})
        rng.shuffle(containers)
        worst = max(containers, key=lambda entry: int(str(entry["status_code"])))
        components.append({"id": product, "name": product, "containers": containers,
                           "status": worst["status"], "status_code": worst["status_code"]})  # fmt: skip
    incidents = [
        {
            "_id": f"i{number}",
            "name": ill.text,
            "datetime_open": iso(ill.since_ms),
            "messages": [
                {
                    "details": prose(rng),
                    "state": rng.choice((100, 200, 300)),
                    "status": 500,
                    "datetime": iso(truth.now_ms),
                }
            ],
            "components_affected": [{"_id": "c", "name": ill.product}],
            "containers_affected": [{"_id": "k", "name": region} for region in ill.regions],
        }
        for number, ill in enumerate(truth.ill)
        if ill.severity != "information"
    ]
    planned = [
        {
            "_id": f"m{number}",
            "name": plan.text,
            "datetime_open": iso(truth.now_ms),
            "datetime_planned_start": iso(plan.starts_ms),
            "datetime_planned_end": iso(plan.ends_ms),
            "messages": [],
            "components_affected": [{"_id": "c", "name": plan.product}],
            "containers_affected": [{"_id": "k", "name": plan.region}],
        }
        for number, plan in enumerate(truth.planned)
    ]
    starts = [plan.starts_ms <= truth.now_ms for plan in truth.planned]
    result = {
        "status_overall": {"updated": iso(truth.now_ms), "status": "Operational", "status_code": 100},
        "status": components,
        "incidents": incidents,
        "maintenance": {
            "active": [entry for entry, begun in zip(planned, starts, strict=True) if begun],
            "upcoming": [entry for entry, begun in zip(planned, starts, strict=True) if not begun],
        },
    }
    return json.dumps({"result": result}).encode()


def statuspage(truth: Truth, rng: random.Random) -> bytes:
    """summary.json of Statuspage: groups are places, components products."""
    words = {"outage": "major_outage", "degraded": "degraded_performance", "information": "operational"}
    components: list[dict[str, Any]] = []
    ids: dict[tuple[str, str], dict[str, Any]] = {}
    for place in ("US East", "Europe", *OTHER_REGIONS[1:2]):
        components.append(
            {"id": place, "name": place, "status": "operational", "group": True, "group_id": None}
        )
        for product in ("Inference API", *OTHER_PRODUCTS[:2]):
            status = "operational"
            for ill in truth.ill:
                if ill.product == product and (place in ill.regions or "global" in ill.regions):
                    status = words[ill.severity]
            component = {"id": f"{place}.{product}", "name": product, "status": status, "group": False,
                         "group_id": place, "updated_at": iso(truth.now_ms), "position": 1}  # fmt: skip
            components.append(component)
            ids[product, place] = component
    incidents = [
        {
            "id": f"i{number}",
            "name": ill.text,
            "status": rng.choice(("investigating", "monitoring")),
            "impact": rng.choice(("minor", "major", "critical")),
            "created_at": iso(ill.since_ms),
            "incident_updates": [{"body": prose(rng), "status": "investigating"}],
            "components": [ids[ill.product, place] for place in ill.regions if (ill.product, place) in ids],
        }
        for number, ill in enumerate(truth.ill)
        if "global" not in ill.regions and ill.severity != "information"
    ]
    scheduled = [
        {
            "id": f"m{number}",
            "name": plan.text,
            "status": "in_progress" if plan.starts_ms <= truth.now_ms else "scheduled",
            "impact": "maintenance",
            "scheduled_for": iso(plan.starts_ms),
            "scheduled_until": iso(plan.ends_ms),
            "components": [ids[plan.product, plan.region]],
        }
        for number, plan in enumerate(truth.planned)
    ]
    page = {
        "id": "x",
        "name": "Example",
        "url": "https://status.example.com",
        "updated_at": iso(truth.now_ms),
    }
    summary = {
        "page": page,
        "status": {"indicator": "none", "description": "All Systems Operational"},
        "components": components,
        "incidents": incidents,
        "scheduled_maintenances": scheduled,
    }
    return json.dumps(summary).encode()
