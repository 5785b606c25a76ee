"""Law and contracts, one rule at a time: each alone keeps a pool from a route."""

import pytest
from msgspec.structs import replace

from controller.core.model.reasons import Reason
from controller.core.policy.lawful import forbidden_by, origins_of
from controller.core.policy.policy import Origin, Policy, Pool, Workload
from tests.unit.controller.core.made import policy, pool, workload
from tieline.table import ModelOffer

EU = Origin("eu")
PAIR = pool("azure/sweden", models=("m", "n"))
ONE = pool("gcp/iowa", geography="us")


@pytest.mark.parametrize(
    ("refused", "route", "origin", "reason"),
    [
        (ONE, workload("api", exclusive="azure"), EU, Reason.EXCLUSIVE_ELSEWHERE),
        (ONE, workload("chat", allowed_providers=("azure", "oci")), EU, Reason.PROVIDER_NOT_ALLOWED),
        (ONE, workload("chat", pinned_pools=("azure/sweden/d",)), EU, Reason.PINNED_ELSEWHERE),
        (ONE, workload("chat"), Origin("eu", ("eu", "uk")), Reason.RESIDENCY_OF_ORIGIN),
        (ONE, workload("chat", allowed_geographies=("eu",)), EU, Reason.RESIDENCY_OF_WORKLOAD),
        (
            ONE,
            workload("chat", allowed_geographies=("us", "eu"), allowed_geographies_by_origin={"eu": ("eu",)}),
            EU,
            Reason.RESIDENCY_OF_WORKLOAD,
        ),
        (ONE, Workload("chat", "critical", ("m", "n")), EU, Reason.MODEL_NOT_OFFERED),
    ],
    ids=["exclusive", "allowed", "pinned", "origin", "workload", "workload by origin", "models"],
)
def test_each_rule_forbids_by_itself(refused: Pool, route: Workload, origin: Origin, reason: Reason) -> None:
    """The other pool, which fits, is allowed by the same rule."""
    assert forbidden_by(refused, route, origin) is reason
    assert forbidden_by(PAIR, route, origin) is None


def test_a_rule_for_one_origin_leaves_the_others() -> None:
    """What narrows requests from Europe says nothing of those from elsewhere."""
    route = workload("chat", allowed_geographies_by_origin={"eu": ("eu",)})
    assert forbidden_by(ONE, route, Origin("us")) is None


def test_a_workload_without_origins_has_them_all() -> None:
    """In the policy's order."""
    given: Policy = policy((PAIR,), origins=(EU, Origin("us")))
    assert origins_of(given, workload("chat")) == given.origins
    assert origins_of(given, workload("chat", origins=("us",))) == (Origin("us"),)


def test_context_and_features_are_asked_of_every_model() -> None:
    """What is not limited is long enough; one model that lacks something is enough to forbid the pool."""
    short, sees = ModelOffer("m", "m", 32_000, ("tools",)), ModelOffer("n", "n", 0, ("tools", "vision"))
    offers = replace(PAIR, models=(short, sees))
    for needs, reason in (
        (Workload("chat", "critical", ("m",), context_tokens=64_000), Reason.CONTEXT_TOO_SHORT),
        (Workload("chat", "critical", ("n",), context_tokens=64_000), None),
        (Workload("chat", "critical", ("n", "m"), features=("vision",)), Reason.FEATURE_NOT_OFFERED),
        (Workload("chat", "critical", ("n",), features=("vision", "tools")), None),
    ):
        assert forbidden_by(offers, needs, EU) is reason
