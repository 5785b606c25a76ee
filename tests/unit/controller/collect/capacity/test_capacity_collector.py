"""What collectors of capacity name is checked against the policy, with its line."""

import pytest

from controller.collect.capacity.capacity_collector import figure_of
from controller.collect.configuration import parse_collectors
from controller.core.policy.policy import Policy
from controller.policy_file import load_policy
from controller.process.errors import UserError
from tests.places import EXAMPLE_POLICY

GOOD = """
collectors:
  - kind: model_servers
    name: fleet
    interval_s: 15
    expires_after_s: 60
    pools:
      - {pool: coreweave/us-east-04/gpt-oss, replicas: ["http://10.0.0.1/m"], units_per_s_per_replica: 9}
      - {pool: coreweave/eu-north-1/gpt-oss, replicas: ["http://10.0.0.2/m"], units_per_s_per_replica: 9}
  - kind: azure_usages
    name: quota
    url: file:///run/usages.json
    provider: azure
    quotas:
      - {quota: a, group: azure-europe, region: swedencentral}
  - kind: kubernetes
    name: status-coreweave
    url: https://kubernetes.default.svc
    namespace: llm
    pods:
      - {pool: coreweave/us-east-04/gpt-oss, labels: {app: x}, units_per_s_per_replica: 9}
"""


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy(EXAMPLE_POLICY)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("interval_s: 15", "interval_s: 31", "[0].expires_after_s: must be at least twice interval_s"),
        ("coreweave/eu-north-1", "coreweave/us-east-04", "[0].pools[1].pool: coreweave/us-east-04/gpt-oss"),
        ("10.0.0.2", "10.0.0.1", "[0].pools[1].replicas[0]: the same replica is named"),
        ("us-east-04/gpt-oss, r", "us-east-4/gpt-oss, r", "[0].pools[0].pool: unknown pool coreweave"),
        ("interval_s: 15", "bearer: secret", "[0].pools[0].replicas[0]: a secret is sent over https://"),
        (
            "interval_s: 15",
            "bearer: secret\n    authorization: secret",
            "[0].authorization: give only one of authorization, bearer and identity",
        ),
        ("group: azure-europe", "group: azure-eu", "[1].quotas[0].group: unknown quota group azure-eu; did"),
        ("provider: azure", "provider: gcp", "[1].quotas[0].group: the quota group azure-europe has no pool"),
        ("file:///run/usages.json", "file:usages.json", "[1].url: expected an http(s) address"),
        ("name: fleet", "name: prober", "[0].name: the policy's source is of the kind probe;"),
        ("app: x", "app/: x", "[2].pods[0].labels"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_at_its_place(policy: Policy, old: str, new: str, expected: str) -> None:
    """With the line, the field and what to do; the last collector's source is of another kind."""
    assert old in GOOD
    with pytest.raises(UserError) as error:
        parse_collectors(GOOD.replace(old, new, 1), policy=policy)
    mistakes = str(error.value).splitlines()
    assert any(f"collectors{expected}" in mistake for mistake in mistakes), mistakes


def test_a_source_speaks_of_its_scope_only(policy: Policy) -> None:
    """Of pools, and of quota groups of which it has a pool."""
    text = GOOD.replace("name: fleet", "name: status-azure").replace("name: quota", "name: status-gcp")
    with pytest.raises(UserError) as error:
        parse_collectors(text, policy=policy)
    assert "lets this source speak of azure only, not of coreweave/us-east-04/gpt-oss" in str(error.value)
    assert "lets this source speak of gcp only, not of the quota group azure-europe" in str(error.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3, 3.0), ("3.5", 3.5), (0, 0.0), (True, None), (-1, None), ("NaN", None), (1e13, None), ([3], None)],
)
def test_a_figure_is_a_number_that_may_be_stated(value: object, expected: float | None) -> None:
    """Not a truth value, not a negative one, and none beyond what an event may hold."""
    assert figure_of(value) == expected
