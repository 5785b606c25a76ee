"""Counts over the last seconds."""

from hypothesis import given
from hypothesis import strategies as st

from tieline._health.counts import RecentCounts


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 30_000)), max_size=50), st.integers(0, 5_000))
def test_what_is_older_than_the_window_counts_no_more(steps: list[tuple[int, int]], began_ms: int) -> None:
    """Whatever the times, a sum is what was added in the last ten spans of a second, the present one
    included."""
    counts, now_ms = RecentCounts(2, buckets=10, bucket_ms=1_000), began_ms
    added: list[tuple[int, int]] = []
    for column, passed_ms in steps:
        now_ms += passed_ms
        counts.add(column, now_ms)
        added.append((column, now_ms // 1_000))
        live = [column for column, second in added if second > now_ms // 1_000 - 10]
        assert list(counts.sums(now_ms)) == [live.count(0), live.count(1)]


def test_what_is_cleared_is_gone() -> None:
    """At once, also at the beginning of time."""
    counts = RecentCounts(1, buckets=10, bucket_ms=1_000)
    counts.add(0, 0, 2.5)
    assert list(counts.sums(0)) == [2.5]
    counts.clear()
    assert list(counts.sums(0)) == [0]
    counts.add(0, 0)
    assert list(counts.sums(0)) == [1]
