"""One request as a machine: what it does after each way an attempt can end."""

import pytest

from tests.unit.client.attempting import AGAIN_MS, DEADLINE_MS, machine, no_pool, pool
from tests.unit.client.made_tables import MODEL, Time, part, router
from tieline._request.retry_rule import Action, Attempts, GiveUp, Refuse, Send, Wait, Why
from tieline._routing.budget import RetryBudget
from tieline._routing.route import Reason
from tieline._routing.router import Router
from tieline.events import ResultClass
from tieline.providers.answers import reading_of_result as read

THREE = {"a/r/x": 400_000, "b/r/x": 300_000, "c/r/x": 300_000}


def test_three_attempts_three_pools() -> None:
    """Each attempt goes to a pool not tried before; after the third the last failure is handed on."""
    time = Time()
    attempts = machine(router(part(THREE), time))
    pools = {pool(attempts.begin(time()))}
    for _ in range(2):
        pools.add(pool(attempts.failed(read(ResultClass.SERVER_ERROR), time(), fruitless=no_pool)))
    assert pools == set(THREE)
    assert attempts.failed(read(ResultClass.TIMEOUT), time(), fruitless=no_pool) == GiveUp(Why.ATTEMPTS)


def test_two_pools_take_turns() -> None:
    """With two pools the third attempt goes back to the first, never to the one that has just failed, and
    only after a wait."""
    time = Time()
    attempts = machine(router(part({"a/r/x": 500_000, "b/r/x": 500_000}), time))
    first = pool(attempts.begin(time()))
    second = pool(attempts.failed(read(ResultClass.CONNECT), time(), fruitless=no_pool))
    assert second != first
    assert attempts.failed(read(ResultClass.CONNECT), time(), fruitless=no_pool) == Wait(AGAIN_MS)
    assert pool(attempts.resume(time.pass_ms(AGAIN_MS))) == first


def test_the_only_pool_is_tried_again() -> None:
    """With nowhere else to go, a request whose pool failed waits a little and is tried there again, for a
    token of the budget."""
    time, budget = Time(), RetryBudget()
    routing = router(part({"a/r/x": 1_000_000}), time)
    attempts = machine(routing, budget)
    attempts.begin(time())
    assert attempts.failed(read(ResultClass.CONNECT), time(), fruitless=no_pool) == Wait(AGAIN_MS)
    assert pool(attempts.resume(time.pass_ms(AGAIN_MS))) == "a/r/x"
    assert routing.take_counts() == {"eu": (1, 0)}
    while budget.take(time()):
        pass
    assert attempts.failed(read(ResultClass.CONNECT), time(), fruitless=no_pool) == GiveUp(Why.BUDGET)


def test_own_errors_end_at_once() -> None:
    """A 400 is the caller's own error: it is handed on after one attempt."""
    time = Time()
    attempts = machine(router(part(THREE), time))
    attempts.begin(time())
    assert attempts.failed(read(ResultClass.CLIENT_ERROR), time(), fruitless=no_pool) == GiveUp(Why.CALLER)


def test_bound_requests_never_move() -> None:
    """A request that refers to a provider's state is tried again where that state is, after a wait, and
    nowhere else. What may be under way there still is not tried again."""
    time = Time()
    attempts = machine(router(part({"a/r/x": 1_000_000}), time), bound=True)
    attempts.begin(time())
    for _ in range(2):
        assert attempts.failed(read(FAILED), time(), fruitless=no_pool) == Wait(AGAIN_MS)
        assert pool(attempts.resume(time.pass_ms(AGAIN_MS))) == "a/r/x"
    assert attempts.failed(read(FAILED), time(), fruitless=no_pool) == GiveUp(Why.BOUND)
    silent = machine(router(part(THREE), time), bound=True)
    silent.begin(time())
    assert silent.failed(read(ResultClass.TIMEOUT), time(), fruitless=no_pool) == GiveUp(Why.BOUND)


def test_the_deadline_is_one_for_all() -> None:
    """Each attempt gets the time that is left of the deadline; past it there is no attempt."""
    time = Time()
    attempts = machine(router(part(THREE), time))
    begun = attempts.begin(time())
    assert isinstance(begun, Send)
    assert begun.left_ms == 20_000
    second = attempts.failed(read(ResultClass.TIMEOUT), time.pass_ms(10_000), fruitless=no_pool)
    assert isinstance(second, Send)
    assert second.left_ms == 10_000
    assert attempts.failed(read(ResultClass.TIMEOUT), time.pass_ms(10_000), fruitless=no_pool) == GiveUp(
        Why.DEADLINE
    )


def test_an_empty_budget_fails_fast() -> None:
    """Without a token the last failure is handed on. Leaving a pool without any success for one that has some
    costs no token; leaving it for another such pool does."""
    time, budget = Time(), RetryBudget()
    poor, rich, doomed = (machine(router(part(THREE), time), budget) for _ in range(3))
    first, *_ = (pool(attempts.begin(time())) for attempts in (poor, rich, doomed))
    while budget.take(time()):
        pass
    failure = ResultClass.SERVER_ERROR
    assert poor.failed(read(failure), time(), fruitless=no_pool) == GiveUp(Why.BUDGET)
    assert pool(rich.failed(read(failure), time(), fruitless=lambda name: name == first)) != first
    assert doomed.failed(read(failure), time(), fruitless=lambda _: True) == GiveUp(Why.BUDGET)


def test_throttled_leaves_at_once_if_it_can() -> None:
    """With another pool in, a 429 waits for nothing."""
    time = Time()
    routing = router(part(THREE), time)
    attempts = machine(routing)
    first = pool(attempts.begin(time()))
    routing.record(first, MODEL, ResultClass.THROTTLED, retry_after_ms=5_000)
    assert pool(attempts.failed(read(ResultClass.THROTTLED), time(), fruitless=no_pool)) != first


@pytest.mark.parametrize(("retry_after_ms", "waits"), [(5_000, True), (25_000, False)])
def test_throttled_alone_waits_if_it_fits(retry_after_ms: int, waits: bool) -> None:
    """When the only pool is at its limit, the request waits for it if the deadline allows, and then tries it
    again."""
    time = Time()
    routing = router(part({"a/r/x": 1_000_000}), time)
    attempts = machine(routing)
    attempts.begin(time())
    routing.record("a/r/x", MODEL, ResultClass.THROTTLED, retry_after_ms=retry_after_ms)
    action = attempts.failed(read(ResultClass.THROTTLED), time(), fruitless=no_pool)
    if not waits:
        assert isinstance(action, GiveUp)
        assert action.why is Why.NO_OTHER
        return
    assert action == Wait(5_000)
    assert pool(attempts.resume(time.pass_ms(5_000))) == "a/r/x"


def test_nothing_to_send_is_refused_with_its_reason() -> None:
    """Without a table, and when the table sheds everything, the request is refused and says which of the two
    it was."""
    time = Time()
    without = machine(router(None, time)).begin(time())
    assert isinstance(without, Refuse)
    assert without.shed.reason is Reason.NO_TABLE
    shed = machine(router(part({"a/r/x": 0}, shed=1_000_000), time)).begin(time())
    assert isinstance(shed, Refuse)
    assert (shed.shed.reason, shed.shed.text) == (Reason.SHED, "no capacity")


L = "l/r/x"
TWO = {"a/r/x": 500_000, "b/r/x": 500_000}
FAILED = ResultClass.SERVER_ERROR


def all_out(routing: Router, result: ResultClass = ResultClass.AUTH, retry_after_ms: int = 60_000) -> None:
    """Make this process keep away from both pools of the split."""
    for name in TWO:
        routing.record(name, MODEL, result, retry_after_ms=retry_after_ms)


def fill(routing: Router, time: Time, until_ms: int = 1) -> None:
    """Let other requests take all places at the last resort that are free until then."""
    while routing.reserve(L, time(), until_ms) is not None:
        pass


def after_waiting(attempts: Attempts, action: Action, time: Time) -> Action:
    """What follows once the request has looked as often as it was told whether its turn has come."""
    assert isinstance(action, Wait)
    while isinstance(action, Wait):
        action = attempts.resume(time.pass_ms(action.wait_ms))
    return action


def reason(action: Action) -> Reason:
    """The reason of the action's route."""
    assert isinstance(action, Send)
    return action.route.reason


def test_a_first_attempt_goes_to_the_last_resort_when_nothing_else_is_left() -> None:
    """It goes at once while the last resort has room, else after a wait that fits the deadline, to the place
    that was kept there meanwhile."""
    time = Time()
    routing = router(part(TWO, last_resort=(L,)), time)
    all_out(routing)
    begun = machine(routing).begin(time())
    assert (pool(begun), reason(begun)) == (L, Reason.LAST_RESORT)
    fill(routing, time)
    second, began_ms = machine(routing), time()
    wait = second.begin(began_ms)
    fill(routing, time, 10_000)
    assert pool(after_waiting(second, wait, time)) == L
    assert 333 <= time() - began_ms < 400


def test_who_waits_for_the_last_resort_goes_where_a_pool_is_back() -> None:
    """What was decided before a wait is decided anew after it."""
    time = Time()
    routing = router(part(TWO, last_resort=(L,)), time)
    all_out(routing, ResultClass.THROTTLED, 5_000)
    fill(routing, time, 3_000)
    attempts = machine(routing)
    wait = attempts.begin(time())
    assert isinstance(wait, Wait)
    time.pass_ms(5_000)
    resumed = attempts.resume(time())
    assert pool(resumed) in TWO
    routing.record(L, MODEL, ResultClass.AUTH)


def test_a_place_at_a_pool_that_has_gone_is_worth_nothing() -> None:
    """When the last resort is left during the wait, the request ends and says why each pool is out."""
    time = Time()
    routing = router(part(TWO, last_resort=(L,)), time)
    all_out(routing)
    fill(routing, time)
    attempts = machine(routing)
    assert isinstance(attempts.begin(time()), Wait)
    routing.record(L, MODEL, ResultClass.AUTH)
    end = attempts.resume(time.pass_ms(400))
    assert isinstance(end, Refuse)
    assert end.shed.why == ("a/r/x: auth", "b/r/x: auth", "l/r/x: auth (last resort)")


def test_without_room_in_time_the_request_ends_and_names_every_pool() -> None:
    """A request never goes to the last resort before its turn, so that the last resort is not overrun."""
    time = Time()
    routing = router(part(TWO, last_resort=(L,)), time)
    all_out(routing)
    fill(routing, time, 60_000)
    end = machine(routing).begin(time())
    assert isinstance(end, Refuse)
    assert end.shed.reason is Reason.NO_POOL
    assert end.shed.why == ("a/r/x: auth", "b/r/x: auth", "l/r/x: no room in time")


def test_a_pool_that_is_back_sooner_is_waited_for_instead() -> None:
    """All pools are at their limits, and the first is back before the last resort has room."""
    time = Time()
    routing = router(part(TWO, last_resort=(L,)), time)
    all_out(routing, ResultClass.THROTTLED, 2_000)
    fill(routing, time, 5_000)
    attempts = machine(routing)
    assert attempts.begin(time()) == Wait(2_000)
    assert pool(attempts.resume(time.pass_ms(2_000))) in TWO


def test_after_every_pool_was_tried_the_last_resort_is_once() -> None:
    """Both pools fail, then the last resort is tried once; a failure there names all three."""
    time = Time()
    attempts = machine(router(part(TWO, last_resort=(L,)), time))
    pools = [pool(attempts.begin(time()))]
    pools += [pool(attempts.failed(read(FAILED), time(), fruitless=no_pool)) for _ in range(2)]
    assert sorted(pools) == ["a/r/x", "b/r/x", L]
    assert attempts.failed(read(ResultClass.CONNECT), time(), fruitless=no_pool) == GiveUp(Why.ATTEMPTS)
    assert attempts.endings[L] == "l/r/x: connect (last resort)"
    assert sorted(attempts.endings) == sorted(pools)


def test_leaving_the_dead_for_the_last_resort_costs_no_token() -> None:
    """Leaving a pool that still serves costs one; while the last resort is full such a pool is tried again
    itself."""
    time, budget = Time(), RetryBudget()
    routing = router(part({"a/r/x": 1_000_000}, last_resort=(L,)), time)
    dead, alive, paid = (machine(routing, budget) for _ in range(3))
    for attempts in (dead, alive, paid):
        attempts.begin(time())
    before = budget.left(time())
    assert pool(dead.failed(read(FAILED), time(), fruitless=lambda name: name != L)) == L
    assert budget.left(time()) == before
    assert pool(alive.failed(read(FAILED), time(), fruitless=no_pool)) == L
    assert budget.left(time()) == before - 1
    fill(routing, time)
    assert paid.failed(read(FAILED), time(), fruitless=no_pool) == Wait(AGAIN_MS)
    poor = machine(routing, budget)
    poor.begin(time())
    while budget.take(time()):
        pass
    time.pass_ms(1_000)
    assert poor.failed(read(FAILED), time(), fruitless=no_pool) == GiveUp(Why.BUDGET)


def test_a_dead_pool_alone_is_left_for_the_last_resort_however_long_its_queue() -> None:
    """The only pool is never ejected, and trying it again would gain nothing, so the request waits for its
    place at the last resort."""
    time = Time()
    routing = router(part({"a/r/x": 1_000_000}, last_resort=(L,)), time)
    attempts = machine(routing)
    attempts.begin(time())
    fill(routing, time)
    wait = attempts.failed(read(FAILED), time(), fruitless=lambda name: name != L)
    assert pool(after_waiting(attempts, wait, time)) == L


def test_a_burst_that_moves_spends_tokens_first_and_then_waits_its_turn() -> None:
    """Of 60 requests that leave a dead pool at once, ten go by the room of the other and 30 by the tokens.
    The others wait until its answers have made room, and cost no token."""
    time, budget = Time(), RetryBudget()
    routing = router(part({"a/r/x": 999_999, "b/r/x": 1}), time)
    requests = [machine(routing, budget) for _ in range(60)]
    actions = []
    for attempts in requests:
        pool(attempts.begin(time()))
        actions.append(attempts.failed(read(FAILED), time(), fruitless=lambda name: name == "a/r/x"))
    waiting = [pair for pair in zip(requests, actions, strict=True) if isinstance(pair[1], Wait)]
    assert 14 <= len(waiting) <= 20
    assert budget.left(time()) < 1
    for _ in range(10):
        routing.took_over("b/r/x")
    assert all(isinstance(attempts.resume(time()), Send) for attempts, _ in waiting)


def test_a_turn_that_never_comes_ends_the_request() -> None:
    """A pool that takes nothing more is waited for 30 s, or to the deadline, and no longer."""
    time, budget = Time(), RetryBudget()
    routing = router(part({"a/r/x": 500_000, "b/r/x": 500_000}), time)
    attempts = machine(routing, budget)
    first = pool(attempts.begin(time()))
    other = next(name for name in ("a/r/x", "b/r/x") if name != first)
    while routing.reserve(other, time(), 19_000) is not None:
        pass
    while budget.take(time()):
        pass
    action = attempts.failed(read(FAILED), time(), fruitless=lambda name: name == first)
    assert after_waiting(attempts, action, time) == GiveUp(Why.BUDGET)
    assert time() <= DEADLINE_MS


def test_a_throttled_request_leaves_for_no_token() -> None:
    """A pool that serves others and turns this request away has not worked on it: the move costs no token."""
    time, budget = Time(), RetryBudget()
    attempts = machine(router(part(THREE), time), budget)
    attempts.begin(time())
    before = budget.left(time())
    assert isinstance(attempts.failed(read(ResultClass.THROTTLED), time(), fruitless=no_pool), Send)
    assert budget.left(time()) == before


def test_bound_requests_have_no_last_resort() -> None:
    """The state that they refer to is not there."""
    time = Time()
    routing = router(part(TWO, last_resort=(L,)), time)
    all_out(routing)
    assert isinstance(machine(routing, bound=True).begin(time()), Refuse)


def test_with_no_pool_left_each_is_named_with_how_it_ended() -> None:
    """The refusal names the pools that were tried here and those that were out before."""
    time = Time()
    routing = router(part({**TWO, "a/r/x": 1, "b/r/x": 999_999}), time)
    routing.record("a/r/x", MODEL, ResultClass.THROTTLED, retry_after_ms=50_000)
    attempts = machine(routing)
    assert pool(attempts.begin(time())) == "b/r/x"
    routing.record("b/r/x", MODEL, ResultClass.AUTH)
    end = attempts.failed(read(ResultClass.AUTH), time(), fruitless=no_pool)
    assert isinstance(end, GiveUp)
    assert end.shed is not None
    assert end.shed.why == ("a/r/x: throttled", "b/r/x: auth")


def test_those_who_wait_for_one_retry_after_do_not_come_back_together() -> None:
    """Thirty requests wait for the only pool; when its time is over they go there one after the other, as it
    has room and answers, and all within their deadline."""
    time = Time()
    routing = router(part({"a/r/x": 1_000_000}), time)
    for _ in range(10):
        routing.record("a/r/x", MODEL, ResultClass.OK)
    time.pass_ms(3_000)
    routing.record("a/r/x", MODEL, ResultClass.THROTTLED, retry_after_ms=1_000)
    requests = [machine(routing) for _ in range(30)]
    assert [attempts.begin(time()) for attempts in requests] == [Wait(1_000)] * 30
    time.pass_ms(1_000)
    routing.tick(time())
    due = [(attempts, attempts.resume(time())) for attempts in requests]
    assert sum(isinstance(action, Send) for _, action in due) <= 10
    sent_s = []
    while due:
        sent_s += [time() // 1_000 for _, action in due if isinstance(action, Send)]
        waiting = [attempts for attempts, action in due if isinstance(action, Wait)]
        time.pass_ms(50)
        due = [(attempts, attempts.resume(time())) for attempts in waiting]
    assert len(sent_s) == 30
    assert max(map(sent_s.count, sent_s)) <= 14
    assert time() < DEADLINE_MS
