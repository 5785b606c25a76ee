"""Which requests belong where, and where a request may go: by rules, addresses and the table."""

from __future__ import annotations

from collections import Counter

import tieline
from picker.choosing import Ended, Journey, Request
from picker.settings import Rule
from tests.unit.picker.desks import CHAT, EVEN, MODEL, PLACES, A, B, C, bench, picker_file

ASKED = Request({":path": "/v1/chat/completions"}, MODEL)


def journey(result: Journey | tieline.Shed) -> Journey:
    """A request that goes somewhere."""
    assert isinstance(result, Journey), result
    return result


async def test_the_first_rule_that_fits_counts() -> None:
    """All headers of a rule have to fit, and the beginning of the path."""
    batch = Rule(workload="batch", origin="eu", headers={"x-team": "night"}, path_prefix="/v1/")
    async with bench(picker_file(routes=(batch, CHAT))) as at:
        assert at.desk.rule_for({":path": "/v1/x", "x-team": "night"}) is batch
        assert at.desk.rule_for({":path": "/v2/x", "x-team": "night"}) is CHAT
        assert at.desk.rule_for({":path": "/v1/x"}) is CHAT


async def test_a_request_that_no_rule_fits_goes_nowhere() -> None:
    """It is refused with the reason, and no pool is asked."""
    rule = Rule(workload="chat", origin="eu", headers={"x-team": "day"})
    async with bench(picker_file(routes=(rule,))) as at:
        result = at.desk.pick(ASKED, 0)
        assert isinstance(result, tieline.Shed)
        assert result.reason is tieline.Reason.NO_ROUTE


async def test_pools_are_picked_by_the_weights_of_the_table() -> None:
    """As evenly as the client library picks."""
    async with bench(weights={A: 75.0, B: 25.0}) as at:
        pools = Counter(journey(at.desk.pick(ASKED, 0)).destination.pool for _ in range(400))
        assert abs(pools[A] - 300) <= 4


async def test_a_session_stays_at_its_pool() -> None:
    """By the header that the file names."""
    async with bench() as at:
        request = Request({":path": "/", "x-tieline-session": "conv-42"}, MODEL)
        assert len({journey(at.desk.pick(request, 0)).destination.pool for _ in range(20)}) == 1


async def test_a_pool_without_an_address_is_passed_over() -> None:
    """Its requests go to the others, and are refused only when no pool has one."""
    async with bench(picker_file(endpoints={A: PLACES[A]})) as at:
        assert {journey(at.desk.pick(ASKED, 0)).destination.pool for _ in range(10)} == {A}
    async with bench(picker_file(endpoints={})) as at:
        result = at.desk.pick(ASKED, 0)
        assert isinstance(result, tieline.Shed)
        assert result.why == (A, B)


async def test_the_next_pool_is_named_for_retries() -> None:
    """Another pool than the first, at one address, as many as the file says; none if it says so."""
    weights = {**EVEN, C: 50.0}
    async with bench(picker_file(fallbacks=2), weights) as at:
        hops = journey(at.desk.pick(ASKED, 0)).hops
        assert {hop.route.pool for hop in hops} == {A, B, C}
    async with bench(picker_file(fallbacks=0), weights) as at:
        assert len(journey(at.desk.pick(ASKED, 0)).hops) == 1


async def test_fallbacks_follow_what_happens() -> None:
    """They are chosen anew after a quarter of a second: a pool that fails is not named for long."""
    async with bench(picker_file(fallbacks=1), {A: 98.0, B: 1.0, C: 1.0}) as at:
        first = journey(at.desk.pick(ASKED, 0)).hops
        for _ in range(5):
            first[1].route.report(tieline.Outcome(tieline.ResultClass.CONNECT))
        later = journey(at.desk.pick(ASKED, 1_000)).hops
        assert first[1].route.pool not in {hop.route.pool for hop in later}


async def test_no_fallback_is_of_an_older_table() -> None:
    """A pool that the newest table has taken out is not named, not even for a moment."""
    async with bench(picker_file(fallbacks=1), {A: 50.0, B: 50.0}) as at:
        for _ in range(4):
            at.desk.pick(ASKED, 0)
        generation = at.fake.publish({A: 50.0, C: 50.0})
        assert await at.client.wait_for(generation, 60)
        for _ in range(4):
            pools = {hop.route.pool for hop in journey(at.desk.pick(ASKED, 0)).hops}
            assert pools == {A, C}


async def test_a_pool_that_fails_is_left() -> None:
    """Five failures in a row that Envoy saw, as in the client library."""
    async with bench() as at:
        for _ in range(20):
            trip = journey(at.desk.pick(ASKED, 0))
            trip.end(Ended(503 if trip.destination.pool == A else 200, 5))
        assert {journey(at.desk.pick(ASKED, 0)).destination.pool for _ in range(20)} == {B}


async def test_the_last_resort_takes_what_has_nowhere_else_to_go() -> None:
    """When the only pool of the table refuses credentials, the table's last resort is tried."""
    async with bench(weights={A: 1.0}, last_resort=[C]) as at:
        journey(at.desk.pick(ASKED, 0)).end(Ended(401, 5))
        trip = journey(at.desk.pick(ASKED, 0))
        assert (trip.destination.pool, trip.destination.reason) == (C, "last_resort")


async def test_a_shed_request_counts_as_offered_and_shed() -> None:
    """With its load, so that the planner sees demand that it turns away."""
    async with bench(picker_file(output_units=10.0), {A: 1.0}, shed=0.99) as at:
        for _ in range(100):
            at.desk.pick(ASKED, 0)
        (flow,) = (await at.report()).flows
        assert (flow.requests, flow.offered_units) == (100, 1_000.0)
        assert flow.shed_requests >= 98
        assert flow.shed_units == 10.0 * flow.shed_requests
