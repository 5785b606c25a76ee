"""What an operator types becomes events, or one clear sentence."""

from typing import Literal

import pytest

from controller.cli.event_input import Identity, InputError, events, load
from tieline.events import Capacity, Outcomes, Report

NOW_MS = 1_790_000_000_000
ME = Identity("prober", "inc", NOW_MS)


def test_a_short_file_becomes_whole_events() -> None:
    """Source, incarnation, sequence and window are filled in; each provider-region gets its record."""
    text = """
    pools:
      - {pool: azure/eastus/a, outcomes: {ok: 9, timeout: 1}}
      - {pool: gcp/us-east1/b, in_flight: 3}
      - {pool: azure/eastus/c}
    """
    azure, gcp = events("health", load(text, "f.yaml"), ME, place="f.yaml")
    assert isinstance(azure, Report)
    assert [row.pool for row in azure.pools] == ["azure/eastus/a", "azure/eastus/c"]
    assert azure.pools[0].outcomes == Outcomes(ok=9, timeout=1)
    assert (azure.window_start_ms, azure.window_end_ms, azure.interval_ms) == (
        NOW_MS - 10_000,
        NOW_MS,
        10_000,
    )
    assert (azure.source, azure.sequence, gcp.sequence) == ("prober", 1, 2)


def test_capacity_expires_by_itself() -> None:
    """A claim without an expiry holds for ten minutes, and a given one is kept."""
    row = {"pool": "oci/uk-london-1/a", "limit_units_per_s": 500}
    (event,) = events("capacity", [{"pools": [row]}], ME, place="x")
    assert isinstance(event, Capacity)
    assert event.expires_ms == NOW_MS + 600_000
    (event,) = events("capacity", [{"pools": [row], "expires_ms": NOW_MS + 5}], ME, place="x")
    assert isinstance(event, Capacity)
    assert event.expires_ms == NOW_MS + 5


@pytest.mark.parametrize(
    ("kind", "description", "expected"),
    [
        ("health", {}, "field pools: expected a list"),
        ("health", {"pools": [{"pool": "azure"}]}, r"pools\[0\].pool: expected provider/region/deployment"),
        (
            "health",
            {"pools": [{"pool": "a/b/c", "outcomes": {"ok": -1}}]},
            r"pools\[0\].outcomes.ok: expected int",
        ),
        (
            "health",
            {"pools": [{"pool": "a/b/c", "in_fligt": 1}]},
            r"pools\[0\].in_fligt: there is no such field",
        ),
        ("health", {"pools": [{"pool": "a/b/c"}], "surce": "x"}, "field surce: there is no such"),
        ("health", {"pools": [{"pool": "a/b/c"}], "region": "x"}, "pool a/b/c is not in a/x"),
        ("health", {"pools": [{"pool": "a/b/c"}], "type": "capacity.v1"}, "not a health event"),
        ("health", {"pools": [{"pool": "a/b/c"}], "interval_ms": "long"}, "field interval_ms: expected int"),
        ("health", {"pools": [{"pool": "a/b/c"}, {"pool": "a/b/c"}]}, "a pool is named twice"),
        ("capacity", {"pools": [{"pool": "a/b/c"}]}, "missing required field limit_units_per_s"),
        ("capacity", {"pools": [{"pool": "a/b/c", "limit_units_per_s": float("inf")}]}, "limit_units_per_s"),
    ],
)
def test_a_fault_is_named_by_its_field(
    kind: Literal["health", "capacity"], description: dict[str, object], expected: str
) -> None:
    """Every mistake gives one sentence with place and field."""
    with pytest.raises(InputError, match=expected) as caught:
        events(kind, [description], ME, place="f.yaml")
    assert str(caught.value).startswith("f.yaml: ")
    assert "\n" not in str(caught.value)


def test_a_source_has_to_be_named() -> None:
    """Without a source nobody could say whose word it is."""
    with pytest.raises(InputError, match="field source: name the source"):
        events("health", [{"pools": [{"pool": "a/b/c"}]}], Identity("", "inc", NOW_MS), place="x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "f.yaml, line 1"),
        ("- 1", "expected one event"),
        ("", "expected one event"),
        ("[]", "expected one"),
    ],
)
def test_text_that_is_no_event_is_refused_with_its_place(text: str, said: str) -> None:
    """Broken YAML names its line."""
    with pytest.raises(InputError, match=said):
        load(text, "f.yaml")
