"""Attempts on their way: which are called back when a pool stalls, and when a pool is full."""

from tieline._http.flights import Flights
from tieline.events import ResultClass


def test_a_stall_calls_back_what_waits() -> None:
    """The oldest request is called back first; an answer that has begun to arrive is left alone, and no other
    class calls anything back."""
    flights, called = Flights(), list[int]()
    for number in range(3):
        flight = flights.begin("a/r/x", number)
        if number != 1:
            flight.abandon = lambda number=number: called.append(number)
    assert flights.stalled("a/r/x", ResultClass.SERVER_ERROR) == 0
    assert flights.stalled("a/r/x", ResultClass.TIMEOUT) == 2
    assert called == [0, 2]


def test_a_full_pool_is_known() -> None:
    """With its maximum on their way a pool is full until one of them ends."""
    flights = Flights(pool_max=2)
    first = flights.begin("a/r/x", 1)
    assert flights.full == set()
    flights.begin("a/r/x", 2)
    assert flights.full == {"a/r/x"}
    flights.end(first)
    assert flights.full == set()
