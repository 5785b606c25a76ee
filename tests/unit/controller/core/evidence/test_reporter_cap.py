"""No reporter is more than a quarter of the evidence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.evidence.reporter_cap import capped_share, largest_reporters
from streams.rows import PoolSum, ReporterShare
from tests.unit.controller.core.made import LIMITS
from tieline.events import Outcomes

CAP = LIMITS.reporter_share_max
Told = tuple[int, int]  # one reporter's requests, and how many of them failed


def plain(reporters: list[Told]) -> float:
    """The failing share of all requests alike."""
    return sum(failed for _, failed in reporters) / sum(requests for requests, _ in reporters)


def shared(*reporters: Told) -> float:
    """The failing share as it counts; rows name the largest four."""
    known = sorted(reporters, key=lambda told: (-told[0], told[1]))[:4]
    requests, failures = (sum(column) for column in zip(*reporters, strict=True))
    found = capped_share(known, requests, failures, len(reporters), LIMITS)
    return plain(list(reporters)) if found is None else found


@pytest.mark.parametrize(
    ("reporters", "share"),
    [
        ([(1000, 1000), (10, 0), (10, 0), (10, 0)], 0.25),
        ([(1000, 0), (10, 10), (10, 10), (10, 10)], 0.75),
        ([(1000, 1000), (20, 0)], 0.5),
        ([(1000, 1000), (400, 400), (30, 0), (30, 0)], 0.5),
        ([(10, 10), (10, 0), (10, 0), (10, 0), (10, 0)], 0.2),
        ([(40, 40)], 1.0),
    ],
    ids=["busy and failing", "busy and served", "two", "two busy", "even", "one alone"],
)
def test_a_busy_reporter_counts_as_a_quarter(reporters: list[Told], share: float) -> None:
    """Or as an even share where they are fewer than four; one alone is all the evidence there is."""
    assert shared(*reporters) == pytest.approx(share)


def test_where_little_is_left_the_cap_acquits_and_never_accuses() -> None:
    """Three failing requests beside a thousand that were served accuse no pool; one busy client neither."""
    assert shared((1000, 0), (3, 3)) == pytest.approx(3 / 1003)
    assert shared((30, 30), (1, 0), (1, 0), (1, 0)) == pytest.approx(0.25)


@given(
    st.lists(st.integers(1, 2_000).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), min_size=1)
)
def test_no_reporter_moves_the_share_by_more_than_its_cap(reporters: list[Told]) -> None:
    """Whatever one of them says, from all failing to all served, the share moves by a quarter at most."""
    cap = max(CAP, 1 / len(reporters))
    biggest = max(range(len(reporters)), key=lambda index: reporters[index][0])
    requests = reporters[biggest][0]
    worst, best = list(reporters), list(reporters)
    worst[biggest], best[biggest] = (requests, requests), (requests, 0)
    assert 0 <= shared(*reporters) <= 1 + 1e-9
    # At most three exceed their cap; where too little is left beside them the cap only acquits.
    if sum(sorted(n for n, _ in reporters)[:-3]) >= LIMITS.requests_min:
        assert shared(*worst) - shared(*best) <= cap + 1e-9


def test_reporters_are_added_up_over_seconds() -> None:
    """Each by name, what speaks about health alone."""
    once = (ReporterShare("a", Outcomes(ok=3, timeout=1)),)
    first = PoolSum("p", Outcomes(), 0.0, 2, Outcomes(), largest=once)
    again = (ReporterShare("a", Outcomes(ok=1, throttled=9)), ReporterShare("b", Outcomes(cut=2)))
    second = PoolSum("p", Outcomes(), 0.0, 2, Outcomes(), largest=again)
    assert largest_reporters([first, second]) == [(5, 1), (2, 2)]
