"""The file of targets: all of it is checked, and every mistake says where it is and what to give."""

from pathlib import Path

import pytest

from controller.notify.targets import PAGERDUTY_URL, access_of, load_targets
from controller.process.errors import UserError

FILE = """
targets:
  - {name: chat, kind: slack, url: {env: SLACK_URL}, severity: warning}
  - {name: pager, kind: pagerduty, routing_key: {file: %s}, events: [shedding, alarm], severity: critical}
  - {name: alerts, kind: alertmanager, url: "http://127.0.0.1:9093/api/v2/alerts", authorization: "Bearer x"}
  - name: hook
    kind: webhook
    url: https://hooks.example/in
    headers: {X-Token: {env: TOKEN}}
    body: {text: "{text}"}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "key").write_text("routing\n")
    file = tmp_path / "targets.yaml"
    file.write_text(FILE % (tmp_path / "key"))
    return file


def test_targets_are_read_with_their_secrets(path: Path) -> None:
    """From the environment, or from files; PagerDuty's address need not be given."""
    targets = load_targets(path)
    environment = {"SLACK_URL": "https://slack.example/secret", "TOKEN_FILE": str(path.with_name("key"))}
    access = {target.name: access_of(target, environment) for target in targets}
    assert access["chat"].url == "https://slack.example/secret"
    assert (access["pager"].url, access["pager"].routing_key) == (PAGERDUTY_URL, "routing")
    assert access["alerts"].headers == {"Authorization": "Bearer x"}
    assert access["hook"].headers == {"X-Token": "routing"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("kind: carrier_pigeon", r"targets\[0\].kind: invalid enum value 'carrier_pigeon'"),
        ("kind: slack", r"target a: url: missing; give an address"),
        ("kind: pagerduty", r"target a: routing_key: missing; give the integration key"),
        ("kind: slack, url: x, evnts: [alarm]", r"unknown field `evnts`"),
        (
            "kind: slack, url: x, events: [alrm]",
            r"target a: events: there is no kind 'alrm'; give some of alarm,",
        ),
        ("kind: slack, url: x, body: {}", r"target a: body: only a webhook has one"),
        ("kind: webhook, url: x, body: '{who.__class__}'", r"in braces may stand at, kind,"),
        ("kind: webhook, url: x, body: '{text!r}'", r"in braces may stand"),
        ("kind: webhook, url: x, body: '{text:>9}'", r"in braces may stand"),
        ("kind: webhook, url: x, body: '{'", r"write \{\{ for a brace"),
        ("kind: slack, url: x, per_minute: 0", r"targets\[0\].per_minute: expected `int` >= 1"),
    ],
)
def test_a_mistake_names_its_place_and_the_remedy(tmp_path: Path, line: str, message: str) -> None:
    """Nothing starts on a file with one."""
    file = tmp_path / "targets.yaml"
    file.write_text(f"targets:\n  - {{name: a, {line}}}\n")
    with pytest.raises(UserError, match=rf"targets.yaml: .*{message}"):
        load_targets(file)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    """Absent, no YAML, without targets, or with two of one name."""
    file = tmp_path / "targets.yaml"
    with pytest.raises(UserError, match="can't be read"):
        load_targets(file)
    twin = "{name: a, kind: slack, url: x}"
    for text, message in (
        ("{", "this is not YAML"),
        ("targets: []", "length >= 1"),
        (f"targets: [{twin}, {twin}]", "two targets are named a"),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=message):
            load_targets(file)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://hooks.example/secret", "without TLS only this machine may be told"),
        ("ftp://hooks.example/secret", "not an address"),
        ("secret", "not an address"),
        ("{env: ABSENT}", "neither ABSENT nor ABSENT_FILE is set"),
        ("{file: /nowhere/secret-file}", "/nowhere/secret-file can't be read"),
        ("{}", "give either env or file"),
    ],
)
def test_an_address_must_keep_what_it_is_told(tmp_path: Path, url: str, message: str) -> None:
    """HTTPS except on this machine; the error does not repeat the address, which may be a secret."""
    file = tmp_path / "targets.yaml"
    file.write_text(f"targets:\n  - {{name: a, kind: slack, url: {url if url[0] == '{' else repr(url)}}}\n")
    (target,) = load_targets(file)
    with pytest.raises(UserError, match=message) as error:
        access_of(target, {})
    assert "hooks.example" not in str(error.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/x", "http://[::1]/x", "http://localhost/x", "https://h/x"]
)
def test_this_machine_may_be_told_without_tls(tmp_path: Path, url: str) -> None:
    """By any of its names."""
    file = tmp_path / "targets.yaml"
    file.write_text(f"targets: [{{name: a, kind: slack, url: '{url}'}}]")
    (target,) = load_targets(file)
    assert access_of(target, {}).url == url
