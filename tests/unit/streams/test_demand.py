"""Clients' reports are summed per second, and those of a client whose own network fails are recognised."""

from __future__ import annotations

import pytest

from streams.demand import SECONDS_MAX, DemandFold, is_of_its_own
from streams.fold import Refusal
from streams.rows import DemandRow, PoolSum
from streams.sums import is_stuck
from tests.unit.streams.made import T0_MS, at, demand, observation
from tieline.events import Demand, Outcomes, PoolObservation, ResultClass
from tieline.registration import Registry

REGISTRY = Registry(frozenset(), {}, frozenset({"azure/eu/a", "azure/eu/b"}))
A, B, C = "azure/eu/a", "gcp/eu/b", "azure/us/c"


def add(fold: DemandFold, offset: int, event: Demand, append_ms: int | None = None) -> bool | Refusal:
    """Adds one report; it was appended when its window ended unless ``append_ms`` says otherwise."""
    return fold.add(event, at(offset), append_ms or event.window_end_ms, REGISTRY)


def pool(row: DemandRow, second: int = -1) -> PoolSum:
    """The only pool of one second of the row."""
    (only,) = row.seconds[second].pools
    return only


def test_reports_of_one_second_are_summed() -> None:
    """Load and outcomes of a second are sums over clients; clients and reporters are counted once."""
    fold = DemandFold()
    add(fold, 0, demand("a", 1, observation(ok=3), units=10.0))
    add(fold, 1, demand("b", 1, observation(ok=1, timeout=2), units=5.0))
    row = fold.row()
    (second,) = row.seconds
    assert (second.second_ms, second.clients) == (T0_MS, 2)
    assert (second.flows[0].requests, second.flows[0].offered_units) == (2, 15.0)
    assert pool(row).outcomes == Outcomes(ok=4, timeout=2)
    assert (pool(row).reporters, pool(row).failing) == (2, Outcomes())


def test_failing_reporters_are_counted_by_class() -> None:
    """A client counts as failing, once for each class, while it had failures at the pool and no success."""
    fold = DemandFold()
    add(fold, 0, demand("a", 1, observation(timeout=5, connect=1)))
    add(fold, 1, demand("b", 1, observation(timeout=1)))
    add(fold, 2, demand("c", 1, observation(ok=1, timeout=9)))
    assert pool(fold.row()).failing == Outcomes(timeout=2, connect=1)
    add(fold, 3, demand("b", 2, observation(ok=1)))
    assert pool(fold.row()).failing == Outcomes(timeout=1, connect=1)


def test_the_largest_four_reporters_are_named() -> None:
    """The row lists the four reporters with most attempts, so that one reporter's part can be capped."""
    fold = DemandFold()
    for number in range(6):
        add(fold, number, demand(f"c{number}", 1, observation(ok=number + 1)))
    assert [share.client for share in pool(fold.row()).largest] == ["c5", "c4", "c3", "c2"]


def test_a_record_is_never_summed_twice() -> None:
    """A record that is read again is refused, also by a new owner that starts from the stored row."""
    fold = DemandFold()
    add(fold, 4, demand("a", 1, observation(ok=3)))
    assert add(fold, 4, demand("a", 1, observation(ok=3))) is Refusal.REPEATED
    owner = DemandFold(fold.row())
    assert add(owner, 4, demand("a", 1, observation(ok=3))) is Refusal.REPEATED
    assert add(fold, 5, demand("a", 1, observation(ok=3))) is Refusal.OLDER
    assert fold.row().seconds == owner.row().seconds


def test_a_new_owner_goes_on_from_the_stored_second() -> None:
    """A new owner of a partition adds to the stored sums, and to the stored number of reporters."""
    fold = DemandFold()
    add(fold, 0, demand("a", 1, observation(ok=2)))
    add(fold, 1, demand("b", 1, observation(timeout=2)))
    owner = DemandFold(fold.row())
    add(owner, 2, demand("c", 1, observation(timeout=1)))
    row = owner.row()
    assert pool(row).outcomes == Outcomes(ok=2, timeout=3)
    assert (pool(row).reporters, pool(row).failing, row.seconds[-1].clients) == (3, Outcomes(timeout=2), 3)
    assert [share.client for share in pool(row).largest] == ["a", "b", "c"]


def test_a_row_has_the_last_twenty_seconds() -> None:
    """Older seconds are dropped. A report of an older second moves the offset and changes no sum."""
    fold = DemandFold()
    for number in range(30):
        add(fold, number, demand("a", number, end_ms=T0_MS + number * 1_000))
    seconds = [second.second_ms for second in fold.row().seconds]
    assert seconds == [T0_MS + number * 1_000 for number in range(30 - SECONDS_MAX, 30)]
    add(fold, 30, demand("late", 1, end_ms=T0_MS - 5_000), T0_MS + 30_000)
    assert [second.second_ms for second in fold.row().seconds] == seconds
    assert fold.row().position == at(30)


def test_ejections_stay_until_the_client_says_otherwise_or_falls_silent() -> None:
    """An ejection has the instant of its first mention, and ends when its client reports or falls silent."""
    fold = DemandFold()
    add(fold, 0, demand("a", 1, observation(ejected=ResultClass.TIMEOUT)))
    add(fold, 1, demand("b", 1, observation(ejected=ResultClass.CONNECT)))
    add(fold, 2, demand("a", 2, observation(ejected=ResultClass.TIMEOUT), end_ms=T0_MS + 1_000))
    add(fold, 3, demand("b", 2, observation(ok=1), end_ms=T0_MS + 1_000))
    (ejection,) = fold.row().ejections
    assert (ejection.client, ejection.pool, ejection.result) == ("a", "azure/eu/a", "timeout")
    assert ejection.since_ms == T0_MS
    add(fold, 4, demand("b", 3, end_ms=T0_MS + 60_000))
    assert fold.row().ejections == ()


def test_generations_are_counted_by_client() -> None:
    """Each client counts once, with the generation of its last report."""
    fold = DemandFold()
    add(fold, 0, demand("a", 1, generation="lab:1:1"))
    add(fold, 1, demand("b", 1, generation="lab:1:1"))
    add(fold, 2, demand("a", 2, generation="lab:1:2"))
    assert fold.row().generations == {"lab:1:1": 1, "lab:1:2": 1}


def test_pools_that_the_policy_does_not_know_are_left_out() -> None:
    """A client may use a table older than the policy: what it says of other pools counts."""
    fold = DemandFold()
    add(fold, 0, demand("a", 1, observation(ok=1), observation("gone/eu/x", timeout=9)))
    assert pool(fold.row()).pool == "azure/eu/a"


def test_what_wakes() -> None:
    """A new client, urgency, failures that begin or end, and ejections wake; the same picture does not."""
    fold = DemandFold()
    assert add(fold, 0, demand("a", 1, observation(ok=1))) is True
    assert add(fold, 1, demand("a", 2, observation(ok=1))) is False
    assert add(fold, 2, demand("a", 3, observation(ok=1), urgent=True)) is True
    assert add(fold, 3, demand("a", 4, observation(ok=1, throttled=1))) is True
    assert add(fold, 4, demand("a", 5, observation(ok=1))) is True
    assert add(fold, 5, demand("a", 6, observation(ok=1))) is False
    assert add(fold, 6, demand("a", 7, observation(ok=1, ejected=ResultClass.CUT))) is True


@pytest.mark.parametrize(("units", "expected"), [(104.0, False), (106.0, True)])
def test_load_that_moved_by_more_than_five_percent_wakes(units: float, expected: bool) -> None:
    """The load of whole seconds is compared with that of the last wake when a new second begins."""
    fold = DemandFold()
    loads = (100.0, 100.0, units, 100.0)
    woke = [
        add(fold, number, demand("a", number, end_ms=T0_MS + number * 1_000, units=load))
        for number, load in enumerate(loads)
    ]
    assert woke == [True, True, False, expected]


def test_who_fails_on_every_provider_speaks_of_itself() -> None:
    """A client that fails at two providers and succeeds at none speaks of its own network; failures at
    several pools of one provider may be that provider's."""
    assert is_of_its_own([observation(A, timeout=3), observation(B, connect=1)], was=False)
    assert not is_of_its_own([observation(A, timeout=3), observation(C, connect=1)], was=False)
    assert not is_of_its_own([observation(A, timeout=3), observation(B)], was=False)


def test_whatever_gets_through_shows_a_working_network() -> None:
    """A success, a 429 and a 400 each prove that the client's network works."""
    for outcomes in (
        Outcomes(ok=1, connect=9),
        Outcomes(throttled=1, connect=9),
        Outcomes(client_error=1, connect=9),
    ):
        assert not is_of_its_own([observation(A, timeout=3), PoolObservation(B, outcomes)], was=True)


def test_a_standstill_is_a_failure_like_others() -> None:
    """Requests that have been in flight for more than 10 s, with no success, count as a failure."""
    waiting = PoolObservation(B, in_flight=2, oldest_in_flight_ms=10_001)
    assert is_stuck(waiting)
    assert not is_stuck(PoolObservation(B, Outcomes(ok=1), in_flight=2, oldest_in_flight_ms=10_001))
    assert not is_stuck(PoolObservation(B, in_flight=2, oldest_in_flight_ms=10_000))
    assert is_of_its_own([observation(A, timeout=3), waiting], was=False)


def test_it_stays_so_until_something_gets_through() -> None:
    """A client that has left every pool sends nothing that could fail, so its network stays suspected."""
    left = [PoolObservation(pool, ejected=ResultClass.TIMEOUT) for pool in (A, B)]
    assert is_of_its_own(left, was=True)
    assert not is_of_its_own(left, was=False)


def test_of_a_client_of_its_own_only_the_load_counts() -> None:
    """Outcomes and ejections of a client whose network fails are left out until something gets through."""
    fold = DemandFold()
    registry = Registry(frozenset(), {}, frozenset({A, B}))

    def add(number: int, *observations: PoolObservation) -> None:
        event = demand("a", number, *observations, units=10.0)
        fold.add(event, at(number), event.window_end_ms, registry)

    add(0, observation(A, ok=1, ejected=ResultClass.TIMEOUT))
    assert [ejection.pool for ejection in fold.row().ejections] == [A]
    add(1, observation(A, timeout=3), observation(B, timeout=3))
    (second,) = fold.row().seconds
    assert (second.second_ms, second.clients, second.excluded) == (T0_MS, 1, 1)
    assert second.flows[0].offered_units == 20.0
    assert [pool.outcomes for pool in second.pools] == [Outcomes(ok=1)]
    assert fold.row().ejections == ()
    add(2, observation(A, timeout=3), observation(B, ok=1))
    assert sum(pool.outcomes.timeout for pool in fold.row().seconds[-1].pools) == 3


def near_limit(client: str, units: float, left: float | None) -> PoolObservation:
    """One client's observation of the pool, by the rate-limit headers that it was given."""
    return PoolObservation(A, Outcomes(ok=1), units=units, rate_limit_left=left)


def test_rate_limits_count_by_load() -> None:
    """What each client has used up of its limit is weighted by its load; one that knows nothing adds
    nothing, and a new owner goes on from the stored sum."""
    fold = DemandFold()
    add(fold, 0, demand("a", 1, near_limit("a", 80.0, 0.0)))
    add(fold, 1, demand("b", 1, near_limit("b", 20.0, 0.5)))
    add(fold, 2, demand("c", 1, near_limit("c", 100.0, None)))
    assert (pool(fold.row()).units, pool(fold.row()).used_up_units) == (200.0, 90.0)
    owner = DemandFold(fold.row())
    add(owner, 3, demand("d", 1, near_limit("d", 10.0, 0.0)))
    assert pool(owner.row()).used_up_units == 100.0


def test_little_left_wakes_once() -> None:
    """That little is left of a limit, or enough again, may change a decision; that it stays so does not."""
    fold, wakes = DemandFold(), []
    for sequence, left in enumerate((0.5, 0.05, 0.04, 0.6, None)):
        wakes.append(add(fold, sequence, demand("a", sequence + 1, near_limit("a", 1.0, left))))
    assert wakes[1:] == [True, False, True, False]


def test_a_report_counts_in_the_second_that_it_speaks_of() -> None:
    """However late it arrives, so that no second has two reports of one client and another has none."""
    fold = DemandFold()
    for number in (0, 1, 2):
        end_ms = T0_MS + number * 1_000
        add(fold, number, demand("a", number, units=10.0, end_ms=end_ms), append_ms=end_ms + 700 * number)
    assert [second.second_ms for second in fold.row().seconds] == [T0_MS, T0_MS + 1_000, T0_MS + 2_000]


def test_a_clock_that_is_ahead_makes_no_report_younger() -> None:
    """It counts in the second in which it arrives."""
    fold = DemandFold()
    add(fold, 0, demand("a", 1, units=10.0, end_ms=T0_MS + 20_000), append_ms=T0_MS)
    assert fold.row().seconds[0].second_ms == T0_MS
