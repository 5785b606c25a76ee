"""Policy changes for tests."""

from typing import Any

from msgspec.structs import replace

from controller.commands.policies import PolicyInForce, compressed
from controller.core.policy.policy import Policy, encode_policy, version_of
from controller.policy_file import load_policy
from tests.places import EXAMPLE_POLICY
from tieline.events import PolicyChange

NOW_MS = 1_800_000_000_000
POLICY: Policy = load_policy(EXAMPLE_POLICY)


def change(before: PolicyInForce, id: str = "p", **fields: Any) -> PolicyChange:
    """A change that follows ``before`` and differs from it in these fields of the policy."""
    return change_to(before, replace(before.policy, **fields), id)


def change_to(before: PolicyInForce, policy: Policy, id: str = "p") -> PolicyChange:
    """A change that follows ``before`` and puts ``policy`` in force."""
    return PolicyChange(
        id=id,
        actor="kim",
        reason="a test",
        issued_ms=NOW_MS,
        number=before.number + 1,
        parent=before.version,
        version=version_of(policy),
        policy=compressed(encode_policy(policy)),
        parent_policy=compressed(before.packed),
    )
