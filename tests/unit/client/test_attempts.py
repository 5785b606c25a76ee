"""One request as a machine: what it does after each way an attempt can end."""

import pytest

from tests.unit.client.tables import MODEL, Time, part, router
from tieline._attempts import Action, Attempts, GiveUp, Refuse, Send, Wait, Why, Wish
from tieline._budget import Pace, RetryBudget
from tieline._route import Reason
from tieline._router import Router
from tieline.events import ResultClass

THREE = {"a/r/x": 400_000, "b/r/x": 300_000, "c/r/x": 300_000}
DEADLINE_MS = 1_020_000


def machine(routing: Router, budget: RetryBudget | None = None, *, bound: bool = False) -> Attempts:
    """A request with 20 s."""
    wish = Wish(MODEL, DEADLINE_MS, bound=bound)
    return Attempts(wish, routing.choose, budget or RetryBudget(), Pace(lambda _pool, _now_ms: 0.0))


def no_pool(_pool: str) -> bool:
    """Every pool has its successes."""
    return False


def pool(action: Action) -> str:
    """Where the action sends to."""
    assert isinstance(action, Send)
    return action.route.pool


def test_three_attempts_three_pools() -> None:
    """Each attempt goes to a pool not tried before; after the third the last failure is handed on."""
    time = Time()
    attempts = machine(router(part(THREE), time))
    pools = {pool(attempts.begin(time()))}
    for _ in range(2):
        pools.add(pool(attempts.failed(ResultClass.SERVER_ERROR, time(), fruitless=no_pool)))
    assert pools == set(THREE)
    assert attempts.failed(ResultClass.TIMEOUT, time(), fruitless=no_pool) == GiveUp(Why.ATTEMPTS)


def test_two_pools_take_turns() -> None:
    """With two pools the third attempt goes back to the first, never to the one that has just failed."""
    time = Time()
    attempts = machine(router(part({"a/r/x": 500_000, "b/r/x": 500_000}), time))
    first = pool(attempts.begin(time()))
    second = pool(attempts.failed(ResultClass.CONNECT, time(), fruitless=no_pool))
    assert second != first
    assert pool(attempts.failed(ResultClass.CONNECT, time(), fruitless=no_pool)) == first


def test_the_only_pool_is_tried_again() -> None:
    """With nowhere else to go, a failure of health is tried again where it was, out of the budget."""
    time, budget = Time(), RetryBudget()
    routing = router(part({"a/r/x": 1_000_000}), time)
    attempts = machine(routing, budget)
    attempts.begin(time())
    assert pool(attempts.failed(ResultClass.CONNECT, time(), fruitless=no_pool)) == "a/r/x"
    assert routing.take_counts() == {"eu": (1, 0)}
    while budget.take(time()):
        pass
    assert attempts.failed(ResultClass.CONNECT, time(), fruitless=no_pool) == GiveUp(Why.BUDGET)


def test_own_errors_end_at_once() -> None:
    """A 400 is handed on after one attempt."""
    time = Time()
    attempts = machine(router(part(THREE), time))
    attempts.begin(time())
    assert attempts.failed(ResultClass.CLIENT_ERROR, time(), fruitless=no_pool) == GiveUp(Why.CALLER)


def test_bound_requests_never_move() -> None:
    """A request that refers to a provider's state fails where that state is."""
    time = Time()
    attempts = machine(router(part(THREE), time), bound=True)
    attempts.begin(time())
    assert attempts.failed(ResultClass.SERVER_ERROR, time(), fruitless=no_pool) == GiveUp(Why.BOUND)


def test_the_deadline_is_one_for_all() -> None:
    """Each attempt gets what is left; past the deadline there is none."""
    time = Time()
    attempts = machine(router(part(THREE), time))
    begun = attempts.begin(time())
    assert isinstance(begun, Send)
    assert begun.left_ms == 20_000
    second = attempts.failed(ResultClass.TIMEOUT, time.pass_ms(10_000), fruitless=no_pool)
    assert isinstance(second, Send)
    assert second.left_ms == 10_000
    assert attempts.failed(ResultClass.TIMEOUT, time.pass_ms(10_000), fruitless=no_pool) == GiveUp(
        Why.DEADLINE
    )


def test_an_empty_budget_fails_fast() -> None:
    """Without a token the last failure is handed on; leaving a pool without any success for one that has some
    costs none, leaving it for another of that kind does."""
    time, budget = Time(), RetryBudget()
    poor, rich, doomed = (machine(router(part(THREE), time), budget) for _ in range(3))
    first, *_ = (pool(attempts.begin(time())) for attempts in (poor, rich, doomed))
    while budget.take(time()):
        pass
    failure = ResultClass.SERVER_ERROR
    assert poor.failed(failure, time(), fruitless=no_pool) == GiveUp(Why.BUDGET)
    assert pool(rich.failed(failure, time(), fruitless=lambda name: name == first)) != first
    assert doomed.failed(failure, time(), fruitless=lambda _: True) == GiveUp(Why.BUDGET)


def test_throttled_leaves_at_once_if_it_can() -> None:
    """With another pool in, a 429 waits for nothing."""
    time = Time()
    routing = router(part(THREE), time)
    attempts = machine(routing)
    first = pool(attempts.begin(time()))
    routing.record(first, MODEL, ResultClass.THROTTLED, retry_after_ms=5_000)
    assert pool(attempts.failed(ResultClass.THROTTLED, time(), fruitless=no_pool)) != first


@pytest.mark.parametrize(("retry_after_ms", "waits"), [(5_000, True), (25_000, False)])
def test_throttled_alone_waits_if_it_fits(retry_after_ms: int, waits: bool) -> None:
    """The only pool is at its limit: wait for it, if the deadline allows, and then try it again."""
    time = Time()
    routing = router(part({"a/r/x": 1_000_000}), time)
    attempts = machine(routing)
    attempts.begin(time())
    routing.record("a/r/x", MODEL, ResultClass.THROTTLED, retry_after_ms=retry_after_ms)
    action = attempts.failed(ResultClass.THROTTLED, time(), fruitless=no_pool)
    if not waits:
        assert action == GiveUp(Why.NO_OTHER)
        return
    assert action == Wait(5_000)
    assert pool(attempts.resume(time.pass_ms(5_000))) == "a/r/x"


def test_nothing_to_send_is_refused_with_its_reason() -> None:
    """Without a table, and when the table sheds all, the request is refused and says which of the two it
    was."""
    time = Time()
    without = machine(router(None, time)).begin(time())
    assert isinstance(without, Refuse)
    assert without.shed.reason is Reason.NO_TABLE
    shed = machine(router(part({"a/r/x": 0}, shed=1_000_000), time)).begin(time())
    assert isinstance(shed, Refuse)
    assert (shed.shed.reason, shed.shed.text) == (Reason.SHED, "no capacity")
