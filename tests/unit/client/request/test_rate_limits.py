"""What answers say is left of a provider's limits decides where requests go, before the first 429."""

from typing import Any

import pytest

from tests.unit.client.exchanging import Bench, Does, answers, header
from tests.unit.client.made_tables import Time, part, router

A, B, C = "a/r/x", "b/r/x", "c/r/x"
MOSTLY_A = {A: 999_999, B: 1}


def bench(weights: dict[str, int], *, last_resort: tuple[str, ...] = (), **pools: Does) -> Bench:
    """Pools by their first letters."""
    time = Time()
    return Bench(router(part(weights, last_resort=last_resort), time), time, **pools)


def left(requests: int, reset: str = "20s") -> Does:
    """A pool whose good answers say that so many requests are left."""
    names: dict[str, Any] = {
        "x_ratelimit_remaining_requests": str(requests),
        "x_ratelimit_reset_requests": reset,
    }
    return answers(**names)


def pools_asked(run: Bench, count: int) -> list[str]:
    """Where so many requests went, as single letters."""
    run.sent.clear()
    for _ in range(count):
        assert run.ask().status == 200
    return [pool[0] for pool, _ in run.sent]


def test_what_a_pool_has_no_room_for_goes_elsewhere() -> None:
    """Nothing is left at ``a`` for 20 s: it keeps its weight, but others take its requests until then."""
    run = bench(MOSTLY_A, a=left(0), b=answers())
    assert pools_asked(run, 5) == ["a", "b", "b", "b", "b"]
    assert run.router.outs() == {}
    run.time.pass_ms(20_000)
    assert pools_asked(run, 2) == ["a", "b"]


def test_what_is_sent_is_used_before_answers_say_so() -> None:
    """Three were left: three more go there, although their own answers say nothing."""
    reactions = iter([left(3), answers(), answers(), answers()])
    run = bench(MOSTLY_A, a=lambda sent: next(reactions)(sent), b=answers())
    assert pools_asked(run, 5) == ["a", "a", "a", "a", "b"]


def test_anthropics_headers_and_tokens_count_as_well() -> None:
    """The names of other providers; a request that is larger than the tokens that are left goes elsewhere."""
    tokens: dict[str, Any] = {
        "anthropic_ratelimit_tokens_remaining": "100",
        "anthropic_ratelimit_tokens_reset": "20s",
    }
    run = bench(MOSTLY_A, a=answers(**tokens), b=answers())
    assert run.ask(max_tokens=10).headers
    run.sent.clear()
    run.ask(max_tokens=10)
    run.ask(max_tokens=5_000)
    assert [pool for pool, _ in run.sent] == [A, B]


def test_alone_a_request_waits_until_there_is_room() -> None:
    """With nowhere else to go it waits for the reset that the pool has stated."""
    run = bench({A: 1_000_000}, a=left(0, "5s"))
    assert pools_asked(run, 2) == ["a", "a"]
    assert run.waited_ms == [5_000]


def test_alone_and_in_a_hurry_it_is_told_when() -> None:
    """A deadline before that is an error at once, which says when and names the pool; nothing is sent."""
    run = bench({A: 1_000_000}, a=left(0))
    assert pools_asked(run, 1) == ["a"]
    reply = run.ask(headers={"x-tieline-deadline": "2"})
    assert (reply.status, header(reply, "retry-after"), header(reply, "x-tieline-reason")) == (
        429,
        "20",
        "throttled",
    )
    assert b"a/r/x: its answers say that nothing is left of its limit" in reply.body
    assert len(run.sent) == 1
    assert run.router.take_counts() == {"eu": (2, 1)}


def test_a_moved_request_does_not_run_over_the_standby() -> None:
    """``a`` fails and ``b`` has no room: the request asks ``a`` again, then waits for ``b``."""
    run = bench(MOSTLY_A, a=answers(503, b"{}"), b=left(0, "1s"))
    assert pools_asked(run, 1) == ["a", "b"]
    assert pools_asked(run, 1)[-1] == "b"
    assert sum(run.waited_ms) >= 500


def test_the_last_resort_takes_what_has_no_room() -> None:
    """A pool at its limit is not waited for where the table names a last resort."""
    run = bench({A: 1_000_000}, last_resort=(C,), a=left(0), c=answers())
    assert pools_asked(run, 2) == ["a", "c"]
    assert run.waited_ms == []


@pytest.mark.parametrize("reset", ["", "soon", "-1"])
def test_without_a_reset_that_makes_sense_it_holds_for_a_second(reset: str) -> None:
    """What can't be read is as if it were not there."""
    run = bench(MOSTLY_A, a=left(0, reset), b=answers())
    assert pools_asked(run, 2) == ["a", "b"]
    run.time.pass_ms(1_000)
    assert pools_asked(run, 1) == ["a"]
