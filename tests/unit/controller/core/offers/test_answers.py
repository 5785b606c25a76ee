"""Which answers count: nothing that an answer says loosens law, contracts or the right of first refusal."""

import pytest
from msgspec.structs import replace

from controller.core.offers.answers import lawful_candidates, reply_fault, reply_of_order, source_fault
from controller.core.policy.compiled import compile_policy
from tests.unit.controller.core.made import NOW_MS
from tests.unit.controller.core.offers.asking import (
    RULES,
    Flowing,
    answer,
    asking_policy,
    given,
    order,
    plan,
    short_by,
)
from tieline.offers import OfferedCapacity, OfferRequest


def request_for(*workloads: str) -> OfferRequest:
    """A request in eu that everybody was asked, for these workloads."""
    flowing = Flowing(asking_policy(holder=None))
    flowing.at(0)
    flowing.at(2)
    return replace(flowing.only, workloads=workloads, lost="")


def test_only_lawful_pools_in_the_geographies_can_be_given() -> None:
    """Exclusivity holds for capacity that is bought, too."""
    compiled = compile_policy(asking_policy())
    assert lawful_candidates(compiled, request_for("chat")) == {"azure/a/d", "gcp/b/d", "oci/c/d"}
    assert lawful_candidates(compiled, request_for("api")) == {"azure/a/d"}
    everywhere = replace(request_for("api"), geographies=("eu", "us"))
    assert lawful_candidates(compiled, everywhere) == {"azure/a/d", "azure/u/d"}


def test_capacity_that_would_be_lost_as_well_does_not_help() -> None:
    """Of the provider, of the region, or of any pool in the same failure domain."""
    rules = asking_policy()
    pools = tuple(
        replace(pool, domains=("grid",)) if pool.provider in ("gcp", "oci") else pool for pool in rules.pools
    )
    compiled = compile_policy(replace(rules, pools=pools))
    request = request_for("chat")
    assert lawful_candidates(compiled, replace(request, lost="azure")) == {"gcp/b/d", "oci/c/d"}
    assert lawful_candidates(compiled, replace(request, lost="gcp/b")) == {"azure/a/d", "oci/c/d"}
    assert lawful_candidates(compiled, replace(request, lost="grid")) == {"azure/a/d"}


@pytest.mark.parametrize(
    ("offered", "why"),
    [
        (given("azure/u/d"), "azure/u/d may not serve what is short in eu; those that may: azure/a/d"),
        (given("gcp/b/d"), "gcp/b/d is no pool of azure"),
        (given("azure/x/d"), "azure/x/d may not serve what is short in eu; those that may: azure/a/d"),
        (given(at=3, until=2), "what is given on azure/a/d ends before it begins, or is over"),
        (given(at=-9, until=-1), "what is given on azure/a/d ends before it begins, or is over"),
        (given(at=700), "what is given on azure/a/d ends before it begins, or is over"),
        (
            replace(given(), price_per_million_units=5.5),
            "5.5 per million units is more than the policy pays, which is 5",
        ),
        (replace(given(), price_per_million_units=5.0), ""),
        (given(), ""),
    ],
)
def test_capacity_that_can_not_be_used_does_not_count(offered: OfferedCapacity, why: str) -> None:
    """The reason names what is wrong, and what would be right."""
    rules = replace(RULES, price_max_per_million_units=5.0)
    compiled = compile_policy(asking_policy(rules, holder=None))
    request = request_for("chat")
    reply = reply_of_order(order(request, offered.pool, offered))._replace(provider="azure")
    assert reply_fault(compiled, request, reply, NOW_MS) == why


def test_only_sources_that_may_speak_of_capacity_answer_and_within_their_scope() -> None:
    """As with statements of capacity: the kinds fleet and quota."""
    rules, request = asking_policy(), request_for("chat")
    assert source_fault(rules, answer(request, "gcp").answer) == ""
    assert source_fault(rules, answer(request, "gcp", source="nobody").answer) == (
        "the policy names no source nobody"
    )
    assert source_fault(rules, answer(request, "gcp", source="pages").answer) == (
        "pages is of the kind status: only fleet and quota may answer"
    )
    fleet = "azure-fleet"
    assert source_fault(rules, answer(request, "azure", given(), source=fleet).answer) == ""
    assert source_fault(rules, answer(request, "gcp", source=fleet).answer) == (
        "azure-fleet may speak of azure only, not of gcp"
    )
    assert source_fault(rules, answer(request, "gcp", given("gcp/b/d"), source=fleet).answer) == (
        "azure-fleet may speak of azure only, not of gcp/b/d"
    )


def test_what_a_stranger_answers_changes_nothing() -> None:
    """It is told among the answers that do not count."""
    flowing = Flowing()
    flowing.at(0)
    flowing.at(2)
    flowing.at(3, answers=[answer(flowing.only, "azure", given(), source="pages")])
    assert flowing.only.accepted == ()
    assert flowing.offers.ignored[0].why.startswith("pages is of the kind status")


def test_a_shortage_of_an_exclusive_workload_is_asked_of_its_provider_only() -> None:
    """Whoever holds the first refusal."""
    exclusive = plan(replace(short_by(80), routes=("api/eu",)))
    flowing = Flowing(asking_policy(holder="gcp"))
    flowing.at(0, exclusive)
    flowing.at(2, exclusive)
    assert [item.provider for item in flowing.only.providers] == ["azure"]
