"""Status.io: containers, incidents and maintenance."""

from __future__ import annotations

from typing import Any

import pytest

from controller.collect.collector import UnreadableError
from tests.unit.controller.collect.feeds.readings import HOUR_MS, findings_of, rows, states
from tests.unit.controller.collect.feeds.truths import NOW_MS, iso
from tieline.events import Statement


def page(code: Any = 100, status: Any = "Operational", **result: Any) -> Any:
    """A page with one component in two places, of which the first has this code."""
    containers = [
        {"id": "1", "name": "US-EAST-04", "status": status, "status_code": code},
        {"id": "2", "name": "EU-NORTH-1", "status": "Operational", "status_code": 100},
    ]
    component = {"id": "c", "name": "GPU Compute", "status_code": 100, "containers": containers}
    return {
        "result": {
            "status_overall": {"status_code": 100},
            "status": [component],
            "incidents": [],
            "maintenance": {"active": [], "upcoming": []},
            **result,
        }
    }


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        (100, "Operational", None),
        (300, "", "degraded"),
        (400, "", "degraded"),
        (500, "", "down"),
        (600, "", "degraded"),
        (999, "", "degraded"),
        (None, "Service Disruption", "down"),
        ("500", "Partial Service Disruption", "degraded"),
        (True, "Operational", None),
    ],
)
def test_a_code_is_read_as_status_io_means_it(code: Any, status: str, expected: str | None) -> None:
    """Or the words beside it, where it can't be read; an unknown code degrades."""
    assert states(findings_of("statusio", page(code, status))).get("us-east-04") == expected


def test_a_unit_without_code_and_words_is_unread() -> None:
    """And takes nothing back."""
    findings = findings_of("statusio", page(None, "on fire"))
    assert (findings.unread, findings.events) == (1, ())


def incident(state: Any, **more: Any) -> dict[str, Any]:
    return {
        "name": "compute fails",
        "messages": [
            {"state": 100, "datetime": iso(NOW_MS - HOUR_MS)},
            {"state": state, "datetime": iso(NOW_MS)},
        ],
        "components_affected": [{"name": "GPU Compute"}],
        "containers_affected": [{"name": "US-EAST-04"}],
        **more,
    }


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (incident(100), "degraded"),
        (incident(200), "degraded"),
        (incident(300), None),  # monitoring: the container's own code counts
        (incident(100, messages=None), "degraded"),
        (incident(100, datetime_resolved=iso(NOW_MS)), None),
        (incident(100, containers_affected=[{"name": "mars"}]), None),
    ],
)
def test_an_incident_that_is_examined_degrades(entry: dict[str, Any], expected: str | None) -> None:
    """By the state in its last message."""
    assert states(findings_of("statusio", page(incidents=[entry]))).get("us-east-04") == expected


def window(starts_ms: int, ends_ms: int) -> dict[str, Any]:
    return {
        "name": "network work",
        "datetime_planned_start": iso(starts_ms),
        "datetime_planned_end": iso(ends_ms),
        "components_affected": [{"name": "GPU Compute"}],
        "containers_affected": [{"name": "US-EAST-04"}],
    }


@pytest.mark.parametrize(
    ("field", "starts_in_h", "ends_in_h", "expected"),
    [
        ("upcoming", 5, 7, (5, 7)),
        ("active", -1, 2, (None, 2)),
        ("active", -3, -1, (None, 1 / 6)),  # it takes longer than planned
        ("upcoming", -3, -1, None),
        ("upcoming", 7, 5, None),
        ("upcoming", 5, 30, None),  # longer than window_max_s
    ],
)
def test_a_window_is_stated_from_its_start_to_its_end(
    field: str, starts_in_h: int, ends_in_h: int, expected: tuple[float | None, float] | None
) -> None:
    """One that is late lasts while the page calls it active; one without sense is not stated."""
    entry = window(NOW_MS + starts_in_h * HOUR_MS, NOW_MS + ends_in_h * HOUR_MS)
    findings = findings_of("statusio", page(maintenance={"active": [], "upcoming": [], field: [entry]}))
    claims = [
        (
            (claim.starts_ms - NOW_MS) / HOUR_MS if claim.starts_ms else None,
            (claim.expires_ms - NOW_MS) / HOUR_MS,
        )
        for event in findings.events
        if isinstance(event, Statement) and event.kind == "maintenance"
        for claim in event.claims
    ]
    assert claims == ([expected] if expected else [])


def test_planned_maintenance_of_a_container_is_no_illness() -> None:
    """Code 200."""
    assert rows(findings_of("statusio", page(200))) == [("maintenance", "us-east-04", "maintenance", ())]


@pytest.mark.parametrize("document", [{}, [], {"result": None}, {"result": {"status": []}}, {"result": []}])
def test_a_body_without_components_is_unreadable(document: Any) -> None:
    """It is not a page on which all is well."""
    with pytest.raises(UnreadableError, match="no list status"):
        findings_of("statusio", document)
