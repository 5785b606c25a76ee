"""An entry as each kind of target takes it: the body of one HTTP request and its headers. Pure.

The forms are those of Slack's incoming webhooks, of PagerDuty's Events API v2 and of Alertmanager's API v2.
What operators and clients wrote goes into them as text: control characters are removed, Slack's marks are
escaped, and lengths are limited as the receivers limit them.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from controller.history.entries import Entry
from controller.notify.target import Target
from controller.notify.targets import WEBHOOK_BODY, Access
from controller.notify.template import rendered
from controller.process.telemetry import without_controls

TEXT_MAX = 2_000
SUMMARY_MAX = 1_024  # PagerDuty's limit
DEDUP_KEY_MAX = 255  # PagerDuty's limit
WHY_MAX = 5
ALERT_STANDS_MS = 300_000  # an alert that is not sent again within that time has ended
JSON = "application/json"
_SIGNS = {"critical": ":red_circle:", "warning": ":large_yellow_circle:", "info": ":white_circle:"}
_SLACK_MARKS = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class Outgoing(NamedTuple):
    """One request. ``url`` and ``headers`` may hold secrets: never log them."""

    url: str
    headers: dict[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"Outgoing({len(self.body)} bytes)"


def outgoing(target: Target, access: Access, entry: Entry, *, namespace: str, now_ms: int) -> Outgoing:
    """The request that tells the entry."""
    content_type = JSON
    match target.kind:
        case "slack":
            body: Any = {"text": _slack_text(entry, namespace)}
        case "pagerduty":
            body = _pagerduty(entry, access.routing_key, namespace)
        case "alertmanager":
            body = [_alert(entry, namespace, now_ms)]
        case "webhook":
            body = rendered(
                target.body if target.body is not None else WEBHOOK_BODY, fields_of(entry, namespace)
            )
            content_type = "text/plain; charset=utf-8" if isinstance(body, str) else JSON
    data = body.encode() if isinstance(body, str) else msgspec.json.encode(body)
    identity = "".join(
        mark if " " <= mark <= "~" else "?" for mark in f"{entry.key}:{entry.phase}:{entry.at_ms}"
    )
    headers = {
        "Content-Type": content_type,
        "Idempotency-Key": _short(identity, DEDUP_KEY_MAX),
        **access.headers,
    }
    return Outgoing(access.url, headers, data)


def standing_alerts(access: Access, entries: Sequence[Entry], *, namespace: str, now_ms: int) -> Outgoing:
    """The request that tells an Alertmanager again what stands: it takes an alert for over that is not."""
    body = [_alert(entry, namespace, now_ms) for entry in entries]
    return Outgoing(access.url, {"Content-Type": JSON, **access.headers}, msgspec.json.encode(body))


def fields_of(entry: Entry, namespace: str) -> dict[str, str]:
    """The values of a template's names."""
    values = {
        "at": _rfc3339(entry.at_ms),
        "kind": entry.kind,
        "phase": entry.phase,
        "severity": entry.severity,
        "about": entry.about,
        "text": entry.text,
        "who": entry.who,
        "why": "; ".join(entry.why[:WHY_MAX]),
        "generation": entry.generation,
        "until": _rfc3339(entry.until_ms) if entry.until_ms is not None else "",
        "key": entry.key,
        "namespace": namespace,
    }
    return {name: _short(without_controls(value), TEXT_MAX) for name, value in values.items()}


def _slack_text(entry: Entry, namespace: str) -> str:
    values = {name: value.translate(_SLACK_MARKS) for name, value in fields_of(entry, namespace).items()}
    sign = ":large_green_circle:" if entry.phase == "ends" else _SIGNS.get(entry.severity, ":red_circle:")
    lines = [f"{sign} *{values['namespace']}* {values['kind'].replace('_', ' ')}: {values['text']}"]
    if values["who"]:
        lines.append(f"by {values['who']}")
    if values["why"] and entry.phase != "ends":
        lines.append(f"why: {values['why']}")
    return "\n".join(lines)


def _pagerduty(entry: Entry, routing_key: str, namespace: str) -> dict[str, Any]:
    values = fields_of(entry, namespace)
    event = {
        "routing_key": routing_key,
        "event_action": "resolve" if entry.phase == "ends" else "trigger",
        "dedup_key": _short(f"{namespace}/{values['key']}", DEDUP_KEY_MAX),
    }
    if entry.phase == "ends":
        return event
    details = ("who", "why", "generation", "until")
    payload = {
        "summary": _short(f"{namespace}: {values['text']}", SUMMARY_MAX),
        "source": namespace,
        "severity": entry.severity if entry.severity in _SIGNS else "critical",
        "timestamp": values["at"],
        "component": values["about"],
        "class": values["kind"],
        "custom_details": {name: values[name] for name in details if values[name]},
    }
    return {**event, "client": "tieline", "payload": payload}


def _alert(entry: Entry, namespace: str, now_ms: int) -> dict[str, Any]:
    """The labels of the beginning and of the end are the same, which makes them one alert."""
    values = fields_of(entry, namespace)
    name = "".join(part.capitalize() for part in entry.kind.split("_"))
    alert: dict[str, Any] = {
        "labels": {
            "alertname": f"Tieline{name}",
            "namespace": namespace,
            "severity": values["severity"],
            "about": values["about"],
            "key": values["key"],
        },
        "annotations": {"summary": values["text"], "why": values["why"], "who": values["who"]},
    }
    if entry.phase == "ends":
        return {**alert, "endsAt": values["at"]}
    ends_ms = (now_ms if entry.phase == "begins" else max(now_ms, entry.at_ms)) + ALERT_STANDS_MS
    return {**alert, "startsAt": values["at"], "endsAt": _rfc3339(ends_ms)}


def _rfc3339(at_ms: int) -> str:
    instant = datetime.fromtimestamp(at_ms / 1_000, UTC)
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
