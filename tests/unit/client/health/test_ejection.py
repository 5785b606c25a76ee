"""When a process leaves a pool and how it comes back: each rule with its numbers."""

import random
from collections.abc import Callable

import pytest

from tieline._health.ejection import (
    OUT_MAX_MS,
    STEADY_MS,
    TRIAL_FIRST_S,
    TRIAL_LONGEST_S,
    PoolHealth,
)
from tieline._health.verdicts import Verdicts
from tieline.backoff import Backoff
from tieline.blame import Blame
from tieline.events import ResultClass

NOW = 5_000_000


def waits(chance: Callable[[], float] = lambda: 1.0) -> Backoff:
    """The waits before a pool's trials."""
    return Backoff(TRIAL_FIRST_S, TRIAL_LONGEST_S, chance=chance)


def new_pool(chance: Callable[[], float] = lambda: 1.0) -> PoolHealth:
    """A pool of which nothing was seen yet."""
    return PoolHealth(waits(chance))


def failed(health: PoolHealth, count: int, now_ms: int = NOW) -> None:
    """So many failures in a row."""
    for _ in range(count):
        health.record(ResultClass.SERVER_ERROR, now_ms)


def test_five_straight_failures() -> None:
    """Four failures in a row are endured, five are not; one success in between begins the count anew."""
    health = new_pool()
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
    health = new_pool()
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
    health = new_pool()
    for _ in range(50):
        health.record(result, NOW)
    assert not health.wants_out(NOW)


def left_for(health: PoolHealth, result: ResultClass, now_ms: int) -> int:
    """How long the pool is left for this."""
    return health.eject(result, now_ms).until_ms - now_ms


@pytest.mark.parametrize("result", [ResultClass.CONNECT, ResultClass.AUTH, ResultClass.NOT_FOUND])
def test_waits_double_while_trials_fail(result: ResultClass) -> None:
    """A pool left for its health or its configuration is tried after 1 s, then 2, 4 and so on up to 30 s."""
    health = new_pool()
    times = [left_for(health, result, NOW) for _ in range(8)]
    assert times == [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]


def test_many_processes_do_not_try_together() -> None:
    """Each wait is shortened by up to half at random."""
    times = {left_for(new_pool(random.random), ResultClass.CONNECT, NOW) for _ in range(50)}
    assert len(times) > 20
    assert all(500 <= wait <= 1_000 for wait in times)


def test_a_relapse_waits_longer_than_a_new_outage() -> None:
    """After 30 s back the waits begin anew; before that they go on."""
    health = new_pool()
    assert left_for(health, ResultClass.CONNECT, NOW) == 1_000
    health.admit(NOW)
    assert left_for(health, ResultClass.CONNECT, NOW + 1_000) == 2_000
    health.admit(NOW)
    assert left_for(health, ResultClass.CONNECT, NOW + STEADY_MS + 1) == 1_000


def test_a_pool_that_names_its_time_is_not_tried_before() -> None:
    """Retry-After counts on any status."""
    health = new_pool()
    assert health.eject(ResultClass.SERVER_ERROR, NOW, 7_000).until_ms == NOW + 7_000
    assert health.eject(ResultClass.SERVER_ERROR, NOW, 500).until_ms == NOW + 2_000


def test_its_share_returns_by_steps() -> None:
    """10, 25, 50 and 100 % of its weight, each after a success and a second; a failure takes a step back."""
    health = new_pool()
    assert health.share == 1.0
    health.eject(ResultClass.CONNECT, NOW)
    health.admit(NOW)
    shares = []
    for step, result in enumerate((ResultClass.OK, ResultClass.CUT, *[ResultClass.OK] * 3), start=1):
        shares.append(health.share)
        assert health.record(result, NOW + step * 1_000)
        assert not health.record(ResultClass.OK, NOW + step * 1_000 + 999)
    assert shares == [0.1, 0.25, 0.1, 0.25, 0.5]
    assert health.share == 1.0


def test_throttled_until_retry_after() -> None:
    """A 429 keeps the pool out as long as it asked, at most 300 s; for a second if it did not say."""
    health = new_pool()
    assert health.eject(ResultClass.THROTTLED, NOW, 2_500).until_ms == NOW + 2_500
    assert health.eject(ResultClass.THROTTLED, NOW, 10**9).until_ms == NOW + OUT_MAX_MS
    assert health.eject(ResultClass.THROTTLED, NOW).until_ms == NOW + 1_000


def test_a_pool_serves_while_it_answers_some() -> None:
    """A success in the last 2 s shows it; after five requests without one, a success in the last 0.5 s."""
    health = new_pool()
    assert not health.serves(NOW)
    health.record(ResultClass.OK, NOW)
    health.record(ResultClass.THROTTLED, NOW)
    assert health.serves(NOW + 1_999)
    assert not health.serves(NOW + 2_000)
    for _ in range(4):
        health.record(ResultClass.THROTTLED, NOW)
    assert health.serves(NOW + 499)
    assert not health.serves(NOW + 500)


def test_half_open_lets_one_through() -> None:
    """After its time one request may find out; a second only when the first was not heard of for 30 s."""
    health = new_pool()
    until_ms = health.eject(ResultClass.TIMEOUT, NOW).until_ms
    assert not health.due(until_ms - 1)
    assert health.due(until_ms)
    health.probe(until_ms)
    assert not health.due(until_ms)
    assert health.probing(until_ms)
    assert health.due(until_ms + 30_000)


def test_fruitless_pools_are_left_for_free() -> None:
    """Such a pool had no success in its last five requests, or none for 10 s with a request in between."""
    health = new_pool()
    assert not health.fruitless(NOW)
    health.record(ResultClass.OK, NOW)
    failed(health, 4)
    assert not health.fruitless(NOW)
    assert health.fruitless(NOW + 10_000)
    failed(health, 1)
    assert health.fruitless(NOW)


def test_the_callers_errors_make_no_pool_fruitless() -> None:
    """Ten bad requests in a row are the caller's own; the pool is as good as before."""
    verdicts = Verdicts(waits)
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
    verdicts = Verdicts(waits)
    refuse(verdicts, *[7] * 20, 1, 2, 3)
    verdicts.record("a", "m", ResultClass.OK, NOW, retry_after_ms=None, may_leave=lambda _p, _h: True)
    refuse(verdicts, 4, 5, 6, 7)
    assert verdicts.outs() == {}


def test_five_different_refusals_in_a_row_are_a_fault_of_the_pool() -> None:
    """Nothing else comes from there, so it is not the requests."""
    verdicts = Verdicts(waits)
    refuse(verdicts, 1, 2, 3, 4, result=ResultClass.NOT_FOUND)
    assert verdicts.outs() == {}
    refuse(verdicts, 5)
    assert verdicts.outs()["a"].result is ResultClass.AUTH


def test_a_pool_that_mostly_hangs_is_no_partial_failure() -> None:
    """When more than half of at least ten time out it is left, whatever its weight; other failures don't do
    that."""
    for result, is_partial in ((ResultClass.TIMEOUT, False), (ResultClass.SERVER_ERROR, True)):
        health = new_pool()
        for _ in range(5):
            health.record(result, NOW)
            health.record(ResultClass.OK, NOW)
        assert health.partial
        health.record(result, NOW)
        assert health.wants_out(NOW)
        assert health.partial is is_partial


def test_a_pool_too_slow_for_its_callers_is_left_for_free() -> None:
    """When more than half of its callers give up before it answers, moving to another pool costs no token;
    but that is no failure of the pool."""
    health = new_pool()
    for _ in range(5):
        health.record(ResultClass.OK, NOW)
        health.unanswered(NOW)
    assert not health.fruitless(NOW)
    health.unanswered(NOW)
    assert health.fruitless(NOW)
    assert not health.wants_out(NOW)
