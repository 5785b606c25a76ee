"""When a process leaves a pool and how it comes back: each rule with its numbers."""

import pytest

from tieline._health.ejection import BASE_MS, CONFIGURATION_OUT_MS, OUT_MAX_MS, PoolHealth
from tieline._health.verdicts import Verdicts
from tieline.blame import Blame
from tieline.events import ResultClass

NOW = 5_000_000


def failed(health: PoolHealth, count: int, now_ms: int = NOW) -> None:
    """So many failures in a row."""
    for _ in range(count):
        health.record(ResultClass.SERVER_ERROR, now_ms)


def test_five_straight_failures() -> None:
    """Four failures in a row are endured, five are not; one success in between begins the count anew."""
    health = PoolHealth()
    failed(health, 4)
    assert not health.wants_out(NOW)
    health.record(ResultClass.OK, NOW)
    failed(health, 4)
    assert not health.wants_out(NOW)
    failed(health, 1)
    assert health.wants_out(NOW)
    assert not health.partial


def test_more_than_half_of_ten() -> None:
    """More than half of at least 10 in 10 s is partial failure; half of them, or 9 requests, are not."""
    health = PoolHealth()
    for number in range(10):
        health.record(ResultClass.TIMEOUT if number % 2 else ResultClass.OK, NOW)
    assert not health.wants_out(NOW)
    health.record(ResultClass.CUT, NOW)
    assert health.wants_out(NOW)
    assert health.partial
    assert not health.wants_out(NOW + 11_000)


@pytest.mark.parametrize("result", [ResultClass.CLIENT_ERROR, ResultClass.THROTTLED, ResultClass.AUTH])
def test_other_classes_say_nothing_about_health(result: ResultClass) -> None:
    """Only server_error, timeout, connect and cut count as failures of health."""
    health = PoolHealth()
    for _ in range(50):
        health.record(result, NOW)
    assert not health.wants_out(NOW)


def test_ejections_grow() -> None:
    """An ejection lasts 30 s x consecutive ejections, at most 300 s; after a long stay inside the count
    begins anew."""
    health, now_ms, times = PoolHealth(), NOW, []
    for _ in range(12):
        out = health.eject(ResultClass.CONNECT, now_ms)
        times.append(out.until_ms - now_ms)
        now_ms = out.until_ms
        health.admit(now_ms)
    assert times[:3] == [BASE_MS, 2 * BASE_MS, 3 * BASE_MS]
    assert times[-1] == OUT_MAX_MS
    later_ms = now_ms + OUT_MAX_MS + 1
    assert health.eject(ResultClass.CONNECT, later_ms).until_ms == later_ms + BASE_MS


def test_throttled_until_retry_after() -> None:
    """A 429 keeps the pool out as long as it asked, at most 300 s; for a second if it did not say."""
    health = PoolHealth()
    assert health.eject(ResultClass.THROTTLED, NOW, 2_500).until_ms == NOW + 2_500
    assert health.eject(ResultClass.THROTTLED, NOW, 10**9).until_ms == NOW + OUT_MAX_MS
    assert health.eject(ResultClass.THROTTLED, NOW).until_ms == NOW + 1_000


@pytest.mark.parametrize("result", [ResultClass.AUTH, ResultClass.NOT_FOUND])
def test_configuration_faults(result: ResultClass) -> None:
    """They keep the pool out for five minutes and count as no ejection of health."""
    health = PoolHealth()
    assert health.eject(result, NOW).until_ms == NOW + CONFIGURATION_OUT_MS
    assert health.ejections == 0


def test_half_open_lets_one_through() -> None:
    """After its time one request may find out; a second only when the first was not heard of for 30 s."""
    health = PoolHealth()
    until_ms = health.eject(ResultClass.TIMEOUT, NOW).until_ms
    assert not health.due(until_ms - 1)
    assert health.due(until_ms)
    health.probe(until_ms)
    assert not health.due(until_ms)
    assert health.probing(until_ms)
    assert health.due(until_ms + 30_000)


def test_fruitless_pools_are_left_for_free() -> None:
    """Such a pool had no success in its last five requests, or none for 10 s with a request in between."""
    health = PoolHealth()
    assert not health.fruitless(NOW)
    health.record(ResultClass.OK, NOW)
    failed(health, 4)
    assert not health.fruitless(NOW)
    assert health.fruitless(NOW + 10_000)
    failed(health, 1)
    assert health.fruitless(NOW)


def test_the_callers_errors_make_no_pool_fruitless() -> None:
    """Ten bad requests in a row are the caller's own; the pool is as good as before."""
    verdicts = Verdicts()
    for result in (ResultClass.OK, *[ResultClass.CLIENT_ERROR] * 10):
        verdicts.record("a", "m", result, NOW, retry_after_ms=None, may_leave=lambda _pool, _health: True)
    health = verdicts.health("a")
    assert not health.fruitless(NOW + 10_000)
    assert not health.wants_out(NOW)


def refuse(verdicts: Verdicts, *subjects: int, result: ResultClass = ResultClass.AUTH) -> None:
    """Pool a refuses the requests of these numbers, each for itself."""
    for subject in subjects:
        verdicts.record(
            "a",
            "m",
            result,
            NOW,
            retry_after_ms=None,
            may_leave=lambda _pool, _health: True,
            blame=Blame.REQUEST,
            subject=subject,
        )


def test_refusals_of_single_requests_mark_no_pool() -> None:
    """However often one request is refused, and however many are with a success in between."""
    verdicts = Verdicts()
    refuse(verdicts, *[7] * 20, 1, 2, 3)
    verdicts.record("a", "m", ResultClass.OK, NOW, retry_after_ms=None, may_leave=lambda _p, _h: True)
    refuse(verdicts, 4, 5, 6, 7)
    assert verdicts.outs() == {}


def test_five_different_refusals_in_a_row_are_a_fault_of_the_pool() -> None:
    """Nothing else comes from there, so it is not the requests."""
    verdicts = Verdicts()
    refuse(verdicts, 1, 2, 3, 4, result=ResultClass.NOT_FOUND)
    assert verdicts.outs() == {}
    refuse(verdicts, 5)
    assert verdicts.outs()["a"].result is ResultClass.AUTH
