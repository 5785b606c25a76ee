"""An entry as Slack, PagerDuty, Alertmanager and a webhook take it."""

import json
from typing import Any

import msgspec
import pytest

from controller.history.entries import Entry
from controller.notify.shapes import ALERT_STANDS_MS, outgoing, standing_alerts
from controller.notify.target import Target
from tests.unit.controller.notify.wanted import ACCESS, NOW_MS, alarm, target

HOSTILE = Entry(
    NOW_MS,
    "order",
    "azure",
    text='drain "azure" <!channel>\x1b[2J {text} {0.__class__}',
    severity="warning",
    phase="begins",
    key="order:o1\r\nX-Evil: 1",
    who="kim & <b>",
    why=("a\x07b" * 2_000,),
)


def told(to: Target, entry: Entry) -> Any:
    """The body as the target reads it."""
    return json.loads(outgoing(to, ACCESS, entry, namespace="prod", now_ms=NOW_MS).body)


def test_slack_takes_a_text_without_marks_of_its_own() -> None:
    """Nobody is called to a channel by an operator's reason."""
    text = told(target(kind="slack"), HOSTILE)["text"]
    assert text.startswith(':large_yellow_circle: *prod* order: drain "azure" &lt;!channel&gt;[2J')
    assert "by kim &amp; &lt;b&gt;" in text
    assert "<" not in text
    assert told(target(kind="slack"), alarm("ends"))["text"].startswith(":large_green_circle: *prod* alarm:")


def test_pagerduty_takes_a_trigger_and_a_resolve_under_one_key() -> None:
    """By Events API v2, within its limits."""
    begun, over = (told(target(kind="pagerduty"), alarm(phase)) for phase in ("begins", "ends"))
    assert begun == {
        "routing_key": "secret-key",
        "event_action": "trigger",
        "dedup_key": "prod/alarm:prober",
        "client": "tieline",
        "payload": {
            "summary": "prod: prober: its last word is over",
            "source": "prod",
            "severity": "warning",
            "timestamp": "2027-01-15T08:00:00.000Z",
            "component": "prober",
            "class": "alarm",
            "custom_details": {"why": "it is silent"},
        },
    }
    assert over == {"routing_key": "secret-key", "event_action": "resolve", "dedup_key": "prod/alarm:prober"}
    long = msgspec.structs.replace(alarm(), text="x" * 5_000, key="k" * 999)
    event = told(target(kind="pagerduty"), long)
    assert (len(event["payload"]["summary"]), len(event["dedup_key"])) == (1_024, 255)


def test_alertmanager_takes_one_alert_with_the_same_labels_from_begin_to_end() -> None:
    """It ends by endsAt, and by itself if nobody repeats it."""
    (begun,), (over,) = (told(target(kind="alertmanager"), alarm(phase)) for phase in ("begins", "ends"))
    assert (
        begun["labels"]
        == over["labels"]
        == {
            "alertname": "TielineAlarm",
            "namespace": "prod",
            "severity": "warning",
            "about": "prober",
            "key": "alarm:prober",
        }
    )
    assert begun["annotations"]["summary"] == "prober: its last word is over"
    assert (begun["startsAt"], begun["endsAt"]) == ("2027-01-15T08:00:00.000Z", "2027-01-15T08:05:00.000Z")
    assert over["endsAt"] == "2027-01-15T08:00:00.000Z"
    later_ms = NOW_MS + ALERT_STANDS_MS
    again = standing_alerts(ACCESS, (alarm(),), namespace="prod", now_ms=later_ms)
    (repeated,) = json.loads(again.body)
    assert (repeated["startsAt"], repeated["endsAt"]) == (begun["startsAt"], "2027-01-15T08:10:00.000Z")


def test_a_webhook_takes_its_own_structure() -> None:
    """Values are put into strings, whatever is in them, and never evaluated."""
    body = {"title": "{kind}: {about}", "nested": [{"text": "{text}", "braces": "{{x}}"}, 1, None, True]}
    assert told(target(body=body), HOSTILE) == {
        "title": "order: azure",
        "nested": [
            {"text": 'drain "azure" <!channel>[2J {text} {0.__class__}', "braces": "{x}"},
            1,
            None,
            True,
        ],
    }
    assert set(told(target(), HOSTILE)) == {
        *("at", "kind", "phase", "severity", "about", "text"),
        *("who", "why", "generation", "key", "namespace"),
    }
    request = outgoing(target(body="{severity} {text}"), ACCESS, alarm(), namespace="prod", now_ms=NOW_MS)
    assert request.body == b"warning prober: its last word is over"
    assert request.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("kind", ["webhook", "slack", "pagerduty", "alertmanager"])
def test_each_request_has_a_key_and_the_headers_of_its_target(kind: str) -> None:
    """The key is the same when the request is repeated, and one line of ASCII; no secret shows in a repr."""
    request = outgoing(target(kind=kind), ACCESS, HOSTILE, namespace="prod", now_ms=NOW_MS)
    assert request.headers["X-Token"] == "secret"
    assert request.headers["Idempotency-Key"].isprintable()
    assert "secret" not in repr(request) + repr(ACCESS)
