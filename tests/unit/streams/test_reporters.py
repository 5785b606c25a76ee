"""Whose fault it is: the pools', or the reporter's own network's."""

from streams.demand import DemandFold
from streams.reporters import is_of_its_own, is_stuck
from tests.unit.streams.made import T0_MS, at, demand, seen
from tieline.events import Outcomes, PoolObservation, ResultClass

A, B, C = "azure/eu/a", "gcp/eu/b", "azure/us/c"


def met(pool: str, **counts: int) -> PoolObservation:
    """What one client met at a pool."""
    return PoolObservation(pool, Outcomes(**counts))


def test_who_fails_on_every_provider_speaks_of_itself() -> None:
    """At least two of them; on one provider alone, however many pools, it may be the provider."""
    assert is_of_its_own([met(A, timeout=3), met(B, connect=1)], was=False)
    assert not is_of_its_own([met(A, timeout=3), met(C, connect=1)], was=False)
    assert not is_of_its_own([met(A, timeout=3), met(B)], was=False)


def test_whatever_gets_through_shows_a_working_network() -> None:
    """A success, a 429, a 400 came back over it."""
    for through in ({"ok": 1}, {"throttled": 1}, {"client_error": 1}):
        assert not is_of_its_own([met(A, timeout=3), met(B, connect=9, **through)], was=True)


def test_a_standstill_is_a_failure_like_others() -> None:
    """Requests in flight for more than 10 s of which none comes out."""
    waiting = PoolObservation(B, in_flight=2, oldest_in_flight_ms=10_001)
    assert is_stuck(waiting)
    assert not is_stuck(PoolObservation(B, Outcomes(ok=1), in_flight=2, oldest_in_flight_ms=10_001))
    assert not is_stuck(PoolObservation(B, in_flight=2, oldest_in_flight_ms=10_000))
    assert is_of_its_own([met(A, timeout=3), waiting], was=False)


def test_it_stays_so_until_something_gets_through() -> None:
    """A client that has left every pool sends nothing more that could fail."""
    left = [PoolObservation(pool, ejected=ResultClass.TIMEOUT) for pool in (A, B)]
    assert is_of_its_own(left, was=True)
    assert not is_of_its_own(left, was=False)


def test_of_a_client_of_its_own_only_the_load_counts() -> None:
    """Not its outcomes nor its ejections; it is counted, and counts again once something gets through."""
    fold = DemandFold()
    pools = frozenset({A, B})

    def add(number: int, *observations: PoolObservation) -> None:
        event = demand("a", number, *observations, units=10.0)
        fold.add(event, at(number), event.window_end_ms, pools)

    add(0, seen(A, ok=1, ejected=ResultClass.TIMEOUT))
    assert [ejection.pool for ejection in fold.row().ejections] == [A]
    add(1, met(A, timeout=3), met(B, timeout=3))
    (second,) = fold.row().seconds
    assert (second.second_ms, second.clients, second.excluded) == (T0_MS, 1, 1)
    assert second.flows[0].offered_units == 20.0
    assert [pool.outcomes for pool in second.pools] == [Outcomes(ok=1)]
    assert fold.row().ejections == ()
    add(2, met(A, timeout=3), met(B, ok=1))
    assert sum(pool.outcomes.timeout for pool in fold.row().seconds[-1].pools) == 3
