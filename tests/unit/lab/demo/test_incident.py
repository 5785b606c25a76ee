"""Incidents are files that replay: each is complete, in order, and fits its own policy."""

import pytest

from controller.policy_file import load_policy
from lab.demo.incident import IncidentError, claims_in_force, incident_ids, parse, read
from lab.demo.plan import INCIDENT, plan
from tests.places import ROOT

INCIDENTS = ROOT / "examples" / "incidents"
POLICY = INCIDENTS / "gcp-service-control-2025-06-12" / "policy.yaml"
WHOLE = """
id: x
title: t
date: d
hard: h
source: s
happenings:
  - {at: "10:00", what: begins, faults: [{"on": [gcp], kind: "503"}]}
  - {at: "00:30 +1d", what: ends, clear: [gcp]}
"""


@pytest.mark.parametrize("name", incident_ids(INCIDENTS))
def test_an_incident_fits_its_policy_and_ends_well(name: str) -> None:
    """Every scope is in the policy, every fault is cleared, and its load can be sent from one machine."""
    policy = load_policy(INCIDENTS / name / "policy.yaml")
    incident = read(INCIDENTS / name, policy)
    assert incident.id == name
    on: set[str] = set()
    for happening in incident.happenings:
        on -= set(happening.clear)
        on |= {scope for fault in happening.faults for scope in fault.on}
    assert on == set()
    assert plan(policy, INCIDENT, 1_400.0).policy.pools


def test_the_six_recorded_incidents_are_here() -> None:
    """There are six in examples/incidents."""
    assert len(incident_ids(INCIDENTS)) == 6


def test_times_run_over_midnight() -> None:
    """`+1d` is the day after, so an incident may last over midnight."""
    incident = parse(WHOLE, "f.yaml", load_policy(POLICY))
    assert [one.minute for one in incident.happenings] == [600, 1_470]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[gcp], kind", "[aws], kind", "10:00: no pool of the policy is in aws"),
        ("10:00", "25:00", "f.yaml: Expected"),
        (' +1d"', '"', "not in the order of their times"),
        ('kind: "503"', "kind: flood", "f.yaml: Invalid enum value 'flood'"),
        ("what: begins", "wat: begins", "f.yaml: Object"),
        ("id: x", "id: [", "f.yaml:4: not YAML"),
    ],
)
def test_a_mistake_is_named_with_its_place(old: str, new: str, said: str) -> None:
    """The error says where in the file it is, and what is wrong there."""
    with pytest.raises(IncidentError) as caught:
        parse(WHOLE.replace(old, new), "f.yaml", load_policy(POLICY))
    assert said in str(caught.value)


def test_all_well_again_retracts_what_was_claimed() -> None:
    """The status operational leaves no claim behind."""
    ill, well = (
        parse(
            WHOLE.replace(
                "what: begins,",
                f"what: begins, claims: [{{source: status-gcp, provider: gcp, state: {state}}}],",
            ),
            "f.yaml",
            load_policy(POLICY),
        )
        .happenings[0]
        .claims[0]
        for state in ("down", "operational")
    )
    assert [one.state for one in claims_in_force(ill, 1_790_000_000_000, 1_000)] == ["down"]
    assert claims_in_force(well, 1_790_000_000_000, 1_000) == ()
