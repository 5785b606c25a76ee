"""Where a request may go when no pool of the split in force is left: which pools, in which order, and which
never."""

import pytest

from tests.unit.client.made_tables import MODEL, Time, info, part, router
from tieline._routing.route import Needs, Reason, Route, Shed
from tieline._routing.router import Router
from tieline.events import ResultClass
from tieline.table import MILLION, ModelOffer

A, B, L, M = "a/r/x", "b/r/x", "l/r/x", "m/r/x"
EVEN = {A: 500_000, B: 500_000}
LATER_MS = 60_000


def out(routing: Router, pool: str, result: ResultClass) -> None:
    """Make this process leave the pool for that."""
    for _ in range(5):
        routing.record(pool, MODEL, result, retry_after_ms=LATER_MS)
    assert pool in routing.outs()


def nothing(routing: Router, **asked: object) -> Shed:
    """The shed that a request gets in place of a route."""
    found = routing.choose(MODEL, **asked)  # type: ignore[arg-type]
    assert isinstance(found, Shed)
    return found


def left(routing: Router, **asked: object) -> list[tuple[str, str]]:
    """(pool, reason) of the fallbacks, in order."""
    return [(route.pool, route.reason.value) for route in nothing(routing, **asked).fallbacks]


@pytest.mark.parametrize("result", [ResultClass.THROTTLED, ResultClass.AUTH])
def test_the_last_resort_is_left_when_all_are_out(result: ResultClass) -> None:
    """Its pools come in the table's order, also for a first attempt, but not while one pool of the split is
    in."""
    routing = router(part(EVEN, last_resort=(M, L)), Time())
    out(routing, A, result)
    assert {one.pool for one in (routing.pick(MODEL) for _ in range(20)) if isinstance(one, Route)} == {B}
    out(routing, B, result)
    assert left(routing) == [(M, "last_resort"), (L, "last_resort")]


def test_after_all_were_tried_it_is_the_one_not_tried() -> None:
    """While a pool is left a retry goes there; a request never comes to a last resort twice."""
    routing = router(part(EVEN, last_resort=(M, L, B)), Time())
    assert isinstance(routing.choose(MODEL, exclude=(A,)), Route)
    assert left(routing, exclude=(A, B)) == [(M, "last_resort"), (L, "last_resort")]
    assert left(routing, exclude=(A, B, M)) == [(L, "last_resort")]
    assert left(routing, exclude=(A, B, M, L)) == []


def test_who_is_out_for_good_is_not_tried_and_who_is_ill_comes_last() -> None:
    """A last resort is not tried before its Retry-After, nor while it can't serve as it is configured. Each
    pool that is skipped is named."""
    time = Time()
    routing = router(part(EVEN, last_resort=(L, M, "n/r/x", "o/r/x")), time)
    out(routing, L, ResultClass.SERVER_ERROR)
    out(routing, "n/r/x", ResultClass.THROTTLED)
    out(routing, "o/r/x", ResultClass.AUTH)
    for pool in EVEN:
        out(routing, pool, ResultClass.AUTH)
    assert [pool for pool, _ in left(routing)] == [M, L]
    assert set(nothing(routing).why) == {
        f"{A}: auth",
        f"{B}: auth",
        "n/r/x: throttled (last resort)",
        "o/r/x: auth (last resort)",
    }
    time.pass_ms(LATER_MS)
    trials = [routing.choose(MODEL) for _ in EVEN]
    assert {one.pool for one in trials if isinstance(one, Route)} == set(EVEN)
    assert [pool for pool, _ in left(routing)] == [L, M, "n/r/x", "o/r/x"]


def test_a_model_that_is_missing_there_bars_it_for_that_model_alone() -> None:
    """A 404 on one model of a last resort leaves its other models."""
    both = info(L, models=(ModelOffer(MODEL, "big"), ModelOffer("small", "small")))
    one = info(A, models=(ModelOffer(MODEL, "big"), ModelOffer("small", "small")))
    routing = router(part({A: MILLION}, infos={A: one, L: both}, last_resort=(L,)), Time())
    routing.record(L, MODEL, ResultClass.NOT_FOUND)
    routing.record(A, MODEL, ResultClass.AUTH)
    assert left(routing) == []
    small = routing.choose("small")
    assert isinstance(small, Shed)
    assert [route.model for route in small.fallbacks] == ["small"]


def test_what_the_table_sheds_and_what_nobody_offers_stays_so() -> None:
    """How much is carried is for the planner to decide, and a route that never served a model has no last
    resort for it."""
    shed = router(part({A: 0}, shed=MILLION, last_resort=(L,)), Time())
    for asked in ({}, {"exclude": (A,)}):
        found = nothing(shed, **asked)
        assert (found.reason, found.fallbacks) == (Reason.SHED, ())
    other = router(part(EVEN, last_resort=(L,), infos={L: info(L, models=(ModelOffer("m", "m"),))}), Time())
    unknown = other.choose("m")
    assert isinstance(unknown, Shed)
    assert (unknown.reason, unknown.fallbacks) == (Reason.NO_MODEL, ())


def test_a_request_that_was_sent_goes_on_beside_what_a_loss_sheds() -> None:
    """Most of a provider is out, and the table would shed everything without that provider. New requests are
    shed; one that was sent before, a trial included, goes on to the pool of the own split that is in."""
    time = Time()
    split = {A: 600_000, "a/r/y": 400_000}
    routing = router(part(split, on_loss={"a": {}}, last_resort=(L,)), time)
    out(routing, A, ResultClass.AUTH)
    assert (nothing(routing).reason, nothing(routing).fallbacks) == (Reason.SHED, ())
    assert nothing(routing, exclude=("",)).fallbacks == ()
    assert left(routing, exclude=(A,)) == [("a/r/y", "failover"), (L, "last_resort")]
    assert nothing(routing, exclude=(A,)).why == (f"{A}: auth", "a/r/y: passed over")
    time.pass_ms(LATER_MS)
    trial = routing.choose(MODEL)
    assert isinstance(trial, Route)
    assert (trial.pool, trial.reason) == (A, Reason.HALF_OPEN)
    assert left(routing, exclude=(A,)) == [("a/r/y", "failover"), (L, "last_resort")]


def test_what_a_loss_has_no_pool_for_goes_where_the_own_split_has_one() -> None:
    """Most of a provider is out, and the split without that provider has no pool with so long a context."""
    long = (ModelOffer(MODEL, "big", 128_000),)
    split, infos = {A: 600_000, "a/r/y": 400_000}, {pool: info(pool, models=long) for pool in (A, "a/r/y")}
    routing = router(part(split, on_loss={"a": {M: MILLION}}, infos=infos), Time())
    out(routing, A, ResultClass.AUTH)
    assert left(routing, needs=Needs(context_tokens=50_000)) == [("a/r/y", "failover")]
    assert nothing(routing, needs=Needs(context_tokens=200_000)).reason is Reason.NO_MODEL
    plain = routing.choose(MODEL)
    assert isinstance(plain, Route)
    assert plain.pool == M


def test_it_must_offer_what_the_request_needs() -> None:
    """A pool whose context is too short is no fallback."""
    long = (ModelOffer(MODEL, "big", 128_000),)
    infos = {A: info(A, models=long), L: info(L, models=long)}
    routing = router(part(EVEN, infos=infos, last_resort=(M, L)), Time())
    out(routing, A, ResultClass.AUTH)
    assert left(routing, needs=Needs(context_tokens=50_000)) == [(L, "last_resort")]


def test_what_a_loss_would_leave_comes_before_it() -> None:
    """A throttled provider is not lost, but when all are at their limits its ``on_loss`` pools have room."""
    routing = router(part(EVEN, on_loss={"a": {M: MILLION}}, last_resort=(L,)), Time())
    for pool in EVEN:
        out(routing, pool, ResultClass.THROTTLED)
    assert left(routing) == [(M, "failover"), (L, "last_resort")]
    retry = routing.choose(MODEL, exclude=(A, B))
    assert isinstance(retry, Route)
    assert retry.pool == M


def test_a_pool_that_a_loss_would_not_use_comes_before_it_too() -> None:
    """The split for a lost provider names one other pool, which is full; the pool of the route's own split
    comes before the last resort."""
    routing = router(part(EVEN, on_loss={"a": {M: MILLION}}, last_resort=(L,)), Time())
    out(routing, A, ResultClass.AUTH)
    out(routing, M, ResultClass.THROTTLED)
    assert left(routing) == [(B, "failover"), (L, "last_resort")]


def test_a_pick_takes_it_at_its_pools_pace() -> None:
    """A pick waits for nothing: a pool at rest takes ten requests at once, and then the pick says why not."""
    time = Time()
    routing = router(part(EVEN, last_resort=(L,)), time)
    for pool in EVEN:
        out(routing, pool, ResultClass.THROTTLED)
    found = [routing.pick(MODEL) for _ in range(16)]
    assert [one.pool for one in found if isinstance(one, Route)] == [L] * 10
    assert {one.reason for one in found[:10]} == {Reason.LAST_RESORT}
    refused = found[-1]
    assert isinstance(refused, Shed)
    assert (refused.reason, refused.fallbacks, refused.retry_after_ms) == (Reason.THROTTLED, (), LATER_MS)
    assert refused.why == (f"{A}: throttled", f"{B}: throttled", f"{L}: no room now")
    assert routing.take_counts() == {"eu": (16, 6)}
    time.pass_ms(1_000)
    again = routing.pick(MODEL, exclude=(A, B))
    assert isinstance(again, Route)
    assert again.reason is Reason.LAST_RESORT
    assert routing.take_counts() == {}


def test_a_first_attempt_for_which_something_is_left_counts_as_shed_only_if_it_is_turned_away() -> None:
    """Whoever tries the fallbacks reports when none took the request."""
    routing = router(part({A: MILLION}, last_resort=(L,)), Time())
    out(routing, A, ResultClass.AUTH)
    nothing(routing)
    assert routing.take_counts() == {"eu": (1, 0)}
    nothing(routing)
    routing.turned_away("eu")
    assert routing.take_counts() == {"eu": (1, 1)}


def test_every_pool_is_named_with_why_it_is_out() -> None:
    """A pool was tried, is at its limit, or is faulty; a retry that finds no pool names them as well."""
    routing = router(part({A: 400_000, B: 300_000, M: 300_000}), Time())
    out(routing, B, ResultClass.AUTH)
    found = routing.pick(MODEL, exclude=(A, M))
    assert isinstance(found, Shed)
    assert found.text == "every pool of chat/eu is out or was passed over"
    assert found.why == (f"{A}: passed over", f"{B}: auth", f"{M}: passed over")
    out(routing, M, ResultClass.THROTTLED)
    throttled = routing.pick(MODEL, exclude=(A,))
    assert isinstance(throttled, Shed)
    assert (throttled.reason, throttled.retry_after_ms) == (Reason.THROTTLED, LATER_MS)


def test_it_is_explained() -> None:
    """A row shows its place in the order, and why it is out."""
    time = Time()
    routing = router(part(EVEN, last_resort=(L, B)), time)
    out(routing, L, ResultClass.AUTH)
    rows = {row["pool"]: row for row in routing.explain()}
    assert {pool: row["last_resort"] for pool, row in rows.items()} == {A: None, B: 2, L: 1}
    assert (rows[L]["weight_ppm"], rows[L]["out"], rows[L]["out_for_ms"]) == (0, "auth", LATER_MS)
