"""What the machine of one request does with each refusal: elsewhere, again after a wait, or neither."""

import pytest
from msgspec.structs import replace

from tests.unit.client.attempting import AGAIN_MS, machine, no_pool, pool
from tests.unit.client.made_tables import MODEL, Time, info, part, router
from tieline._request.retry_rule import GiveUp, Wait, Why
from tieline.events import ResultClass
from tieline.providers.answers import Reading, error_in, reading_of_result, reading_of_status
from tieline.table import ModelOffer

TWO = {"a/r/x": 500_000, "b/r/x": 500_000}


def refused(status: int, **error: str) -> Reading:
    """What an answer with this status and error means, to a request that names a model."""
    return reading_of_status(status, error_in(error), names_model=True)


@pytest.mark.parametrize("status", [401, 402, 403, 404, 405, 410, 501])
def test_a_refusal_is_tried_once_on_each_pool(status: int) -> None:
    """Another pool may answer differently, the same one would not: no wait and no third attempt. With 401
    the token was renewed before."""
    time = Time()
    attempts = machine(router(part(TWO), time))
    reading = replace(refused(status), again=False)
    pools = [pool(attempts.begin(time()))]
    pools.append(pool(attempts.failed(reading, time(), fruitless=no_pool)))
    assert sorted(pools) == sorted(TWO)
    end = attempts.failed(reading, time(), fruitless=no_pool)
    assert isinstance(end, GiveUp)
    assert end.why is Why.NO_OTHER


def test_a_pool_that_refused_is_not_asked_again_after_another_failed() -> None:
    """The third attempt goes to the pool whose failure may pass, although it is the one that has just
    failed."""
    time = Time()
    attempts = machine(router(part(TWO), time))
    first = pool(attempts.begin(time()))
    second = pool(attempts.failed(refused(403), time(), fruitless=no_pool))
    assert first != second
    assert attempts.failed(refused(503), time(), fruitless=no_pool) == Wait(AGAIN_MS)
    assert pool(attempts.resume(time.pass_ms(AGAIN_MS))) == second


@pytest.mark.parametrize("status", [409, 423, 425])
def test_a_conflict_is_tried_elsewhere_first_and_again_else(status: int) -> None:
    """With another pool at once, with none after a wait."""
    time = Time()
    both = machine(router(part(TWO), time))
    first = pool(both.begin(time()))
    assert pool(both.failed(refused(status), time(), fruitless=no_pool)) != first
    alone = machine(router(part({"a/r/x": 1_000_000}), time))
    alone.begin(time())
    assert alone.failed(refused(status), time(), fruitless=no_pool) == Wait(AGAIN_MS)


def test_retry_after_is_heeded_on_any_status() -> None:
    """Another pool comes first; the same one is not asked before the time that it named, and not at all if
    that is past the deadline."""
    time = Time()
    attempts = machine(router(part(TWO), time))
    first = pool(attempts.begin(time()))
    action = attempts.failed(refused(503), time(), fruitless=no_pool, retry_after_ms=3_000)
    assert pool(action) != first
    assert attempts.failed(refused(503), time.pass_ms(1_000), fruitless=no_pool) == Wait(2_000)
    late = machine(router(part({"a/r/x": 1_000_000}), time))
    late.begin(time())
    end = late.failed(refused(503), time(), fruitless=no_pool, retry_after_ms=60_000)
    assert end == GiveUp(Why.NO_OTHER)


def test_a_provider_can_forbid_another_try() -> None:
    """Then the same pool is not asked again; another one may be."""
    time = Time()
    reading = replace(refused(503), again=False)
    alone = machine(router(part({"a/r/x": 1_000_000}), time))
    alone.begin(time())
    assert isinstance(alone.failed(reading, time(), fruitless=no_pool), GiveUp)
    both = machine(router(part(TWO), time))
    first = pool(both.begin(time()))
    assert pool(both.failed(reading, time(), fruitless=no_pool)) != first


def test_a_prompt_that_is_too_long_goes_where_the_context_is_longer() -> None:
    """Pools whose context is as short are passed over. Where the table says nothing of the pool's context
    the error is the caller's own."""
    time = Time()
    sizes = {"a/r/x": 8_000, "b/r/x": 4_000, "c/r/x": 100_000}
    infos = {name: info(name, models=(ModelOffer(MODEL, "big", size),)) for name, size in sizes.items()}
    weights = {"a/r/x": 999_998, "b/r/x": 1, "c/r/x": 1}
    attempts = machine(router(part(weights, infos=infos), time))
    too_long = refused(400, code="context_length_exceeded")
    assert pool(attempts.begin(time())) == "a/r/x"
    assert pool(attempts.failed(too_long, time(), fruitless=no_pool)) == "c/r/x"
    end = attempts.failed(too_long, time(), fruitless=no_pool)
    assert isinstance(end, GiveUp)
    assert end.why is Why.CALLER
    unstated = {name: info(name, models=(ModelOffer(MODEL, "big"),)) for name in TWO}
    attempts = machine(router(part(TWO, infos=unstated), time))
    attempts.begin(time())
    assert attempts.failed(too_long, time(), fruitless=no_pool) == GiveUp(Why.CALLER)


def test_a_costly_request_ends_where_its_driver_says_so() -> None:
    """Whoever drives the machine knows what may be billed."""
    time = Time()
    attempts = machine(router(part(TWO), time))
    attempts.begin(time())
    end = attempts.failed(reading_of_result(ResultClass.TIMEOUT), time(), fruitless=no_pool, final=Why.BILLED)
    assert end == GiveUp(Why.BILLED)
