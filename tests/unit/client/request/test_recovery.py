"""Streams that break after their first output: raised, held back, or sent anew."""

import pytest

import tieline
from tests.unit.client.exchanging import DONE, ROLE, WORD, Bench, Does, header, streams
from tests.unit.client.made_tables import Time, part, router
from tieline._http.messages import WireError
from tieline._request.recovery import Recovery
from tieline.events import ResultClass

A, B = "a/r/x", "b/r/x"
GOOD = streams(ROLE, WORD, WORD, DONE)
OVERLOADED = b'data: {"error":{"code":"overloaded"}}\n\n'


def bench(recovery: Recovery, **pools: Does) -> Bench:
    """Pools ``a`` and ``b``; requests go to ``a`` while it is in."""
    time = Time()
    made = Bench(router(part({A: 999_999, B: 1}), time), time, **pools)
    made.tools.recovery = recovery
    return made


@pytest.mark.parametrize(
    ("pieces", "result"),
    [
        ((ROLE, WORD, WireError(ResultClass.CUT, "reset")), ResultClass.CUT),
        ((ROLE, WORD, WireError(ResultClass.TIMEOUT, "silent")), ResultClass.TIMEOUT),
        ((ROLE, WORD), ResultClass.CUT),
        ((ROLE, WORD, OVERLOADED, DONE), ResultClass.SERVER_ERROR),
    ],
)
def test_a_stream_that_is_held_back_fails_over(pieces: tuple[bytes, ...], result: ResultClass) -> None:
    """Nothing of it was handed on, so another pool answers; the failure counts as it was."""
    tried = bench(Recovery("whole"), a=streams(*pieces), b=GOOD)
    reply = tried.ask(stream=True)
    assert (reply.status, header(reply, "x-tieline-pool")) == (200, B)
    assert reply.relay is not None
    assert reply.relay.prefix == ROLE + WORD + WORD + DONE
    assert tried.counts() == {A: {result.value: 1}, B: {"ok": 1}}


def test_a_callers_own_error_is_not_tried_elsewhere() -> None:
    """A filter that stops a held-back answer gives the provider's error, once."""
    tried = bench(
        Recovery("whole"), a=streams(WORD, b'data: {"error":{"code":"content_filter","message":"no"}}\n\n')
    )
    assert tried.ask(stream=True).status == 400
    assert len(tried.sent) == 1


def test_what_is_too_large_is_handed_on() -> None:
    """Beyond the bound a break is raised, as without holding back."""
    tried = bench(Recovery("whole", bytes_max=100), a=streams(ROLE, WORD, WORD), b=GOOD)
    reply = tried.ask(stream=True)
    assert header(reply, "x-tieline-pool") == A
    assert reply.relay is not None
    assert len(reply.relay.prefix) > 100


def test_an_option_holds_for_its_requests() -> None:
    """Inside ``options`` another way applies than the client's."""
    tried = bench(Recovery(), a=streams(ROLE, WORD), b=GOOD)
    assert header(tried.ask(stream=True), "x-tieline-pool") == A
    with tieline.options(stream_recovery="whole"):
        assert header(tried.ask(stream=True), "x-tieline-pool") == B
    refused = pytest.raises(tieline.ConfigurationError, match="stream_recovery='splice'")
    with refused, tieline.options(stream_recovery="splice"):
        pass


def test_a_restart_is_a_retry() -> None:
    """It keeps away from the pool that broke, has the same id, costs a token, and is not offered for ever."""
    tried = bench(Recovery("restart"), a=streams(ROLE, WORD), b=GOOD)
    relay = tried.ask(stream=True).relay
    assert relay is not None
    assert relay.restart is not None
    before = tried.budget.left(tried.time())
    request = relay.restart()
    assert request is not None
    assert request.left == (A,)
    assert tried.budget.left(tried.time()) == before - 1
    reply = tried.send(request)
    assert header(reply, "x-tieline-pool") == B
    ids = [dict(sent.headers)[b"x-request-id"] for _, sent in tried.sent]
    assert ids[0] == ids[1]
    assert reply.relay is not None
    assert reply.relay.restart is not None
    third = reply.relay.restart()
    assert third is not None
    last = tried.send(third).relay
    assert last is not None
    assert last.restart is not None
    assert last.restart() is None


def test_no_restart_without_a_token() -> None:
    """Where retries are spent the break is raised."""
    tried = bench(Recovery("restart"), a=streams(ROLE, WORD), b=GOOD)
    relay = tried.ask(stream=True).relay
    assert relay is not None
    assert relay.restart is not None
    while tried.budget.left(tried.time()) >= 1:
        tried.budget.take(tried.time())
    assert relay.restart() is None
