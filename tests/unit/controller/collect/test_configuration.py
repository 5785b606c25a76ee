"""The file of `tieline collect`: all mistakes at once, each with its line, field and remedy."""

import pytest

from controller.collect.configuration import load_collectors, parse_collectors
from controller.core.policy.policy import Policy
from controller.policy_file import load_policy
from controller.process.errors import UserError
from tests.places import EXAMPLE_POLICY, EXAMPLES

GOOD = """
collectors:
  - kind: statuspage
    name: status-coreweave
    url: https://status.example.com/api/v2/summary.json
    provider: coreweave
    regions: {US: [us-east-04]}
    products: {"*": []}
"""


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy(EXAMPLE_POLICY)


def refused(text: str, policy: Policy | None = None) -> list[str]:
    """The mistakes of a text."""
    with pytest.raises(UserError) as error:
        parse_collectors(text, policy=policy)
    return str(error.value).splitlines()


def test_the_example_fits_the_example_policy(policy: Policy) -> None:
    """Every source, provider, region and pool that it names exists."""
    assert load_collectors(EXAMPLES / "collectors.yaml", policy)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("kind: statuspage", "kind: statuspge", ":3: collectors[0].kind: expected one of "),
        ("kind: statuspage", "interval_s: 9", ":3: collectors[0].kind: missing; it is one of "),
        ("name: status", "title: x\n    name: status", ":4: collectors[0].title: unknown field"),
        ("provider: coreweave", "provider: CoreWeave", ":6: collectors[0].provider: expected `str` matching"),
        ("https:", "ftp:", ":5: collectors[0].url: expected a plain http(s) address"),
        ("regions: {US: [us-east-04]}", "regions: {}", "collectors[0].regions: "),
        ("regions: {US: [us-east-04]}", "regions: {US: us-east-04}", "collectors[0].regions.US: "),
        ('{"*": []}', '{"*": [coreweave/eu/x]}', "is in no region of coreweave that regions names"),
        ('{"*": []}', '{"*": [azure/us-east-04/x]}', "is in no region of coreweave that regions names"),
        ("provider:", "unplaced: [eu]\n    provider:", "regions does not name eu"),
        ("provider:", "interval_s: 400\n    provider:", "must be at least twice interval_s"),
        ("provider:", "addresses: [10.0.0.1/8]\n    provider:", "has host bits set; give an address"),
        ("provider:", "ca_file: /nowhere/ca.pem\n    provider:", "can't be read as certificates in PEM"),
        (
            "url: https:",
            "authorization: secret\n    url: http:",
            "a secret is sent over https:// only, or to this machine",
        ),
    ],
)
def test_a_mistake_is_named_at_its_place(old: str, new: str, expected: str) -> None:
    """With the file, the line, the field and what to do."""
    assert old in GOOD
    mistakes = refused(GOOD.replace(old, new, 1))
    assert any(expected in mistake for mistake in mistakes), mistakes


def test_all_mistakes_are_named_at_once() -> None:
    """A wrong field does not hide another one."""
    text = GOOD.replace("https:", "ftp:").replace("provider: coreweave", "provider: coreweave\n    jitter: 2")
    assert [mistake.split(": ")[0] for mistake in refused(text)] == ["collectors.yaml:5", "collectors.yaml:7"]


def test_no_secret_is_repeated() -> None:
    """Not in the error about a secret that is given in a wrong way."""
    text = GOOD.replace(
        "provider:", "headers: {x-key: [hunter2]}\n    authorization: [hunter3]\n    provider:"
    )
    assert not any("hunter" in mistake for mistake in refused(text))


def test_one_source_has_one_collector() -> None:
    """Two would take back each other's statements."""
    assert "already collectors[0]" in refused(GOOD + GOOD.partition("collectors:\n")[2])[0]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("status-coreweave", "status-corewave", "has no such source; did you mean status-coreweave?"),
        ("name: status-coreweave", "name: prober", "is of the kind probe; a statement comes from status or"),
        ("name: status-coreweave", "name: status-azure", "lets this source speak of azure only"),
        ("provider: coreweave", "provider: corewave", "unknown provider corewave; did you mean coreweave?"),
        ("[us-east-04]", "[us-east-4]", "has no pool in us-east-4; did you mean us-east-04?"),
        ('{"*": []}', '{"*": [coreweave/us-east-04/gpt]}', "unknown pool coreweave/us-east-04/gpt"),
    ],
)
def test_names_are_checked_against_the_policy(policy: Policy, old: str, new: str, expected: str) -> None:
    """Sources and their kinds and scopes, providers, regions and pools."""
    assert parse_collectors(GOOD, policy=policy)
    mistakes = refused(GOOD.replace(old, new, 1), policy)
    assert any(expected in mistake for mistake in mistakes), mistakes
