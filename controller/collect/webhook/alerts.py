"""From the body of a push to alerts, for each kind of hook. Pure.

Bodies are untrusted: a body that is not of the kind raises ``UnreadableError``, and a part of it that is odd
is left out and named. What the settings map to nothing is named as well.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from controller.collect.collector import UnreadableError
from controller.collect.feeds.parts import document, instant_ms, plain_text, text
from controller.collect.feeds.statuspage import BEING_EXAMINED, IN_MAINTENANCE, STATES, WELL
from controller.collect.webhook.alert_book import Alert, AlertState
from controller.collect.webhook.hooks import (
    AlertHook,
    AlertmanagerHook,
    PagerDutyHook,
    StatuspageHook,
)
from tieline.event_fields import Scope

ALERTS_PER_PUSH_MAX = 1_000


class Push(NamedTuple):
    """What a body says. ``left_out``: parts that can't be read, or that the settings map to nothing."""

    alerts: tuple[Alert, ...]
    left_out: tuple[str, ...] = ()


def read_push(hook: AlertHook, body: bytes) -> Push:
    """The alerts in a body. Raises ``UnreadableError`` for a body that is not of the hook's kind."""
    fields = document(body)
    if not isinstance(fields, dict):
        raise UnreadableError("the body is no JSON object")
    match hook:
        case AlertmanagerHook():
            return _of_alertmanager(hook, fields)
        case PagerDutyHook():
            return _of_events_api(hook, fields) if "event_action" in fields else _of_pagerduty(hook, fields)
        case StatuspageHook():
            return _of_statuspage(hook, fields)
        case _:
            raise UnreadableError(f"a hook of the kind {type(hook).__name__} takes no alerts")


def _of_alertmanager(hook: AlertmanagerHook, fields: dict[str, Any]) -> Push:
    if fields.get("version") != "4":
        what = f"field version is {fields.get('version')!r:.50}"
        raise UnreadableError(f"{what}: expected '4', the webhook of Alertmanager")
    pushing = _Pushing()
    for entry in _entries(fields, "alerts"):
        labels = _labels(entry, "labels")
        name = text(labels, "alertname") or "an alert"
        alert_id = text(entry, "fingerprint")
        if not alert_id:
            pushing.leave_out(f"{name}: it has no fingerprint")
        elif text(entry, "status") == "resolved":
            pushing.end(alert_id)
        else:
            notes = _labels(entry, "annotations")
            pushing.claim(
                Alert(
                    alert_id,
                    _places_of(hook, labels),
                    hook.states.get(text(labels, hook.severity_label)),
                    text=f"{name}: {text(notes, 'summary') or text(notes, 'description') or 'firing'}",
                    starts_ms=instant_ms(entry.get("startsAt")),
                ),
                f"{name}: {hook.severity_label} is {text(labels, hook.severity_label)!r:.50}",
            )
    return pushing.push()


def _places_of(hook: AlertmanagerHook, labels: Mapping[str, Any]) -> tuple[str, ...]:
    provider = text(labels, hook.provider_label)
    provider = hook.provider_names.get(provider, provider)
    region = text(labels, hook.region_label)
    region = hook.region_names.get(region, region)
    pool = text(labels, hook.pool_label)
    if pool.count("/") == 2:
        place = pool
    else:
        parts = [provider, region, pool]
        place = "/".join(parts[: parts.index("")] if "" in parts else parts)
    if place and (not pool or place.endswith(pool)):
        return (place,)
    return hook.alert_places.get(text(labels, "alertname"), ())


def _of_pagerduty(hook: PagerDutyHook, fields: dict[str, Any]) -> Push:
    event = fields.get("event")
    if not isinstance(event, dict) or not text(event, "event_type"):
        raise UnreadableError("the body has neither field event with event_type nor field event_action")
    data = event.get("data")
    pushing = _Pushing()
    if not isinstance(data, dict) or text(data, "type") != "incident" or not text(data, "id"):
        return pushing.push()  # a ping, a note, or the like
    if text(data, "status") == "resolved":
        pushing.end(text(data, "id"))
        return pushing.push()
    service = _labels(data, "service")
    urgency = text(data, "urgency")
    pushing.claim(
        Alert(
            text(data, "id"),
            _first(hook.services, text(service, "id"), text(service, "summary")),
            hook.states.get(urgency),
            text=text(data, "title"),
            starts_ms=instant_ms(data.get("created_at")),
        ),
        f"service {text(service, 'summary')!r:.100} with urgency {urgency!r:.50}",
    )
    return pushing.push()


def _of_events_api(hook: PagerDutyHook, fields: dict[str, Any]) -> Push:
    action, alert_id = text(fields, "event_action"), text(fields, "dedup_key")
    if action not in ("trigger", "acknowledge", "resolve"):
        raise UnreadableError(
            f"field event_action is {action!r:.50}: expected trigger, acknowledge or resolve"
        )
    if not alert_id:
        raise UnreadableError("field dedup_key is missing: without it nobody could end what this begins")
    pushing = _Pushing()
    if action == "resolve":
        pushing.end(alert_id)
    if action == "trigger":
        payload = _labels(fields, "payload")
        names = [text(payload, field) for field in ("component", "group", "source")]
        severity = text(payload, "severity")
        pushing.claim(
            Alert(
                alert_id,
                _first(hook.services, *names),
                hook.states.get(severity),
                text=text(payload, "summary"),
                starts_ms=instant_ms(payload.get("timestamp")),
            ),
            f"component, group and source {names!r:.200} with severity {severity!r:.50}",
        )
    return pushing.push()


def _of_statuspage(hook: StatuspageHook, fields: dict[str, Any]) -> Push:
    component, incident = fields.get("component"), fields.get("incident")
    pushing = _Pushing()
    if isinstance(component, dict) and text(component, "id"):
        status, name = text(component, "status"), text(component, "name")
        pushing.claim(
            Alert(
                f"component-{text(component, 'id')}",
                _first(hook.components, text(component, "id"), name),
                _component_state(status),
                text=f"{name}: {status}",
            ),
            f"component {name!r:.100}",
            has_ended=status == WELL,
        )
    elif isinstance(incident, dict) and text(incident, "id"):
        listed = [entry for entry in incident.get("components") or () if isinstance(entry, dict)]
        places = [_first(hook.components, text(entry, "id"), text(entry, "name")) for entry in listed]
        name = text(incident, "name")
        pushing.claim(
            Alert(
                f"incident-{text(incident, 'id')}",
                tuple(place for entry in places for place in entry) if listed else hook.incidents,
                "degraded",
                text=name,
                starts_ms=instant_ms(incident.get("created_at")),
            ),
            f"incident {name!r:.100}",
            has_ended=text(incident, "status") not in BEING_EXAMINED or text(incident, "impact") == "none",
        )
    else:
        raise UnreadableError("the body has neither field component nor field incident with an id")
    return pushing.push()


def _component_state(status: str) -> AlertState:
    return "maintenance" if status == IN_MAINTENANCE else STATES.get(status, "degraded")


class _Pushing:
    """The alerts of one body as they are read."""

    def __init__(self) -> None:
        self._alerts: list[Alert] = []
        self._left_out: list[str] = []

    def end(self, alert_id: str) -> None:
        self._alerts.append(Alert(alert_id, (), None))

    def leave_out(self, why: str) -> None:
        self._left_out.append(plain_text(why))

    def claim(self, alert: Alert, what: str, *, has_ended: bool = False) -> None:
        """Note an alert. One that the settings map to no state or no place ends what it claimed before, and
        ``what`` says which it is."""
        unfit = next((place for place in alert.places if not _is_place(place)), "")
        if has_ended:
            self.end(alert.id)
        elif alert.state is None or not alert.places or unfit:
            self.end(alert.id)
            why = f"{unfit!r} is no place" if unfit else "the settings map it to nothing"
            self.leave_out(f"{what}: {why}")
        else:
            self._alerts.append(alert._replace(text=plain_text(alert.text) or "no text"))

    def push(self) -> Push:
        return Push(tuple(self._alerts), tuple(self._left_out))


def _entries(fields: Mapping[str, Any], field: str) -> list[dict[str, Any]]:
    entries = fields.get(field)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UnreadableError(f"the body has no list {field} of objects")
    if len(entries) > ALERTS_PER_PUSH_MAX:
        raise UnreadableError(f"the list {field} has more than {ALERTS_PER_PUSH_MAX:,} entries")
    return entries


def _labels(fields: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    labels = fields.get(field)
    return labels if isinstance(labels, dict) else {}


def _first(places: Mapping[str, tuple[str, ...]], *names: str) -> tuple[str, ...]:
    return next((places[name] for name in names if name in places), ())


def _is_place(place: str) -> bool:
    try:
        msgspec.convert(place, Scope)
    except msgspec.ValidationError:
        return False
    return True
