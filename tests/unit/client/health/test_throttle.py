"""Adaptive throttling: what turns most away is sent less, by the formula, and comes back as it accepts."""

from collections import Counter

import pytest

from tests.unit.client.made_tables import MODEL, Time, part, router
from tieline._health.ejection import LEVELS, Throttle
from tieline._routing.route import Reason, Route, Shed
from tieline._routing.router import Router
from tieline.events import ResultClass

NOW = 5_000_000
A, B = "a/r/x", "b/r/x"


def test_half_may_be_turned_away() -> None:
    """As long as every second request is accepted, all are sent."""
    throttle = Throttle()
    for _ in range(100):
        throttle.record(NOW, accepted=True)
        assert not throttle.record(NOW, accepted=False)


def test_a_few_requests_say_little() -> None:
    """Before there were ten all are sent, even if none was accepted."""
    throttle = Throttle()
    assert not any(throttle.record(NOW, accepted=False) for _ in range(9))
    assert throttle.record(NOW, accepted=False)
    assert throttle.level == int(10 / 11 * LEVELS)


def test_the_share_is_the_formulas() -> None:
    """20 accepted of 100: max(0, (100 - 2 x 20) / 101), in sixteenths."""
    throttle = Throttle()
    for _ in range(20):
        throttle.record(NOW, accepted=True)
    while throttle._counts.sums(NOW)[0] < 100:
        throttle.record(NOW, accepted=False)
    assert throttle.level == int((100 - 40) / 101 * LEVELS)


def test_a_trickle_always_goes() -> None:
    """However much is turned away, one in sixteen is sent, so that recovery shows; after two minutes
    everything is forgotten."""
    throttle = Throttle()
    for _ in range(10_000):
        throttle.record(NOW, accepted=False)
    assert throttle.level == LEVELS - 1
    assert not throttle.look(NOW + 60_000)
    assert throttle.look(NOW + 120_000)
    assert throttle.level == 0


def throttled(routing: Router, time: Time, *pools: str) -> None:
    """Let these pools turn much away, and be back after their Retry-After."""
    for _ in range(20):
        for pool in pools:
            routing.record(pool, MODEL, ResultClass.THROTTLED, retry_after_ms=100)
    time.pass_ms(200)
    routing.tick(time())


def picked(routing: Router, session: bool) -> Counter[str]:
    """1,600 picks by pool, or by reason."""
    found = [
        routing.pick(MODEL, session=f"s{number}") if session else routing.pick(MODEL)
        for number in range(1_600)
    ]
    return Counter(one.pool if isinstance(one, Route) else one.reason.value for one in found)


@pytest.mark.parametrize("session", [False, True])
def test_others_get_what_is_not_sent(session: bool) -> None:
    """A pool at 15 sixteenths gets a sixteenth of its share; nothing is shed while another pool takes
    everything."""
    time = Time()
    routing = router(part({A: 500_000, B: 500_000}), time)
    throttled(routing, time, A)
    seen = picked(routing, session)
    assert seen[A] == pytest.approx(75, abs=30)
    assert seen[A] + seen[B] == 1_600
    assert {row["pool"]: row["kept_back"] for row in routing.explain()} == {A: 15 / 16, B: 0.0}


@pytest.mark.parametrize("session", [False, True])
def test_what_all_turn_away_is_turned_away_here(session: bool) -> None:
    """Two pools at 15 sixteenths: (15/16)^2 of the requests end here with 429, without being sent."""
    time = Time()
    routing = router(part({A: 500_000, B: 500_000}), time)
    throttled(routing, time, A, B)
    assert picked(routing, session)[Reason.THROTTLED.value] == pytest.approx(1_600 * 225 / 256, abs=3)
    shed = next(one for _ in range(9) if isinstance(one := routing.pick(MODEL), Shed))
    assert "turns most requests away" in shed.text


def test_it_comes_back_with_its_answers() -> None:
    """As the pool accepts requests again its share grows back, step by step, to all of it."""
    time = Time()
    routing = router(part({A: 500_000, B: 500_000}), time)
    throttled(routing, time, A)
    shares = [routing.explain()[0]["kept_back"]]
    for _ in range(30):
        time.pass_ms(10_000)
        routing.tick(time())
        for _ in range(10):
            routing.record(A, MODEL, ResultClass.OK)
        shares.append(routing.explain()[0]["kept_back"])
    assert shares == sorted(shares, reverse=True)
    assert picked(routing, False)[A] == pytest.approx(800, abs=3)
