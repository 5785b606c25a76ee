"""Pushes of other systems become alerts by what the settings map, and nothing is guessed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controller.collect.collector import UnreadableError
from controller.collect.webhook.alert_book import Alert
from controller.collect.webhook.alerts import Push, read_push
from controller.collect.webhook.hooks import AlertHook, AlertmanagerHook, PagerDutyHook, StatuspageHook

SECRET = "a-secret-of-a-hook"
ALERTS = AlertmanagerHook(
    name="alerts",
    secret=SECRET,
    region_names={"West Europe": "westeurope"},
    alert_places={"GatewayDown": ("gcp/us-east1", "azure")},
)
PAGER = PagerDutyHook(
    name="pager",
    secret=SECRET,
    services={"PSERV1": ("azure/eastus",), "GPU fleet": ("coreweave/us-east-04",)},
    states={"high": "down", "critical": "degraded"},
)
PAGE = StatuspageHook(
    name="page", secret=SECRET, components={"comp1": ("oci/us-ashburn-1",), "Inference": ("oci",)}
)


def firing(**labels: str) -> dict[str, Any]:
    """One alert of Alertmanager as its webhook has it."""
    return {
        "status": "firing",
        "labels": {"alertname": "HighErrorRate", "severity": "critical", **labels},
        "annotations": {"summary": "5xx above 20 %"},
        "startsAt": "2026-11-27T10:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": "c4b1a7",
    }


def pushed(hook: AlertHook, fields: Any) -> Push:
    """What a body with these fields says."""
    return read_push(hook, msgspec.json.encode(fields))


def alertmanager(*alerts: dict[str, Any], **fields: Any) -> Push:
    """What Alertmanager's webhook with these alerts says."""
    body = {"version": "4", "groupKey": "{}", "status": "firing", "receiver": "tieline", "alerts": alerts}
    return pushed(ALERTS, {**body, **fields})


@pytest.mark.parametrize(
    ("labels", "places"),
    [
        ({"provider": "azure"}, ("azure",)),
        ({"provider": "azure", "region": "West Europe"}, ("azure/westeurope",)),
        ({"provider": "azure", "region": "eastus", "pool": "gpt-4o"}, ("azure/eastus/gpt-4o",)),
        ({"pool": "azure/eastus/gpt-4o"}, ("azure/eastus/gpt-4o",)),
        ({"alertname": "GatewayDown"}, ("gcp/us-east1", "azure")),
    ],
)
def test_labels_say_what_an_alert_is_about(labels: dict[str, str], places: tuple[str, ...]) -> None:
    """Or the settings do, by the alert's name."""
    push = alertmanager(firing(**labels))
    (alert,) = push.alerts
    assert (alert.id, alert.places, alert.state, push.left_out) == ("c4b1a7", places, "down", ())
    assert alert.text.endswith(": 5xx above 20 %")
    assert alert.starts_ms == 1_795_773_600_000


@pytest.mark.parametrize(
    "labels",
    [
        {"severity": "info", "provider": "azure"},
        {"provider": "Azure!"},
        {"region": "eastus"},
        {"pool": "gpt-4o"},
        {"provider": "azure", "pool": "gpt-4o"},
        {},
    ],
)
def test_what_the_settings_do_not_map_claims_nothing(labels: dict[str, str]) -> None:
    """It is named, and ends what the alert claimed before."""
    push = alertmanager(firing(**labels))
    assert push.alerts == (Alert("c4b1a7", (), None),)
    assert push.left_out[0].startswith("HighErrorRate: severity is ")


def test_a_resolved_alert_ends() -> None:
    """Whatever its labels say."""
    push = alertmanager({**firing(provider="azure"), "status": "resolved"})
    assert push.alerts == (Alert("c4b1a7", (), None),)


def test_alertmanager_of_another_version_is_no_push() -> None:
    """Nor is a body of something else."""
    with pytest.raises(UnreadableError, match="field version is '5': expected '4'"):
        alertmanager(version="5")
    with pytest.raises(UnreadableError, match="no list alerts of objects"):
        alertmanager(alerts=["x"])
    with pytest.raises(UnreadableError, match="not JSON"):
        read_push(ALERTS, b"<html>")
    with pytest.raises(UnreadableError, match="no JSON object"):
        read_push(ALERTS, b"[]")


def incident(**fields: Any) -> dict[str, Any]:
    """PagerDuty's webhook v3 about an incident."""
    data = {
        "id": "PINC1",
        "type": "incident",
        "status": "triggered",
        "title": "GPUs are gone",
        "urgency": "high",
        "created_at": "2026-11-27T10:00:00Z",
        "service": {"id": "PSERV1", "summary": "API"},
        **fields,
    }
    event = {"id": "01", "event_type": "incident.triggered", "resource_type": "incident", "data": data}
    return {"event": event}


def test_an_incident_of_pagerduty_is_about_its_service() -> None:
    """By the service's id or name, until it is resolved."""
    expected = Alert("PINC1", ("azure/eastus",), "down", "GPUs are gone", starts_ms=1_795_773_600_000)
    assert pushed(PAGER, incident()).alerts == (expected,)
    by_name = pushed(PAGER, incident(service={"id": "P2", "summary": "GPU fleet"}, status="acknowledged"))
    assert by_name.alerts[0].places == ("coreweave/us-east-04",)
    assert pushed(PAGER, incident(status="resolved")).alerts == (Alert("PINC1", (), None),)
    other = pushed(PAGER, incident(service={"id": "P3", "summary": "Billing"}))
    assert (other.alerts[0].state, other.left_out) == (
        None,
        ("service 'Billing' with urgency 'high': the settings map it to nothing",),
    )


def test_pings_and_notes_of_pagerduty_say_nothing() -> None:
    """They are no incidents."""
    assert pushed(PAGER, {"event": {"event_type": "pagey.ping", "data": {"type": "ping"}}}) == Push(())
    assert pushed(PAGER, incident(type="incident_note")) == Push(())
    with pytest.raises(UnreadableError, match="neither field event with event_type nor"):
        pushed(PAGER, {"messages": []})


def events_api(action: str, **fields: Any) -> dict[str, Any]:
    """An event of PagerDuty's Events API v2."""
    payload = {"summary": "queue is full", "source": "gw-1", "severity": "critical", "component": "GPU fleet"}
    return {"routing_key": SECRET, "event_action": action, "dedup_key": "q1", "payload": payload, **fields}


def test_monitoring_tools_may_speak_the_events_api() -> None:
    """Trigger claims and resolve ends it, by the key that both carry."""
    (alert,) = pushed(PAGER, events_api("trigger")).alerts
    assert (alert.id, alert.places, alert.state) == ("q1", ("coreweave/us-east-04",), "degraded")
    assert pushed(PAGER, events_api("acknowledge")).alerts == ()
    assert pushed(PAGER, events_api("resolve")).alerts == (Alert("q1", (), None),)
    with pytest.raises(UnreadableError, match="dedup_key is missing"):
        pushed(PAGER, events_api("trigger", dedup_key=""))
    with pytest.raises(UnreadableError, match="event_action is 'pause'"):
        pushed(PAGER, events_api("pause"))


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("operational", None),
        ("degraded_performance", "degraded"),
        ("partial_outage", "degraded"),
        ("major_outage", "down"),
        ("under_maintenance", "maintenance"),
        ("something_new", "degraded"),
    ],
)
def test_a_component_of_a_statuspage_claims_its_status(status: str, state: str | None) -> None:
    """What Statuspage sends to those who subscribed by webhook."""
    update = {"old_status": "operational", "new_status": status, "component_id": "comp1", "id": "u1"}
    component = {"id": "comp1", "name": "Something", "status": status}
    (alert,) = pushed(PAGE, {"component_update": update, "component": component}).alerts
    assert (alert.id, alert.state) == ("component-comp1", state)
    assert alert.places == (() if state is None else ("oci/us-ashburn-1",))


def test_an_incident_of_a_statuspage_degrades_the_components_that_it_lists() -> None:
    """While it is being examined; without components only what the settings say."""
    fields = {"id": "i1", "name": "Errors", "status": "identified", "impact": "major"}
    listed = pushed(PAGE, {"incident": {**fields, "components": [{"id": "comp9", "name": "Inference"}]}})
    assert (listed.alerts[0].places, listed.alerts[0].state) == (("oci",), "degraded")
    bare = pushed(PAGE, {"incident": fields})
    assert (bare.alerts[0].state, bare.left_out) == (
        None,
        ("incident 'Errors': the settings map it to nothing",),
    )
    for ended in ({"status": "resolved"}, {"status": "monitoring"}, {"impact": "none"}):
        over = pushed(PAGE, {"incident": {**fields, "components": [{"name": "Inference"}], **ended}})
        assert (over.alerts[0].state, over.left_out) == (None, ())
    with pytest.raises(UnreadableError, match="neither field component nor field incident"):
        pushed(PAGE, {"page": {}})


def test_odd_texts_become_one_line() -> None:
    """Without markup and control characters, and bounded."""
    push = alertmanager(
        {**firing(provider="azure"), "annotations": {"summary": "<b>a\n\x00b</b>" + "c" * 900}}
    )
    assert push.alerts[0].text.startswith("HighErrorRate: a b ccc")
    assert len(push.alerts[0].text) == 300
