"""Connections that are kept between requests: for how long, by what the server says and by their age."""

import pytest

from tieline._http.connections import AGE_MAX_S, KEEP_ALIVE_S, PLACES_MAX, Idle
from tieline._http.http1 import Http1
from tieline._process import clock as _clock

KEY = ("https", "pool.example", 443)


class Kept:
    """A connection that was opened so many seconds ago."""

    def __init__(self, age_s: float, keep_alive_s: float | None) -> None:
        self.http = Http1()
        self.http.keep_alive_s = keep_alive_s
        self.opened_s = _clock.monotonic_s() - age_s
        self.idle_until_s = 0.0
        self.discarded = False

    def usable(self) -> bool:
        return True

    def discard(self) -> None:
        self.discarded = True

    def release(self) -> None:
        """Nothing to let go of."""


def idle_s(age_s: float = 0.0, keep_alive_s: float | None = None) -> float:
    """For how long such a connection is kept."""
    idle: Idle[Kept] = Idle()
    connection = Kept(age_s, keep_alive_s)
    before_s = _clock.monotonic_s()
    idle.give(KEY, connection)
    return connection.idle_until_s - before_s


@pytest.mark.parametrize(
    ("keep_alive_s", "expected_s"), [(None, KEEP_ALIVE_S), (600, KEEP_ALIVE_S), (5, 4), (2, 1), (1, 0.5)]
)
def test_idle_for_less_than_the_server_keeps_it(keep_alive_s: float | None, expected_s: float) -> None:
    """30 s, or a second less than the server says."""
    assert idle_s(keep_alive_s=keep_alive_s) == pytest.approx(expected_s, abs=0.1)


def test_an_old_connection_is_not_kept() -> None:
    """Five minutes after it was opened it is closed, however busy it was, as the pool's name may lead
    elsewhere by then."""
    assert idle_s(age_s=AGE_MAX_S - 10) == pytest.approx(10, abs=0.1)
    idle: Idle[Kept] = Idle()
    old, young = Kept(AGE_MAX_S + 1, None), Kept(0, None)
    idle.give(KEY, young)
    idle.give(KEY, old)
    assert idle.take(KEY) is young
    assert old.discarded


def test_places_without_a_connection_are_forgotten() -> None:
    """Pools that move leave nothing behind for good; a place with a connection stays."""
    idle: Idle[Kept] = Idle()
    for number in range(PLACES_MAX - 1):
        place = ("https", f"pool-{number}.example", 443)
        idle.give(place, Kept(0, None))
        idle.take(place)
    kept = Kept(0, None)
    idle.give(KEY, kept)
    idle.give(("https", "one-more.example", 443), Kept(0, None))
    assert len(idle._by_place) == 2
    assert idle.take(KEY) is kept
