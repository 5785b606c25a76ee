"""Who shows the secret of a hook: by what its kind of sender can send."""

import hmac
from hashlib import sha256

import pytest

from controller.collect.webhook.hooks import (
    AlertmanagerHook,
    CloudEventsHook,
    Hook,
    PagerDutyHook,
    StatuspageHook,
)
from controller.collect.webhook.secrets_shown import is_same, shows_secret

SECRET = "a-secret-of-a-hook"
ALERTS = AlertmanagerHook(name="alerts", secret=SECRET)
PAGER = PagerDutyHook(name="pager", secret=SECRET, services={"s": ("azure",)})
PAGE = StatuspageHook(name="page", secret=SECRET, components={"c": ("azure",)})
EVENTS = CloudEventsHook(name="events", secret=SECRET, sources=("probe-1",))
BODY = b'{"event": {}}'


def shown(hook: Hook, *, body: bytes = BODY, token: str = "", **headers: str) -> bool:
    """Whether a request with these shows the secret."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return shows_secret(hook, SECRET, headers=names, parameters={"token": token}, body=body)


@pytest.mark.parametrize("hook", [ALERTS, PAGER, PAGE, EVENTS])
def test_a_bearer_token_opens_every_hook(hook: Hook) -> None:
    """And no other token, scheme, or none."""
    assert shown(hook, authorization=f"Bearer {SECRET}")
    assert shown(hook, authorization=f"bearer  {SECRET} ")
    for wrong in (f"Bearer {SECRET}x", f"Basic {SECRET}", "Bearer", "", "Bearer a-secret-of-a-hooK"):
        assert not shown(hook, authorization=wrong)


def test_pagerduty_signs_its_bodies() -> None:
    """One of several signatures must fit this body; the Events API has a field instead."""
    signature = hmac.new(SECRET.encode(), BODY, sha256).hexdigest()
    assert shown(PAGER, x_pagerduty_signature=f"v1=00,v1={signature}")
    assert not shown(PAGER, x_pagerduty_signature=f"v1={signature}", body=BODY + b" ")
    assert not shown(ALERTS, x_pagerduty_signature=f"v1={signature}")
    assert shown(PAGER, body=b'{"routing_key": "%s"}' % SECRET.encode())
    assert not shown(PAGER, body=b'{"routing_key": "other"}')
    assert not shown(ALERTS, body=b'{"routing_key": "%s"}' % SECRET.encode())


def test_only_a_statuspage_shows_its_secret_in_the_url() -> None:
    """Which proxies may log, so nobody else may."""
    assert shown(PAGE, token=SECRET)
    assert not shown(PAGE, token="other")
    assert not any(shown(hook, token=SECRET) for hook in (ALERTS, PAGER, EVENTS))


def test_an_empty_secret_opens_nothing() -> None:
    """However it came about."""
    assert not is_same("", "")
