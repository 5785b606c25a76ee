"""Reports: what a window counts, within which memory, and how often an urgent one is sent."""

import pytest

from tests.unit.client.made_tables import target
from tieline._health.ejection import Out
from tieline._http.flights import Flights
from tieline._reports.reporter import UrgentGate
from tieline._reports.window import SAMPLES_MAX, DemandWindow, Samples
from tieline._routing.route import Outcome
from tieline.events import ResultClass


def test_reports_hold_what_happened() -> None:
    """Flows by origin; pools with counts, units, quantiles, what is in flight, and why a pool was ejected."""
    window, flights = DemandWindow(), Flights()
    window.offered("eu", 120.0)
    window.shed("eu", 20.0)
    flights.begin("a/r/x", 400)
    for first_ms in range(1, 101):
        window.observe(target("a/r/x"), Outcome(ResultClass.OK, 2.0, float(first_ms), 5.0))
    window.observe(target("b/r/x"), Outcome(ResultClass.TIMEOUT))
    outs = {"c/r/x": Out(ResultClass.AUTH, 0, 9_000)}
    flows, pools = window.take("chat", {"eu": (101, 1)}, outs, flights, 1_000)
    assert [(f.requests, f.offered_units, f.shed_requests, f.shed_units) for f in flows] == [
        (101, 120, 1, 20)
    ]
    served, failing, ejected = pools
    assert (served.outcomes.ok, served.units, served.in_flight, served.oldest_in_flight_ms) == (
        100,
        200,
        1,
        600,
    )
    assert (served.first_token_p50_ms, served.first_token_p99_ms, served.per_token_p50_ms) == (50, 99, 5)
    assert failing.outcomes.timeout == 1
    assert (ejected.pool, ejected.ejected) == ("c/r/x", ResultClass.AUTH)
    assert window.take("chat", {}, {}, Flights(), 2_000) == ((), ())


def test_an_ejection_is_reported_only_while_it_lasts() -> None:
    """Without weight no request would ever show that the pool is well again, so a report must not keep it
    out."""
    out = {"c/r/x": Out(ResultClass.AUTH, 0, 300_000)}
    _, (before,) = DemandWindow().take("chat", {}, out, Flights(), 299_999)
    _, (after,) = DemandWindow().take("chat", {}, out, Flights(), 300_000)
    assert (before.ejected, after.ejected) == (ResultClass.AUTH, None)


def test_samples_are_bounded() -> None:
    """However many values, few are kept, and the quantiles stay close."""
    samples = Samples()
    for value in range(100_000):
        samples.add(float(value))
    assert len(samples._values) <= SAMPLES_MAX
    assert samples.quantile(0.5) == pytest.approx(50_000, rel=0.02)
    assert samples.quantile(0.99) == pytest.approx(99_000, rel=0.02)


def test_urgent_reports_are_rare() -> None:
    """At most one a second for each pool."""
    gate = UrgentGate()
    assert gate.passes("a/r/x", 1_000)
    assert not gate.passes("a/r/x", 1_999)
    assert gate.passes("b/r/x", 1_999)
    assert gate.passes("a/r/x", 2_000)


def test_rate_limits_are_reported_by_load() -> None:
    """What is left is the mean of what answers say, weighted by their load; answers that say nothing, or
    served nothing, don't count, and nothing is reported where none says it."""
    window = DemandWindow()
    for units, left in ((30.0, 0.0), (10.0, 0.8), (500.0, None), (0.0, 1.0)):
        window.observe(target("a/r/x"), Outcome(ResultClass.OK, units, rate_limit_left=left))
    window.observe(target("b/r/x"), Outcome(ResultClass.OK, 5.0))
    _, (told, silent) = window.take("chat", {}, {}, Flights(), 0)
    assert told.rate_limit_left == pytest.approx(0.2)
    assert silent.rate_limit_left is None
