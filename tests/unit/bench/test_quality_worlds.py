"""The frozen worlds of the benchmark of decision quality."""

from __future__ import annotations

import pytest

from bench._quality_worlds import NAMES, STRETCH_MAX_S, bucket_factors, chapters, incident_world, occurrences
from controller.core.policy.policy import Policy
from lab.demo.incident import Happening, Incident, ScopedFault
from lab.demo.trace import TraceRequest
from lab.sim.weather import Weather

FROZEN = {
    "azure-front-door-2025-10-29": "7dd13df1bcfb968c",
    "azure-managed-identity-2026-02-03": "79afb3a78c1e004a",
    "azure-openai-gpt52-2026-03-09": "6dafc6984e88b05a",
    "azure-openai-requests-2025-05-16": "4c61432ead8b6a2f",
    "azure-openai-sweden-2026-01-27": "1fff57af66286db0",
    "gcp-service-control-2025-06-12": "347f78c929bfa184",
}


@pytest.mark.parametrize("name", NAMES)
def test_the_worlds_are_frozen(name: str) -> None:
    """No world changes, or it would be fitted to a product. Who changes one says why, and measures anew."""
    assert incident_world(name).digest == FROZEN[name]


def policy() -> Policy:
    """The policy of the short incident: five pools."""
    return incident_world("azure-openai-requests-2025-05-16").world.policy


def incident(*happenings: Happening) -> Incident:
    """An incident that consists of these."""
    return Incident("short", "a short one", date="today", hard="no", source="a test", happenings=happenings)


def test_a_long_quiet_stretch_is_cut() -> None:
    """Five minutes stay five minutes, hours are cut, and a time after midnight is later than one before."""
    plan = chapters(incident(*(Happening(at, "it") for at in ("23:50", "23:55", "08:00 +1d"))))
    assert plan[1].at_s - plan[0].at_s == 300
    assert plan[2].at_s - plan[1].at_s == STRETCH_MAX_S


def test_faults_at_one_pool_are_joined() -> None:
    """Two kinds of failure leave what both let through; a 429 is a share of its own; a clear ends them."""
    pool = "azure/eastus2/gpt-4o"
    faults = (
        ScopedFault((pool,), "401", share=0.8),
        ScopedFault((pool,), "hang", share=0.5),
        ScopedFault((pool,), "429", share=0.6),
    )
    plan = chapters(
        incident(
            Happening("01:00", "it fails", faults=faults), Happening("01:05", "it works", clear=("azure",))
        )
    )
    errors, throttle = occurrences(plan, policy())
    assert (errors.kind, errors.value, errors.word, errors.for_s) == ("errors", 0.9, "auth", 300)
    assert (throttle.kind, throttle.value) == ("throttle", 0.6)


def test_less_capacity_lasts_until_it_is_stated_anew() -> None:
    """A factor holds through later happenings that say nothing of capacity."""
    halved = Happening("01:00", "less", capacity={"azure/westus3": 0.5})
    later = (Happening("01:05", "nothing"), Happening("01:10", "all", capacity={"azure/westus3": 1.0}))
    serves = list(occurrences(chapters(incident(halved, *later)), policy()))
    assert [(o.kind, o.value, o.for_s) for o in serves] == [("serves", 7_000.0, 300)] * 2


def test_demand_is_what_the_trace_brought() -> None:
    """Tokens of each whole ten seconds, as a multiple of their mean; a last, shorter bucket is left out."""
    arrivals = ((0.0, 100), (9.0, 200), (10.0, 900), (20.5, 5_000))
    assert bucket_factors([TraceRequest(at_s, tokens, 0) for at_s, tokens in arrivals]) == [0.5, 1.5]


def test_a_throttling_pool_turns_away_its_share() -> None:
    """The world of the failing model has pools that answer six of ten requests with 429."""
    frozen = incident_world("azure-openai-gpt52-2026-03-09")
    weather = Weather(frozen.world)
    weather.turn(frozen.begins_s - 1)
    assert weather.natures["azure/uksouth/gpt-5.2"].throttles == 0
    weather.turn(frozen.begins_s)
    assert weather.natures["azure/uksouth/gpt-5.2"].throttles == 0.6
    assert weather.natures["azure/uksouth/gpt-5-mini"].throttles == 0
