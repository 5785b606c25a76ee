"""The rules for a request, row by row, without a socket: what a pool does goes in, what the caller gets and
what is reported comes out."""

import pytest

from tests.unit.client.exchanging import (
    DONE,
    EVENTS,
    JSON,
    ROLE,
    WHOLE,
    WORD,
    Answer,
    Bench,
    Does,
    answers,
    fails,
    header,
    streams,
)
from tests.unit.client.made_tables import Time, part, router
from tieline._http.messages import StreamBrokenError, WireError
from tieline._request.attempt import Open
from tieline.events import ResultClass
from tieline.table import ClientSettings

A, B, C = "a/r/x", "b/r/x", "c/r/x"
BOTH = {A: 700_000, B: 300_000}
GOOD_STREAM = streams(ROLE, WORD, DONE)
ERROR = b'{"error":{"message":"no","code":"x"}}'
NO_MODEL = b'{"error":{"message":"no","code":"model_not_found"}}'


def bench(weights: dict[str, int] | None = None, **pools: Does) -> Bench:
    """Pools ``a`` and ``b``; the first request goes to ``a``."""
    time = Time()
    return Bench(router(part(weights or BOTH), time), time, **pools)


FAILED_OVER: list[tuple[str, Does, ResultClass]] = [
    ("500", answers(500, ERROR), ResultClass.SERVER_ERROR),
    ("503", answers(503, ERROR), ResultClass.SERVER_ERROR),
    ("408", answers(408, ERROR), ResultClass.TIMEOUT),
    ("429", answers(429, ERROR, retry_after_ms="2000"), ResultClass.THROTTLED),
    ("401", answers(401, ERROR), ResultClass.AUTH),
    ("402", answers(402, ERROR), ResultClass.AUTH),
    ("403", answers(403, ERROR), ResultClass.CLIENT_ERROR),
    ("404", answers(404, ERROR), ResultClass.CLIENT_ERROR),
    ("404 on the model", answers(404, NO_MODEL), ResultClass.NOT_FOUND),
    ("405", answers(405, ERROR), ResultClass.CLIENT_ERROR),
    ("409", answers(409, ERROR), ResultClass.CLIENT_ERROR),
    ("410", answers(410, ERROR), ResultClass.NOT_FOUND),
    ("424", answers(424, ERROR), ResultClass.SERVER_ERROR),
    ("redirect", answers(302, b"", location="https://elsewhere"), ResultClass.SERVER_ERROR),
    ("refused", fails(ResultClass.CONNECT), ResultClass.CONNECT),
    ("silent", fails(ResultClass.TIMEOUT), ResultClass.TIMEOUT),
    ("cut in the body", lambda _: Answer(200, JSON, b"{", WireError(ResultClass.CUT, "")), ResultClass.CUT),
    ("stall in the body", streams(ROLE, WireError(ResultClass.TIMEOUT, "")), ResultClass.TIMEOUT),
    ("empty stream", streams(), ResultClass.CUT),
    ("stream without output", streams(ROLE, b": ping\n\n"), ResultClass.CUT),
    ("error event", streams(ROLE, b'data: {"error":{"code":"boom"}}\n\n'), ResultClass.SERVER_ERROR),
    ("429 in a stream", streams(b'data: {"error":{"code":429}}\n\n'), ResultClass.THROTTLED),
    ("event: error", streams(b"event: error\n\n"), ResultClass.SERVER_ERROR),
]


@pytest.mark.parametrize(
    ("does", "result"), [row[1:] for row in FAILED_OVER], ids=[r[0] for r in FAILED_OVER]
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_fails_before_output_goes_to_the_next_pool(
    does: Does, result: ResultClass, stream: bool
) -> None:
    """The caller gets the other pool's answer; the first is counted by its class, and no connection is left
    open."""
    tried = bench(a=does, b=GOOD_STREAM if stream else answers())
    reply = tried.ask(stream=stream, headers={"x-tieline-deadline": "18"})
    assert (reply.status, header(reply, "x-tieline-pool")) == (200, B)
    assert header(reply, "x-tieline-attempts") == "2"
    assert header(reply, "x-tieline-reason") == "failover"
    assert [pool for pool, _ in tried.sent] == [A, B]
    assert tried.counts()[A] == {result.value: 1}
    assert all(answer.closed == 1 for answer in tried.answers[: -1 if stream else None])


@pytest.mark.parametrize("status", [400, 413, 422])
def test_the_callers_own_errors_are_returned_as_they_are(status: int) -> None:
    """There is no second attempt and no mark on the pool's health, and the caller reads the provider's own
    words."""
    tried = bench(a=answers(status, ERROR, x_ms_region="eu"), b=answers())
    for _ in range(20):
        reply = tried.ask(headers={"x-tieline-session": "one"})
        if header(reply, "x-tieline-pool") == A:
            assert (reply.status, reply.body) == (status, ERROR)
            assert header(reply, "x-ms-region") == "eu"
            assert header(reply, "x-should-retry") == "false"
    assert tried.router.outs() == {}


def test_a_filtered_prompt_in_a_stream_is_the_callers() -> None:
    """An error event that says so ends the request with a 400."""
    tried = bench(a=streams(b'data: {"error":{"code":"content_filter","message":"no"}}\n\n'), b=GOOD_STREAM)
    reply = tried.ask(stream=True)
    assert (reply.status, len(tried.sent)) == (400, 1)


def test_the_final_failure_is_a_plain_answer() -> None:
    """After three attempts the caller gets the last pool's own answer, and no SDK tries again."""
    broken = answers(503, ERROR)
    tried = bench({A: 400_000, B: 300_000, C: 300_000}, a=broken, b=broken, c=broken)
    reply = tried.ask()
    assert (reply.status, reply.body) == (503, ERROR)
    assert header(reply, "x-should-retry") == "false"
    assert header(reply, "x-tieline-gave-up") == "attempts"
    assert sorted(pool for pool, _ in tried.sent) == [A, B, C]


def test_without_any_answer_the_failure_is_made_here() -> None:
    """It is a 504 for silence and a 503 for a failed connection, in OpenAI's shape, with the pool's name and
    the reason."""
    for result, status in ((ResultClass.TIMEOUT, 504), (ResultClass.CONNECT, 503)):
        reply = bench(a=fails(result), b=fails(result)).ask(stream=True)
        assert reply.status == status
        assert b"made to fail" in reply.body
        assert header(reply, "x-should-retry") == "false"


def test_one_deadline_over_all_attempts() -> None:
    """A silent pool gets half of what is left while there is another, and the last attempt all of it. When
    that is over there is no other attempt, and the caller's HTTP library is to raise its own time-out."""
    tried = bench(a=fails(ResultClass.TIMEOUT), b=fails(ResultClass.TIMEOUT))
    began_ms = tried.time()
    reply = tried.ask(stream=True, headers={"x-tieline-deadline": "15"})
    assert [do.flight.due_ms - began_ms for _, do in tried.sent] == [7_500, 15_000]
    assert header(reply, "x-tieline-gave-up") == "deadline"
    assert reply.timed_out


def test_limits_come_from_the_settings() -> None:
    """The first token of a stream may take as long as the table says, and a whole answer 50 ms more for each
    token it may have."""
    tried = bench(a=answers(), b=answers())
    tried.settings = ClientSettings(first_token_timeout_ms=700)
    began_ms = tried.time()
    for fields in ({"stream": True}, {"max_tokens": 10}, {}):
        tried.ask(**fields)
    assert [do.flight.due_ms - began_ms for _, do in tried.sent] == [700, 1_200, 50_700]


def test_throttled_alone_waits() -> None:
    """The only pool asks for two seconds: the request waits that long and is sent again. A wait that would
    end after the deadline is not begun."""
    reactions = iter([answers(429, ERROR, retry_after="2"), answers()])
    tried = bench({A: 1_000_000}, a=lambda do: next(reactions)(do))
    reply = tried.ask()
    assert (reply.status, tried.waited_ms) == (200, [2_000])
    tried = bench({A: 1_000_000}, a=answers(429, ERROR, retry_after="2"))
    reply = tried.ask(headers={"x-tieline-deadline": "1.5"})
    assert (reply.status, tried.waited_ms) == (429, [])


def test_a_stream_is_committed_with_its_first_output() -> None:
    """What was held back comes first and whole. A later break is raised and counted as cut, and no other
    answer is spliced on."""
    tried = bench(a=streams(ROLE, WORD, WireError(ResultClass.CUT, "reset")), b=GOOD_STREAM)
    relay = tried.ask(stream=True).relay
    assert relay is not None
    assert relay.prefix == ROLE + WORD
    with pytest.raises(WireError) as caught:
        relay.answer.read()
    broken = relay.broken(caught.value)
    assert broken is not None
    assert not broken.idle
    relay.close()
    assert tried.counts() == {A: {"cut": 1}}
    assert tried.answers[0].closed == 1


def test_an_end_without_the_last_event_is_a_cut() -> None:
    """So is a stall beyond the idle limit. Each is counted once."""
    tried = bench(a=streams(WORD), b=GOOD_STREAM)
    relay = tried.ask(stream=True).relay
    assert relay is not None
    with pytest.raises(StreamBrokenError):
        relay.over()
    relay.close()
    assert tried.counts() == {A: {"cut": 1}}
    relay = bench(a=streams(WORD), b=GOOD_STREAM).ask(stream=True).relay
    assert relay is not None
    relay.waits()
    stalled = relay.broken(WireError(ResultClass.TIMEOUT, ""))
    assert stalled is not None
    assert stalled.idle


def test_a_whole_stream_is_a_success_whatever_follows() -> None:
    """After [DONE] it does not matter how the connection goes down, nor who closes it."""
    tried = bench(a=streams(WORD, DONE), b=GOOD_STREAM)
    relay = tried.ask(stream=True).relay
    assert relay is not None
    relay.take(relay.answer.read())
    assert relay.complete
    assert relay.broken(WireError(ResultClass.CUT, "reset")) is None
    relay.over()
    relay.close()
    assert tried.counts() == {A: {"ok": 1}}
    assert tried.flights.total() == 0


def test_leaving_a_stream_early_is_no_failure() -> None:
    """A caller that stops reading says nothing about the pool: it counts as ok."""
    tried = bench(a=streams(WORD, WORD), b=GOOD_STREAM)
    relay = tried.ask(stream=True).relay
    assert relay is not None
    relay.close()
    assert tried.counts() == {A: {"ok": 1}}


def test_called_back_requests_go_elsewhere_for_nothing() -> None:
    """Requests that are called back from a pool that stalls still move when the budget is spent, at the pace
    of the pool that takes over."""

    def stalls(do: Open) -> WireError:
        do.flight.abandoned = True
        return WireError(ResultClass.CONNECT, "closed under it")

    tried = bench(a=stalls, b=answers())
    while tried.budget.take(tried.time()):
        pass
    replies = [tried.ask(stream=True) for _ in range(20)]
    assert {header(reply, "x-tieline-pool") for reply in replies} == {B}
    assert tried.counts()[A] == {"timeout": 5}, "then the pool is left"
    assert len(tried.waited_ms) <= 2


def test_what_a_pool_holds_stays_with_it() -> None:
    """A response is continued by the pool that gave it, whatever the weights and its health, and nowhere
    else. A pool that answers well for an id is remembered too."""
    tried = bench(a=answers(200, b'{"id":"resp_1"}'), b=answers(200, b'{"id":"resp_2"}'))
    ids: dict[str, str] = {}
    while len(ids) < 2:
        reply = tried.ask("/responses")
        ids[header(reply, "x-tieline-pool") or ""] = reply.body.decode().split('"')[3]
    for pool, name in ids.items():
        for _ in range(5):
            reply = tried.ask("/responses", previous_response_id=name)
            assert header(reply, "x-tieline-pool") == pool
            assert header(reply, "x-tieline-reason") == "held"
    tried.pools[A] = answers(503, ERROR)
    for _ in range(6):
        reply = tried.ask("/responses", previous_response_id=ids[A])
        assert (reply.status, header(reply, "x-tieline-attempts")) == (503, "3")
        assert header(reply, "x-tieline-gave-up") == "bound"
    assert A in tried.router.outs()


def test_streamed_responses_are_remembered() -> None:
    """They are remembered by the id that their first event names."""
    first = b'event: response.created\ndata: {"type":"response.created","response":{"id":"resp_9"}}\n\n'
    text = b'data: {"type":"response.output_text.delta","delta":"Hi"}\n\n'
    tried = bench(a=lambda _: Answer(200, EVENTS, first, text), b=GOOD_STREAM)
    reply = tried.ask("/responses", stream=True)
    assert reply.relay is not None
    assert tried.holders.pools_of(["resp_9"]) == {"resp_9": A}


def test_a_held_pool_at_its_limit_is_waited_for() -> None:
    """There is no other pool for such a request, so it waits for Retry-After if that fits."""
    reactions = iter([answers(429, ERROR, retry_after_ms="1500"), answers()])
    tried = bench(a=lambda do: next(reactions)(do), b=answers(500, ERROR))
    tried.holders.learn(["f"], A)
    reply = tried.ask("/batches", input_file_id="f")
    assert (reply.status, tried.waited_ms) == (200, [1_500])


def test_requests_that_http_does_not_allow_are_the_callers() -> None:
    """They end with a 400 that is made here, and count as no failure of a pool."""
    tried = bench(a=fails(ResultClass.CLIENT_ERROR), b=answers())
    reply = tried.ask()
    assert (reply.status, len(tried.sent)) == (400, 1)
    assert tried.router.outs() == {}


def test_load_is_told_by_what_answers_say() -> None:
    """A request is offered once, and served by the usage that its answer names."""
    tried = bench(a=answers(500, ERROR), b=answers(200, WHOLE))
    tried.ask()
    flows, rows = tried.window.take("chat", tried.router.take_counts(), {}, tried.flights, tried.time())
    assert [(flow.requests, flow.offered_units > 0) for flow in flows] == [(1, True)]
    assert {row.pool: row.units for row in rows} == {A: 0, B: 7}


L = "l/r/x"


def resort(**pools: Does) -> Bench:
    """Pools ``a`` and ``b``, and a last resort ``l``."""
    time = Time()
    return Bench(router(part(BOTH, last_resort=(L,)), time), time, **pools)


@pytest.mark.parametrize("status", [401, 404, 429, 503])
@pytest.mark.parametrize("stream", [False, True])
def test_the_last_resort_serves_when_nothing_else_does(status: int, stream: bool) -> None:
    """It is the third attempt of the first request, and the first attempt of requests for which both pools
    are out. None of them counts as shed."""
    fault = answers(status, NO_MODEL, retry_after="200")
    tried = resort(a=fault, b=fault, l=GOOD_STREAM if stream else answers())
    replies = [tried.ask(stream=stream) for _ in range(3)]
    assert {(reply.status, header(reply, "x-tieline-pool")) for reply in replies} == {(200, L)}
    assert {header(reply, "x-tieline-reason") for reply in replies} == {"last_resort"}
    assert header(replies[0], "x-tieline-attempts") == "3"
    assert header(replies[2], "x-tieline-attempts") == ("3" if status == 503 else "1")
    assert tried.router.take_counts() == {"eu": (3, 0)}


def test_without_a_last_resort_a_503_names_every_pool() -> None:
    """The request that meets the faults gets a provider's own answer. Those after it, which no pool is asked
    for, are told why each pool is out, its last resort too."""
    text = b"every pool of chat/eu is out: a/r/x: auth; b/r/x: not_found"
    for last in (None, answers(401, ERROR)):
        a, b = answers(401, ERROR), answers(404, NO_MODEL)
        tried = resort(a=a, b=b, l=last) if last else bench(a=a, b=b)
        first, later = tried.ask(), tried.ask()
        assert first.status in (401, 404)
        assert header(first, "x-tieline-gave-up") == ("attempts" if last else "no_other_pool")
        assert later.status == 503
        assert text in later.body
        assert (b"l/r/x: auth (last resort)" in later.body) == (last is not None)
        assert header(later, "x-tieline-reason") == "no_pool"
        for reply in (first, later):
            assert header(reply, "x-should-retry") == "false"
        assert header(later, "x-tieline-attempts") is None


def test_what_failed_at_the_last_resort_too_names_all_that_was_tried() -> None:
    """The caller gets the last answer as it is with the others in a header, or an error made here where there
    was no answer."""
    tried = resort(a=answers(503, ERROR), b=fails(ResultClass.CONNECT), l=answers(500, ERROR))
    reply = tried.ask()
    assert (reply.status, reply.body) == (500, ERROR)
    named = header(reply, "x-tieline-tried")
    assert named is not None
    assert sorted(named.split("; ")) == [
        "a/r/x: server_error",
        "b/r/x: connect",
        "l/r/x: server_error (last resort)",
    ]
    refused = fails(ResultClass.CONNECT)
    reply = resort(a=refused, b=refused, l=refused).ask()
    assert reply.status == 503
    assert b"a/r/x: connect; b/r/x: connect; l/r/x: connect (last resort)" in reply.body


def test_the_last_resort_is_taken_at_its_pace() -> None:
    """While it answers it takes the next at once. A request whose deadline comes before its turn is told
    which pool has no room."""
    fault = answers(401, ERROR)
    tried = resort(a=fault, b=fault, l=answers(503, ERROR))
    for _ in range(2):
        tried.ask()  # both are out
    tried.pools[L] = answers()
    stamps: list[int] = []
    for _ in range(12):
        reply = tried.ask()
        assert (reply.status, header(reply, "x-tieline-pool")) == (200, L)
        stamps.append(tried.time())
    assert stamps[-1] - stamps[0] < 1_000
    while tried.router.reserve(L, tried.time(), 9_000) is not None:
        pass
    reply = tried.ask(headers={"x-tieline-deadline": "5"})
    assert (reply.status, header(reply, "x-tieline-reason")) == (503, "no_pool")
    assert b"l/r/x: no room in time" in reply.body
    assert tried.router.take_counts()["eu"][1] == 1


def test_a_last_resort_that_is_full_is_not_used() -> None:
    """It has as many requests as one process may have there."""
    tried = resort(a=answers(401, ERROR), b=answers(401, ERROR), l=answers())
    tried.ask()
    while L not in tried.flights.full:
        tried.flights.begin(L, tried.time())
    reply = tried.ask()
    assert reply.status == 503
    assert b"l/r/x: passed over (last resort)" in reply.body
