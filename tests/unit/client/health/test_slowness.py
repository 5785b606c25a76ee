"""Pools that answer far more slowly than usual get a smaller share, and their own share back."""

from collections.abc import Iterable

import pytest

from tests.unit.client.made_tables import MODEL, Time, part, router
from tieline._health.slowness import Slowness
from tieline._routing.route import Outcome, Route
from tieline._routing.router import Router
from tieline.events import ResultClass

A, B = "a/r/x", "b/r/x"
EVERY_MS = 300


class Pool:
    """One pool whose answers come every 300 ms; ``share`` is what it gets after each."""

    def __init__(self, usual_ms: Iterable[float] = (100.0,) * 60) -> None:
        self.slowness, self.time = Slowness(), Time()
        for took_ms in usual_ms:
            self.answers(took_ms)
        assert self.share == 1.0

    def answers(self, took_ms: float, count: int = 1, *, is_stream: bool = False) -> list[float]:
        """So many more answers; gives the share after each."""
        shares = []
        for _ in range(count):
            now_ms = self.time.pass_ms(EVERY_MS)
            self.slowness.learn(A, MODEL, took_ms, is_stream=is_stream, now_ms=now_ms)
            shares.append(self.share)
        return shares

    @property
    def share(self) -> float:
        """Of the pool's weight."""
        return self.slowness.shares(MODEL).get(A, 1.0)


def test_ten_times_slower_is_a_tenth() -> None:
    """As many requests wait there as before. It takes a few answers to see that."""
    pool = Pool()
    shares = pool.answers(1_000.0, 12)
    assert shares[:5] == [1.0] * 5
    assert shares[-1] == 2 / 16
    assert pool.slowness.pool_share(A) == 2 / 16
    assert pool.answers(1_000_000.0, 12)[-1] == 1 / 16


def test_quick_answers_bring_it_back_by_doubling() -> None:
    """Within seconds, and not all at once."""
    pool = Pool()
    pool.answers(1_000.0, 12)
    assert sorted(set(pool.answers(100.0, 20))) == [2 / 16, 4 / 16, 8 / 16, 1.0]
    assert pool.slowness.shares(MODEL) == {}
    assert pool.slowness.pool_share(A) == 1.0


@pytest.mark.parametrize("took_ms", [150.0, 290.0])
def test_a_little_slower_is_nothing(took_ms: float) -> None:
    """Up to three times the usual, and below a fifth of a second more, it keeps its weight."""
    assert set(Pool().answers(took_ms, 30)) == {1.0}
    assert set(Pool((5.0,) * 60).answers(150.0, 30)) == {1.0}


def test_short_and_long_requests_are_no_slowness() -> None:
    """The same mix as ever, although its long requests may follow each other."""
    mix = (100.0, 100.0, 100.0, 5_000.0, 5_000.0)
    pool = Pool(mix * 20)
    assert set(pool.answers(5_000.0, 8)) == {1.0}


def test_a_pool_that_stays_slow_becomes_usual() -> None:
    """What is usual follows by a tenth every ten seconds, so within minutes it has its weight again."""
    pool = Pool()
    shares = pool.answers(1_000.0, 300_000 // EVERY_MS)
    assert shares[30] == 2 / 16
    assert shares[-1] == 1.0


def test_a_short_history_counts_too() -> None:
    """Twenty answers say what is usual, and half a minute of slow ones does not change it much."""
    assert Pool((100.0,) * 20).answers(1_000.0, 30_000 // EVERY_MS)[-1] == 2 / 16


def test_old_answers_say_nothing() -> None:
    """Half a minute later the next answers decide."""
    pool = Pool()
    pool.answers(1_000.0, 12)
    pool.time.pass_ms(31_000)
    assert pool.answers(1_000.0)[-1] == 4 / 16


def test_each_kind_and_each_model_by_itself() -> None:
    """First outputs of streams are not compared with whole answers; another model keeps its weight."""
    pool = Pool((100.0,) * 60)
    assert set(pool.answers(5_000.0, 15, is_stream=True)) == {1.0}
    pool.answers(1_000.0, 12)
    assert pool.slowness.shares("other") == {}
    pool.slowness.forget(A)
    assert (pool.share, pool.slowness.pool_share(A)) == (1.0, 1.0)


def served(routing: Router, time: Time, slow_ms: float, count: int = 200) -> int:
    """How many of so many picks go to ``a``, which takes so long; ``b`` takes 100 ms."""
    at_a = 0
    for _ in range(count):
        route = routing.pick(MODEL)
        assert isinstance(route, Route)
        at_a += route.pool == A
        time.pass_ms(100)
        took_ms = slow_ms if route.pool == A else 100.0
        route.report(Outcome(ResultClass.OK, 1.0, first_token_ms=took_ms))
    return at_a


def test_picks_follow() -> None:
    """A slow pool is sent less before anything fails, is not out, and gets its share back."""
    time = Time()
    routing = router(part({A: 500_000, B: 500_000}), time)
    assert abs(served(routing, time, 100.0) - 100) <= 2
    served(routing, time, 1_500.0, 30)
    assert 8 <= served(routing, time, 1_500.0) <= 30
    assert routing.outs() == {}
    assert routing.explain()[0]["kept_back"] == pytest.approx(15 / 16)
    served(routing, time, 100.0, 60)
    assert abs(served(routing, time, 100.0) - 100) <= 2
