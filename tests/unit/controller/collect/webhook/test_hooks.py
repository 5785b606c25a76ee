"""The section ``webhook`` of the collectors' file: read with all its mistakes at once, each with its line."""

import pytest

from controller.collect.configuration import load_collectors, parse_collectors
from controller.policy_file import load_policy
from controller.process.errors import UserError
from tests.places import EXAMPLES

HEAD = "webhook:\n  listen: 127.0.0.1:8470\n  hooks:\n"
POLICY = load_policy(EXAMPLES / "multicloud.yaml")


def mistakes(*hooks: str) -> str:
    """What is wrong with a file that has these hooks, one a line."""
    with pytest.raises(UserError) as raised:
        parse_collectors(HEAD + "".join(f"    - {hook}\n" for hook in hooks), policy=POLICY)
    return str(raised.value)


def test_the_example_is_right() -> None:
    """With the policy that its head names."""
    file = load_collectors(EXAMPLES / "webhook.yaml", POLICY)
    assert file.webhook is not None
    assert [hook.name for hook in file.webhook.hooks][:2] == ["events", "status-azure"]


@pytest.mark.parametrize(
    ("hook", "mistake"),
    [
        ("{kind: alertmanager, name: status-azur, secret: {env: X}}", "did you mean status-azure?"),
        ("{kind: alertmanager, name: prober, secret: {env: X}}", "is of the kind probe; a statement comes"),
        ("{kind: alertmanager, name: status-azure, secret: short}", "needs at least 16 characters"),
        ("{kind: cloudevents, name: e, secret: {env: X}, sources: [probe]}", "did you mean prober?"),
        ("{kind: cloudevents, name: e, secret: {env: X}}", "sources"),
        (
            "{kind: statuspage, name: status-azure, secret: {env: X}, components: {A: [gcp]}}",
            "lets this source speak of azure only",
        ),
        (
            "{kind: statuspage, name: status-azure, secret: {env: X}, components: {A: [azure/nowhere]}}",
            "the policy has nothing at azure/nowhere",
        ),
        ("{kind: pagerduty, name: status-azure, secret: {env: X}, services: {A: [Azure!]}}", "services"),
    ],
)
def test_a_mistake_is_named_with_its_line(hook: str, mistake: str) -> None:
    """And with the nearest name that the policy has."""
    text = mistakes(hook)
    assert mistake in text
    assert text.startswith("collectors.yaml:4")


def test_two_hooks_need_two_names() -> None:
    """They are the paths and the sources."""
    hook = "{kind: alertmanager, name: status-azure, secret: {env: X}}"
    assert "status-azure is already hooks[0]" in mistakes(hook, hook)


def test_a_file_needs_a_collector_or_a_webhook() -> None:
    """One of both is enough."""
    with pytest.raises(UserError, match="name at least one collector, or a webhook"):
        parse_collectors("collectors: []\n")
    assert parse_collectors(HEAD + "    - {kind: cloudevents, name: e, secret: {env: X}, sources: [a]}\n")


def test_tls_needs_both_files() -> None:
    """A certificate without its key is a mistake."""
    hook = "    - {kind: cloudevents, name: e, secret: {env: X}, sources: [a]}\n"
    with pytest.raises(UserError, match="give both certificate and key"):
        parse_collectors(HEAD + hook + "  certificate: tls.crt\n")
