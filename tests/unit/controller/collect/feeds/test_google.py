"""Google's incidents: what goes on, by the latest word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from controller.collect.collector import UnreadableError
from tests.unit.controller.collect.feeds.readings import changed, findings_of, states
from tests.unit.controller.collect.feeds.truths import NOW_MS, iso

PLACES = [{"id": "us-central1", "title": "Iowa"}]
INCIDENT: dict[str, Any] = {
    "id": "a",
    "begin": iso(NOW_MS - 3_600_000),
    "modified": iso(NOW_MS - 60_000),
    "external_desc": "Vertex AI fails",
    "status_impact": "SERVICE_OUTAGE",
    "severity": "high",
    "affected_products": [{"id": "p", "title": "Vertex AI"}],
    "currently_affected_locations": PLACES,
    "most_recent_update": {
        "when": iso(NOW_MS - 60_000),
        "status": "SERVICE_OUTAGE",
        "affected_locations": PLACES,
    },
}
UPDATE = "most_recent_update"


def read(*changes: Callable[[Any], object]) -> dict[str, str]:
    """States by region after changes to the incident, each in a copy of its own."""
    incidents = [changed(INCIDENT, change) for change in changes] or [INCIDENT]
    return states(findings_of("google", incidents))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "down"),
        ({"severity": "low"}, "down"),
        ({UPDATE: {"status": "SERVICE_DISRUPTION"}}, "degraded"),
        ({UPDATE: {"status": "SERVICE_INFORMATION", "text": "We apologise."}}, "down"),
        ({UPDATE: {"status": "AVAILABLE"}}, "down"),  # locations are affected nevertheless
        ({UPDATE: {"status": "AVAILABLE"}, "currently_affected_locations": []}, None),
        ({UPDATE: None}, "down"),
        ({UPDATE: None, "status_impact": "SERVICE_INFORMATION"}, None),
        ({UPDATE: None, "status_impact": "SERVICE_ON_FIRE"}, "degraded"),
        ({UPDATE: {}, "status_impact": 7}, None),
        ({"end": iso(NOW_MS)}, None),
        ({"end": iso(NOW_MS + 86_400_000)}, None),  # by a clock that is ahead
        ({"end": "yesterday"}, None),
        ({"end": iso(NOW_MS - 3_600_000)}, "down"),  # opened again by a later update
        ({"affected_products": [{"id": "q", "title": "Cloud SQL"}]}, None),
        ({"affected_products": []}, None),
        ({"begin": "2999-01-01T00:00:00Z"}, "down"),
        ({"currently_affected_locations": None}, "down"),  # those of the update
    ],
)
def test_the_latest_word_counts(fields: dict[str, Any], expected: str | None) -> None:
    """A state in the last update, or else that of the incident while locations are affected."""
    assert read(lambda incident: incident.update(fields)).get("us-central1") == expected


def test_global_is_every_region() -> None:
    """Of those that the settings name."""
    everywhere = [{"id": "global", "title": "Global"}]
    claims = read(lambda incident: incident.update(currently_affected_locations=everywhere))
    assert claims == {"us-central1": "down", "europe-west4": "down"}


def test_of_one_id_the_last_modified_counts() -> None:
    """Wherever it stands in the list."""
    later = {"modified": iso(NOW_MS), "status_impact": "SERVICE_DISRUPTION", UPDATE: None}
    for changes in ((dict, later.items), (later.items, dict)):
        incidents = [{**INCIDENT, **dict(change())} for change in changes]
        assert states(findings_of("google", incidents)) == {"us-central1": "degraded"}


def test_a_list_without_incidents_is_not_the_feed() -> None:
    """The real one has years of them."""
    documents: tuple[Any, ...] = ([], {}, None, "x")
    for document in documents:
        with pytest.raises(UnreadableError, match="no list of incidents"):
            findings_of("google", document)
