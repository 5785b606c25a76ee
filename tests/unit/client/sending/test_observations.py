"""Windows of observations: a region is one record, nothing seen is lost, sequences rise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tieline._sending.observations import ObservationWindow, merged
from tieline.events import POOLS_PER_EVENT_MAX, Outcomes, PoolObservation
from tieline.misfits import misfit

NOW_MS = 1_790_000_000_000


def test_many_pools_of_a_region_travel_in_one_report() -> None:
    """Pools of one provider-region share a record; another region has its own, with a higher sequence."""
    window = ObservationWindow("prober", "inc", NOW_MS)
    for pool in ("azure/eastus/b", "azure/eastus/a", "gcp/us-east1/c"):
        window.add(PoolObservation(pool, Outcomes(ok=1)))
    azure, gcp = window.close(NOW_MS + 2_000, 2_000)
    assert [row.pool for row in azure.pools] == ["azure/eastus/a", "azure/eastus/b"]
    assert (gcp.provider, gcp.region) == ("gcp", "us-east1")
    assert azure.sequence < gcp.sequence
    assert (azure.window_start_ms, azure.window_end_ms, azure.interval_ms) == (NOW_MS, NOW_MS + 2_000, 2_000)


def test_a_window_begins_where_the_last_one_ended() -> None:
    """No instant belongs to two windows or to none, and an idle window says nothing."""
    window = ObservationWindow("prober", "inc", NOW_MS)
    assert window.close(NOW_MS + 5, 2_000) == ()
    window.add(PoolObservation("azure/eastus/a"))
    window.add(PoolObservation("gcp/us-east1/b"))
    (first,) = window.close(NOW_MS + 10, 2_000, "azure/eastus")
    window.add(PoolObservation("azure/eastus/a"))
    second, other = window.close(NOW_MS + 30, 2_000)
    assert (first.window_start_ms, first.window_end_ms) == (NOW_MS, NOW_MS + 10)
    assert (second.window_start_ms, other.window_start_ms) == (NOW_MS + 10, NOW_MS)


def test_a_clock_that_went_back_gives_no_window_of_negative_length() -> None:
    """The report stays valid when the wall clock is set back in a window."""
    window = ObservationWindow("prober", "inc", NOW_MS)
    window.add(PoolObservation("azure/eastus/a"))
    (report,) = window.close(NOW_MS - 5_000, 2_000)
    assert misfit(report) is None


def test_what_was_measured_survives_a_later_window_without_it() -> None:
    """Counts add up, a later latency replaces, a missing one does not erase."""
    first = PoolObservation("a/b/c", Outcomes(ok=2, timeout=1), units=5, first_token_p50_ms=80.0, in_flight=4)
    first = replace(first, rate_limit_left=0.3)
    second = PoolObservation("a/b/c", Outcomes(ok=1), units=2, oldest_in_flight_ms=900)
    both = merged(first, second)
    assert both.outcomes == Outcomes(ok=3, timeout=1)
    assert both.rate_limit_left == 0.3
    assert (both.units, both.first_token_p50_ms, both.in_flight, both.oldest_in_flight_ms) == (
        7,
        80.0,
        0,
        900,
    )


@given(st.lists(st.tuples(st.sampled_from(["a/b/c", "a/b/d", "e/f/g"]), st.integers(0, 9)), max_size=40))
def test_no_outcome_is_lost_or_counted_twice(seen: list[tuple[str, int]]) -> None:
    """The reports of a window hold exactly the outcomes that were added."""
    window = ObservationWindow("prober", "inc", NOW_MS)
    for pool, count in seen:
        window.add(PoolObservation(pool, Outcomes(ok=count)))
    reports = window.close(NOW_MS + 1, 100)
    assert sum(row.outcomes.ok for report in reports for row in report.pools) == sum(n for _, n in seen)


def test_a_region_with_too_many_pools_is_refused() -> None:
    """A source's row is its whole view, so a region is never spread over two records."""
    window = ObservationWindow("prober", "inc", NOW_MS)
    for number in range(POOLS_PER_EVENT_MAX):
        window.add(PoolObservation(f"a/b/c{number}"))
    with pytest.raises(ValueError, match="more than 2000 pools"):
        window.add(PoolObservation("a/b/one-more"))
