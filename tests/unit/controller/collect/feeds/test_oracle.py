"""Oracle's health reports."""

from __future__ import annotations

from typing import Any

import pytest

from controller.collect.collector import UnreadableError
from tests.unit.controller.collect.feeds.readings import findings_of, rows, states


def page(status: Any, region: str = "us-chicago-1", service: str = "Generative AI") -> Any:
    """A page with two regions of which one has a service in this state."""
    return {
        "regionHealthReports": [
            {
                "regionId": "r",
                "regionName": "US Midwest (Chicago)",
                "regionCanonicalName": region,
                "serviceHealthReports": [
                    {"serviceId": "s", "serviceName": service, "serviceStatus": status, "incidents": []}
                ],
            },
            {
                "regionCanonicalName": "uk-london-1",
                "serviceHealthReports": [{"serviceName": service, "serviceStatus": "NormalPerformance"}],
            },
        ]
    }


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("NormalPerformance", None),
        ("Normal Performance", None),
        ("Informational", None),
        ("ServiceDisruption", "degraded"),
        ("ServiceDegradation", "degraded"),
        ("SomethingNew", "degraded"),
        ("ServiceOutage", "down"),
        ("Unavailable", "down"),
    ],
)
def test_a_status_is_read_by_its_words(status: str, expected: str | None) -> None:
    """A status that nobody has seen yet degrades, and only an outage is down."""
    assert states(findings_of("oracle", page(status))).get("us-chicago-1") == expected


@pytest.mark.parametrize("status", [None, 5, "", [], {"a": 1}])
def test_a_status_that_can_not_be_read_takes_nothing_back(status: Any) -> None:
    """No empty statement is sent, as the unread part may be the one that is ill."""
    findings = findings_of("oracle", page(status))
    assert (findings.unread, findings.events) == (1, ())


def test_maintenance_without_times_lasts_while_it_is_named() -> None:
    """Until the expiry of the claim, which the next round renews."""
    findings = findings_of("oracle", page("ScheduledMaintenance"))
    assert rows(findings) == [("maintenance", "us-chicago-1", "maintenance", ())]


def test_names_that_the_settings_do_not_map_are_told() -> None:
    """Regions and services of which something is said; no claim is made for them."""
    for document, name in (
        (page("ServiceOutage", region="us-phoenix-1"), "us-phoenix-1"),
        (page("ServiceOutage", service="Billing"), "Billing"),
    ):
        findings = findings_of("oracle", document)
        assert rows(findings) == []
        assert findings.unmatched == {name}


@pytest.mark.parametrize(
    "document", [{}, [], None, {"regionHealthReports": []}, {"regionHealthReports": "x"}]
)
def test_a_body_without_reports_is_unreadable(document: Any) -> None:
    """It is not a page on which all is well."""
    with pytest.raises(UnreadableError, match="no list regionHealthReports"):
        findings_of("oracle", document)
