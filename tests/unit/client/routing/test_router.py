"""The router: tables swapped, pools left and taken back, and what a pick says then."""

from collections import Counter

import pytest

from tests.unit.client.made_tables import MODEL, Time, generation, info, part, router
from tieline._health.ejection import Out
from tieline._routing.room import Allowance, RateLimits
from tieline._routing.route import Needs, Outcome, Reason, Route, Shed
from tieline._routing.router import Router
from tieline.events import ResultClass
from tieline.table import MILLION, ModelOffer

A, B, C = "a/r/x", "b/r/x", "c/r/x"
THREE = {A: 400_000, B: 300_000, C: 300_000}


def picked(routing: Router, count: int = 300, model: str = MODEL) -> Counter[str]:
    """Picks by pool, or by reason where there was none."""
    found = [routing.pick(model) for _ in range(count)]
    return Counter(one.pool if isinstance(one, Route) else one.reason.value for one in found)


def fail(routing: Router, pool: str, count: int = 5, result: ResultClass = ResultClass.SERVER_ERROR) -> None:
    """Let so many requests to the pool end with this class."""
    for _ in range(count):
        routing.record(pool, MODEL, result)


def test_an_ejected_pool_is_not_picked_and_comes_back_half_open() -> None:
    """Out for a second; then one request finds out, and with its success the pool is back with a tenth of its
    weight, which grows with each second and success."""
    time = Time()
    routing = router(part(THREE), time)
    fail(routing, A)
    assert A not in picked(routing)
    time.pass_ms(1_000)
    routing.tick(time())
    first = routing.pick(MODEL)
    assert isinstance(first, Route)
    assert (first.pool, first.reason) == (A, Reason.HALF_OPEN)
    assert A not in picked(routing)
    first.report(Outcome(ResultClass.OK))
    counts = []
    for _ in range(4):
        counts.append(picked(routing)[A])
        time.pass_ms(1_000)
        routing.record(A, MODEL, ResultClass.OK)
    assert counts == pytest.approx([300 * share / (share + 0.6) for share in (0.04, 0.1, 0.2, 0.4)], abs=3)


def test_a_failing_half_open_request_ejects_for_longer() -> None:
    """The next trial comes after 2 s. Listeners hear of the outage once, not of each trial."""
    time = Time()
    routing = router(part(THREE), time)
    heard: list[str] = []
    routing.on_ejection.append(lambda pool, _out: heard.append(pool))
    fail(routing, A)
    time.pass_ms(1_000)
    routing.tick(time())
    assert isinstance(routing.pick(MODEL), Route)
    fail(routing, A, 1)
    assert routing.outs()[A].until_ms == time() + 2_000
    assert heard == [A]


def test_a_missing_model_is_asked_for_by_one_request() -> None:
    """Requests for the pool's other models go on; the one that finds the model there brings it back."""
    time = Time()
    both = info(A, models=(ModelOffer(MODEL, "big"), ModelOffer("small", "small")))
    routing = router(part(THREE, infos={A: both}), time)
    for _ in range(3):
        routing.record(A, MODEL, ResultClass.NOT_FOUND)
    time.pass_ms(1_000)
    routing.tick(time())
    assert set(picked(routing, model="small")) == {A}
    trial = routing.pick(MODEL)
    assert isinstance(trial, Route)
    assert (trial.pool, trial.reason) == (A, Reason.HALF_OPEN)
    assert A not in picked(routing)
    trial.report(Outcome(ResultClass.NOT_FOUND))
    time.pass_ms(1_999)
    routing.tick(time())
    assert A not in picked(routing)
    time.pass_ms(1)
    routing.tick(time())
    trial = routing.pick(MODEL)
    assert isinstance(trial, Route)
    trial.report(Outcome(ResultClass.OK))
    assert picked(routing)[A] == pytest.approx(120, abs=3)


def test_the_last_pool_stays() -> None:
    """However it fails, the last pool that serves a model is never ejected."""
    time = Time()
    routing = router(part(THREE), time)
    for pool in THREE:
        fail(routing, pool, 20)
    assert len(routing.outs()) == 2
    assert set(picked(routing)) == {C}


def test_partial_failure_takes_at_most_half_of_the_weight() -> None:
    """Pools that still succeed now and then are left only up to half of the route's weight."""
    time = Time()
    routing = router(part(THREE), time)
    for pool in THREE:
        for _ in range(20):
            fail(routing, pool, 2)
            routing.record(pool, MODEL, ResultClass.OK)
    assert set(routing.outs()) == {A}


def test_throttled_pools_are_out_until_their_retry_after() -> None:
    """A pool that serves nothing is. It comes back by itself at once, and with all its weight if it takes
    most of what it is sent."""
    time = Time()
    routing = router(part(THREE), time)
    routing.record(A, MODEL, ResultClass.OK)
    time.pass_ms(2_000)
    routing.record(A, MODEL, ResultClass.THROTTLED, retry_after_ms=4_000)
    assert A not in picked(routing)
    time.pass_ms(4_000)
    routing.tick(time())
    assert picked(routing)[A] == pytest.approx(120, abs=3)


def test_a_pool_that_serves_others_is_not_left_for_one_429() -> None:
    """It is sent less, in proportion to what it turns away."""
    time = Time()
    routing = router(part(THREE), time)
    for _ in range(100):
        routing.record(A, MODEL, ResultClass.OK)
        for _ in range(3):
            routing.record(A, MODEL, ResultClass.THROTTLED, retry_after_ms=4_000)
    assert routing.outs() == {}
    assert 0 < picked(routing)[A] < 110


def test_all_throttled_says_when() -> None:
    """With every pool at its limit a pick says so, names them, and says when the first is back."""
    time = Time()
    routing = router(part(THREE), time)
    for number, pool in enumerate(sorted(THREE), start=2):
        routing.record(pool, MODEL, ResultClass.THROTTLED, retry_after_ms=number * 1_000)
    for passed_ms, left_ms in ((0, 2_000), (500, 1_500)):
        time.pass_ms(passed_ms)
        found = routing.pick(MODEL)
        assert isinstance(found, Shed)
        assert (found.reason, found.retry_after_ms) == (Reason.THROTTLED, left_ms)
        assert len(found.why) == 3


def test_configuration_faults_take_the_pool_out() -> None:
    """A 401 takes the pool out at once; a new URL or credential in the table takes it back."""
    time = Time()
    routing = router(part(THREE), time)
    routing.record(A, MODEL, ResultClass.AUTH)
    assert A not in picked(routing)
    routing.apply(generation(part(THREE), 2))
    assert A not in picked(routing)
    routing.apply(generation(part(THREE, infos={A: info(A, credential="other")}), 3))
    assert A in picked(routing)


def test_a_missing_model_leaves_its_siblings_in() -> None:
    """A 404 on one model takes out that model on that pool, and nothing else."""
    time = Time()
    both = info(A, models=(ModelOffer(MODEL, "big"), ModelOffer("small", "small")))
    routing = router(part(THREE, infos={A: both}), time)
    routing.record(A, MODEL, ResultClass.NOT_FOUND)
    assert A not in picked(routing)
    assert set(picked(routing, model="small")) == {A}


def test_a_lost_provider_applies_its_on_loss_weights() -> None:
    """When more than half of a provider's weight is ejected, the table's weights for its loss apply until it
    is back, and while it returns in part."""
    time = Time()
    weights = {"a/r/x": 300_000, "a/r/y": 500_000, B: 200_000}
    routing = router(part(weights, on_loss={"a": {B: 100_000, C: 900_000}}), time)
    fail(routing, "a/r/x")
    assert C not in picked(routing)
    fail(routing, "a/r/y")
    assert picked(routing)[C] == pytest.approx(270, abs=3)
    found = routing.pick(MODEL)
    assert isinstance(found, Route)
    assert found.reason is Reason.PROVIDER_LOST
    time.pass_ms(1_000)
    routing.tick(time())
    for _ in range(2):
        probe = routing.pick(MODEL)
        assert isinstance(probe, Route)
        assert probe.pool.startswith("a/")
        probe.report(Outcome(ResultClass.OK))
    counts = []
    for _ in range(4):
        counts.append(picked(routing)[C])
        time.pass_ms(1_000)
        routing.record("a/r/x", MODEL, ResultClass.OK)
        routing.record("a/r/y", MODEL, ResultClass.OK)
    assert counts == pytest.approx([243, 203, 135, 0], abs=3)


def test_the_only_pool_of_a_route_may_go_if_the_table_has_another() -> None:
    """All weight is on one pool that dies: the on_loss weights take over, for retries at once."""
    time = Time()
    routing = router(part({A: 1_000_000}, on_loss={"a": {B: 1_000_000}}), time)
    retry = routing.pick(MODEL, exclude=(A,))
    assert isinstance(retry, Route)
    assert retry.pool == B
    fail(routing, A)
    assert set(picked(routing)) == {B}


def test_needs_and_models_filter() -> None:
    """Pools that don't serve the model, or not with what is needed, are out; if none serves it, the pick says
    so."""
    time = Time()
    offers = {
        A: info(A, models=(ModelOffer(MODEL, "big", 8_000),)),
        B: info(B, models=(ModelOffer(MODEL, "big", 128_000, ("vision", "tools")),)),
    }
    routing = router(part(THREE, infos=offers), time)
    long = routing.pick(MODEL, needs=Needs(context_tokens=50_000))
    assert isinstance(long, Route)
    assert long.pool == B
    seeing = routing.pick(MODEL, needs=Needs(features=frozenset({"vision"})))
    assert isinstance(seeing, Route)
    assert seeing.pool == B
    nothing = routing.pick(MODEL, needs=Needs(context_tokens=10**7))
    assert isinstance(nothing, Shed)
    assert nothing.reason is Reason.NO_MODEL
    assert set(picked(routing, model="unheard-of")) == {Reason.NO_MODEL.value}


def test_counts_survive_swaps() -> None:
    """Every pick is counted once, whatever happens to the table and the pools in between."""
    time = Time()
    routing = router(part(THREE), time)
    picked(routing, 10)
    routing.apply(generation(part({A: 500_000, B: 400_000}, shed=100_000), 2))
    picked(routing, 20)
    fail(routing, A)
    picked(routing, 10)
    requests, shed = routing.take_counts()["eu"]
    assert requests == 40
    assert 2 <= shed <= 4
    assert routing.take_counts() == {}


def test_ejections_are_told_once() -> None:
    """Listeners hear of an ejection when it happens, not of every failure after it."""
    time = Time()
    routing = router(part(THREE), time)
    heard: list[tuple[str, Out]] = []
    routing.on_ejection.append(lambda pool, out: heard.append((pool, out)))
    fail(routing, A, 30, ResultClass.TIMEOUT)
    assert [(pool, out.result) for pool, out in heard] == [(A, ResultClass.TIMEOUT)]


def test_a_pool_that_hangs_is_told_when_the_table_leaves_it() -> None:
    """Too few requests have failed there to eject it, and no more will come. One that only drains, that
    still answers, or that fails in another way keeps its requests."""
    time, calls = Time(), list[str]()
    routing = router(part(THREE), time)
    routing.on_hang.append(calls.append)
    routing.record(A, MODEL, ResultClass.OK)
    routing.record(B, MODEL, ResultClass.OK)
    time.pass_ms(3_000)
    fail(routing, A, 1, ResultClass.TIMEOUT)
    fail(routing, B, 1, ResultClass.CONNECT)
    assert calls == []
    routing.apply(generation(part({C: 1_000_000}), 2))
    assert calls == [A]
    fail(routing, A, 1, ResultClass.TIMEOUT)
    assert calls == [A, A]
    fail(routing, C, 1, ResultClass.TIMEOUT)
    assert calls == [A, A]


def test_a_pool_that_answers_is_not_told_when_the_table_leaves_it() -> None:
    """One time-out among answers is no hang, and neither is one of long ago."""
    time, calls = Time(), list[str]()
    routing = router(part(THREE), time)
    routing.on_hang.append(calls.append)
    fail(routing, A, 1, ResultClass.TIMEOUT)
    routing.record(A, MODEL, ResultClass.OK)
    routing.record(B, MODEL, ResultClass.OK)
    fail(routing, B, 1, ResultClass.TIMEOUT)
    time.pass_ms(1_000)
    routing.apply(generation(part({C: 1_000_000}), 2))
    assert calls == []
    routing.apply(generation(part(THREE), 3))
    time.pass_ms(20_000)
    routing.apply(generation(part({C: 1_000_000}), 4))
    assert calls == []


def test_a_pool_that_the_table_has_left_is_forgotten() -> None:
    """Its ejection ends with its time, without a request to find out: its return is up to the planner."""
    time = Time()
    routing = router(part(THREE), time)
    fail(routing, A)
    routing.apply(generation(part({B: 1_000_000}), 2))
    assert A in routing.outs()
    time.pass_ms(1_000)
    routing.tick(time())
    assert routing.outs() == {}
    assert set(picked(routing)) == {B}


A2 = "a/r2/x"


def test_half_of_a_provider_is_not_yet_lost() -> None:
    """With one of two equal pools out the other goes on; the provider's ``on_loss`` is for when it can't."""
    routing = router(part({A: 300_000, A2: 300_000, B: 400_000}, on_loss={"a": {B: MILLION}}), Time())
    fail(routing, A)
    assert set(picked(routing)) == {A2, B}
    fail(routing, A2)
    assert set(picked(routing)) == {B}


def test_a_throttled_provider_is_not_lost() -> None:
    """It is full, not dead: its other pools still get what the table gives them."""
    routing = router(part({A: 400_000, A2: 200_000, B: 400_000}, on_loss={"a": {B: MILLION}}), Time())
    routing.record(A, MODEL, ResultClass.THROTTLED, retry_after_ms=4_000)
    assert set(picked(routing)) == {A2, B}


def test_dropped_requests_wait_for_stated_room() -> None:
    """What others have dropped is not taken over by a pool whose answers say that nothing is left, before its
    reset."""
    time = Time()
    routing = router(part({A: MILLION}), time)
    route = routing.pick(MODEL)
    assert isinstance(route, Route)
    ticket = routing.take_room(route.target, 1.0)
    spent = RateLimits(requests=Allowance(0, None, 5_000))
    assert routing.note_room(route.target, ticket, spent, refused=False) == 0.0
    assert routing.without_room(MODEL, 1.0, time()) == {A: 5_000}
    assert [row["room_in_ms"] for row in routing.explain()] == [5_000]
    assert routing.reserve(A, time(), 5_000) is None
    turn = routing.reserve(A, time(), 5_001)
    assert turn is not None
    assert routing.look(turn, time()) > 0
    time.pass_ms(5_000)
    assert routing.look(turn, time()) == 0


def test_a_child_process_has_nothing_on_its_way() -> None:
    """What the parent has sent is never answered here, so the child begins anew with what it is told."""
    time = Time()
    routing = router(part({A: MILLION}), time)
    route = routing.pick(MODEL)
    assert isinstance(route, Route)
    ticket = routing.take_room(route.target, 1.0)
    routing.note_room(route.target, ticket, RateLimits(Allowance(0, None, 5_000)), refused=False)
    routing.after_fork()
    assert routing.has_room(route.target, 1.0, time())
