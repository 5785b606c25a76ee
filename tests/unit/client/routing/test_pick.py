"""Weights over targets: honoured exactly, spread evenly, shed share kept."""

from collections import Counter

import pytest

from tests.unit.client.made_tables import target
from tieline._routing.affinity import Affinity
from tieline._routing.pick import Choice
from tieline._routing.route import Reason, Route, Shed

SHED = Shed(Reason.SHED, "no capacity")


def drawn(choice: Choice, count: int) -> Counter[str]:
    """How often each pool was picked, shed requests under ``shed``."""
    seen: Counter[str] = Counter()
    for _ in range(count):
        found = choice.next()
        seen[found.pool if isinstance(found, Route) else "shed"] += 1
    return seen


def test_weights_are_exact_in_the_long_run() -> None:
    """Over as many picks as the weights sum to, each pool gets exactly its weight, 1 ppm included."""
    weights = {"a/b/c": 999_299, "a/b/d": 700, "a/b/e": 1}
    choice = Choice([(target(pool), weight) for pool, weight in weights.items()], shed=SHED, phase=0.7)
    assert drawn(choice, 1_000_000) == weights


def test_picks_are_spread_evenly() -> None:
    """In any 1,000 picks a pool of 10 % is picked 100 times, give or take a few: no bursts."""
    choice = Choice([(target("a/b/c"), 900_000), (target("a/b/d"), 100_000)], shed=SHED)
    for _ in range(50):
        assert abs(drawn(choice, 1_000)["a/b/d"] - 100) <= 4


def test_shed_share_is_kept_when_pools_are_out() -> None:
    """The table sheds 10 %; with a pool out, it is still 10 %, and the others share the rest by weight."""
    left = [(target("a/b/c"), 200_000), (target("a/b/d"), 100_000)]  # 600,000 more are out
    seen = drawn(Choice(left, shed=SHED, shed_ppm=100_000), 30_000)
    assert seen["shed"] == pytest.approx(3_000, abs=3)
    assert seen["a/b/c"] == pytest.approx(18_000, abs=3)
    assert seen["a/b/d"] == pytest.approx(9_000, abs=3)


def test_nothing_left_gives_the_reason() -> None:
    """Without targets every pick gives the shed that says why."""
    choice = Choice([(target("a/b/c"), 0)], shed=SHED)
    assert choice.empty
    assert choice.next() is SHED
    assert choice.for_session("s") is SHED


def test_excluded_pools_are_not_picked() -> None:
    """A retry goes to what is left, by weight, and is neither shed nor counted."""
    rows = [(target("a/b/c"), 500_000), (target("a/b/d"), 200_000), (target("a/b/e"), 100_000)]
    choice = Choice(rows, shed=SHED, shed_ppm=200_000)
    seen = Counter(
        route.pool for _ in range(3_000) if isinstance(route := choice.excluding({"a/b/c"}), Route)
    )
    assert seen["a/b/d"] == pytest.approx(2_000, abs=20)
    assert seen["a/b/e"] == pytest.approx(1_000, abs=20)
    assert choice.take_counts() == (0, 0)
    assert isinstance(choice.excluding({"a/b/c", "a/b/d", "a/b/e"}), Shed)


def test_counts_tell_picks_and_sheds_once() -> None:
    """What was offered and shed is counted until it is taken, sessions included."""
    choice = Choice([(target("a/b/c"), 500_000)], shed=SHED, shed_ppm=500_000)
    for number in range(100):
        choice.for_session(f"s{number}")
    assert choice.take_counts() == (100, 50)
    assert choice.take_counts() == (0, 0)


def test_losing_a_pool_moves_only_its_sessions() -> None:
    """Sessions of pools that stay in keep them; those of the lost one spread over the others."""
    weights = [(f"a/b/{name}", 250_000) for name in "cdef"]
    affinity = Affinity(weights)
    every = Choice([(target(p), w) for p, w in weights], shed=SHED, affinity=affinity)
    fewer = Choice([(target(p), w) for p, w in weights[1:]], shed=SHED, affinity=affinity)
    moved: Counter[str] = Counter()
    for number in range(2_000):
        before, after = every.for_session(f"s{number}"), fewer.for_session(f"s{number}")
        assert isinstance(before, Route)
        assert isinstance(after, Route)
        if before.pool == weights[0][0]:
            moved[after.pool] += 1
        else:
            assert after.pool == before.pool
    assert set(moved) == {pool for pool, _ in weights[1:]}
    assert min(moved.values()) > 100


def test_sessions_divide_by_weight() -> None:
    """Many sessions fall onto the pools as the weights say, within sampling error."""
    weights = [("a/b/c", 700_000), ("a/b/d", 250_000), ("a/b/e", 50_000)]
    choice = Choice([(target(pool), weight) for pool, weight in weights], shed=SHED)
    found = [choice.for_session(f"session {number}") for number in range(20_000)]
    seen = Counter(route.pool for route in found if isinstance(route, Route))
    for pool, weight in weights:
        assert seen[pool] == pytest.approx(weight / 50, rel=0.12)


def test_origins_of_the_same_weights_share_their_slots() -> None:
    """Slots take milliseconds to compile, and a process may have many origins, and clients."""
    slots = Affinity([("a", 1), ("b", 3)]).compile()
    assert Affinity([("b", 3), ("a", 1)]).compile() is slots
    assert Affinity([("a", 1), ("b", 2)]).compile() is not slots


def test_one_pool_alone_owns_all_slots() -> None:
    """Whatever its weight is."""
    assert set(Affinity([("a", 7), ("b", 0)]).compile().owners) == {"a"}
