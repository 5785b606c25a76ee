"""Whether the policy lets a source say what it says, as producers ask it. The cases of ingestion, which asks
the same function, are in tests/unit/streams/test_contract_check.py.
"""

import msgspec
import pytest
from msgspec.structs import replace

from controller.core.policy.policy import QuotaGroup, Source, encode_policy
from controller.core.policy.registry import registry_of
from tests.unit.controller.core.made import policy, pool
from tests.unit.streams.made import T0_MS, capacity, demand, observation, report, statement
from tieline.cloudevents import Rejection
from tieline.events import Claim, Event
from tieline.leader_events import Heartbeat
from tieline.registration import Registry, SourceRule, advice, registry_in, unregistered

REGISTRY = Registry(
    frozenset({"azure"}),
    {
        "probe-1": SourceRule("probe"),
        "status-1": SourceRule("status", "azure/us"),
        "fleet-1": SourceRule("fleet"),
    },
    frozenset({"azure/eu/a"}),
)
DOWN = statement(1, Claim("down", T0_MS + 9_000))


@pytest.mark.parametrize(
    ("event", "reason", "words"),
    [
        (
            report(1, provider="azur"),
            Rejection.UNKNOWN_PROVIDER,
            "did you mean azure? Else",
        ),
        (
            report(1, source="probe1"),
            Rejection.UNKNOWN_SOURCE,
            "did you mean probe-1? Else",
        ),
        (report(1, source="x"), Rejection.UNKNOWN_SOURCE, "correct the event's source, or add the source"),
        (report(1, observation("azure/eu/b")), Rejection.UNKNOWN_POOL, "did you mean azure/eu/a? Else"),
        (replace(report(1), source="fleet-1"), Rejection.NOT_ITS_KIND, "as a source of another kind"),
        (DOWN, Rejection.OUT_OF_SCOPE, "widen the source's scope"),
    ],
)
def test_who_is_refused_learns_what_to_do(event: Event, reason: Rejection, words: str) -> None:
    """The nearest name that the policy has, and the remedy."""
    poison = unregistered(event, REGISTRY)
    assert poison is not None
    assert poison.reason is reason
    assert words in advice(event, poison, REGISTRY)


@pytest.mark.parametrize(
    "event", [demand(), Heartbeat("controller", 1), report(1, observation("azure/eu/a"))]
)
def test_clients_and_controllers_need_no_entry(event: Event) -> None:
    """Nor is a registered source refused."""
    assert unregistered(event, REGISTRY) is None


def test_producers_and_controllers_read_the_same_registry_from_a_policy() -> None:
    """A producer has the policy's bytes from the routes log; flows and limits are the controllers' own."""
    whole = policy(
        (pool("azure/eu", group="shared"), pool("gcp/us", group=("shared", "us"))),
        sources=(
            Source("probe-1", "probe"),
            Source("fleet-1", "fleet", scope="azure", interval_max_ms=5_000),
        ),
        groups=(QuotaGroup("shared", 10.0), QuotaGroup("us", 5.0), QuotaGroup("empty", 10.0)),
    )
    registry, full = registry_in(encode_policy(whole)), registry_of(whole)
    assert registry.sources == full.sources
    assert registry.sources["fleet-1"] == SourceRule("fleet", "azure", interval_max_ms=5_000)
    assert registry.pools == full.pools == {"azure/eu/d", "gcp/us/d"}
    assert registry.providers == full.providers == {"azure", "gcp"}
    shared = frozenset({"azure/eu/d", "gcp/us/d"})
    assert registry.groups == full.groups == {"shared": shared, "us": {"gcp/us/d"}, "empty": frozenset()}
    assert registry.flows is None
    assert full.flows == frozenset({("chat", "eu")})


def test_other_bytes_are_no_policy() -> None:
    """They raise what msgspec raises."""
    with pytest.raises(msgspec.MsgspecError):
        registry_in(b"\x81\xa1a\x01")


def test_capacity_of_a_registered_source_is_taken() -> None:
    """With everything in its scope."""
    assert unregistered(capacity(1), REGISTRY) is None
