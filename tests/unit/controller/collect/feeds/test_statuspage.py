"""Statuspage: components, incidents that are announced before a component changes, and windows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.controller.collect.feeds.readings import HOUR_MS, findings_of, rows, states
from tests.unit.controller.collect.feeds.truths import NOW_MS, iso

API = {"id": "1", "name": "Inference API", "status": "operational", "group": False, "group_id": "g"}
US = {"id": "g", "name": "US East", "status": "operational", "group": True, "group_id": None}


def page(status: Any = "operational", **fields: Any) -> Any:
    """A page with one component in one group."""
    return {
        "components": [US, {**API, "status": status}],
        "incidents": [],
        "scheduled_maintenances": [],
        **fields,
    }


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("operational", None),
        ("degraded_performance", "degraded"),
        ("partial_outage", "degraded"),
        ("major_outage", "down"),
        ("full_outage", "degraded"),  # unknown here
    ],
)
def test_a_component_says_how_it_is(status: str, expected: str | None) -> None:
    """In the place that its group names."""
    assert states(findings_of("statuspage", page(status))).get("us-east") == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"status": "investigating"}, "degraded"),
        ({"status": "identified", "impact": "critical"}, "degraded"),
        ({"status": "investigating", "impact": "none"}, None),
        ({"status": "monitoring"}, None),
        ({"status": "resolved"}, None),
        ({"status": "investigating", "components": []}, None),
        ({"status": "investigating", "components": [{"name": "US East"}]}, None),  # of no product
    ],
)
def test_an_incident_degrades_what_it_lists(fields: dict[str, Any], expected: str | None) -> None:
    """While it is examined and has an impact, even if the component still says operational."""
    incident = {"name": "errors", "impact": "minor", "components": [API], **fields}
    assert states(findings_of("statuspage", page(incidents=[incident]))).get("us-east") == expected


@pytest.mark.parametrize("fields", [{"incidents": 5}, {"incidents": [7]}, {"incidents": [{"name": "x"}]}])
def test_incidents_that_can_not_be_read_take_nothing_back(fields: dict[str, Any]) -> None:
    """Not even in regions whose components are well."""
    findings = findings_of("statuspage", page(**fields))
    assert (findings.unread, findings.events) == (1, ())
    assert states(findings_of("statuspage", page("major_outage", **fields))) == {"us-east": "down"}


@pytest.mark.parametrize(
    ("status", "starts_in_h", "ends_in_h", "is_stated"),
    [
        ("scheduled", 5, 6, True),
        ("in_progress", -1, 1, True),
        ("verifying", -2, -1, True),
        ("completed", -1, 1, False),
        ("scheduled", -2, -1, False),
    ],
)
def test_windows_are_stated_until_they_are_completed(
    status: str, starts_in_h: int, ends_in_h: int, is_stated: bool
) -> None:
    """Also one that takes longer than planned."""
    window = {
        "name": "work",
        "status": status,
        "scheduled_for": iso(NOW_MS + starts_in_h * HOUR_MS),
        "scheduled_until": iso(NOW_MS + ends_in_h * HOUR_MS),
        "components": [API],
    }
    expected = [("maintenance", "us-east", "maintenance", ())] if is_stated else []
    assert rows(findings_of("statuspage", page(scheduled_maintenances=[window]))) == expected


def test_a_component_under_maintenance_is_not_ill() -> None:
    """For as long as it says so."""
    expected = [("maintenance", "us-east", "maintenance", ())]
    assert rows(findings_of("statuspage", page("under_maintenance"))) == expected
