"""What timed out for its caller and may be billed is not sent again by an SDK."""

from typing import Any

import pytest

from tests.unit.client.exchanging import Answer, Bench, answers, fails, header
from tests.unit.client.made_tables import Time, info, part, router
from tieline._http.content import PIECE_BYTES, Spool
from tieline._http.messages import Headers, HttpRequest, WireError
from tieline._request.billed_timeouts import (
    REMEMBERED_MAX,
    REMEMBERED_MS,
    BilledTimeouts,
    Shape,
    digest_of,
    is_resend,
    shape_of,
)
from tieline._request.reply import Reply
from tieline.events import ResultClass

A, B = "a/r/x", "b/r/x"
DECLARED = {"x-tieline-deadline": "15"}
SHAPE = Shape(1, "POST", "/images/generations", body_bytes=9)


def bench(**pools: Any) -> Bench:
    """Two pools, the first of which is silent unless the test says otherwise."""
    time = Time()
    infos = {name: info(name) for name in (A, B)}
    routing = router(part({A: 999_999, B: 1}, infos=infos), time)
    return Bench(routing, time, **{"a": fails(ResultClass.TIMEOUT), "b": answers(), **pools})


def resend(tried: Bench, path: str, count: str = "1", **options: Any) -> Reply:
    """The request as the SDK sends it for the next time."""
    return tried.ask(path, headers={**DECLARED, "x-stainless-retry-count": count}, **options)


@pytest.mark.parametrize("path", ["/images/generations", "/audio/speech", "/videos", "/chat/completions"])
def test_no_pool_sees_the_resends_of_a_time_out_that_may_be_billed(path: str) -> None:
    """Both resends of the SDK end at once, in the time-out of the HTTP library again. So it is for images,
    audio, video, and a whole answer that was waited for for more than 10 s."""
    tried = bench()
    limit = {"x-tieline-deadline": "30"}
    assert tried.ask(path, headers=limit).timed_out
    sent, now_ms = len(tried.sent), tried.time()
    for count in ("1", "2"):
        reply = tried.ask(path, headers={**limit, "x-stainless-retry-count": count})
        assert (reply.status, header(reply, "x-tieline-reason")) == (504, "may_be_billed")
        assert "make a new request" in reply.timed_out
    assert (sent, len(tried.sent), tried.time()) == (1, 1, now_ms)


def test_a_new_order_is_served_and_forgets_the_time_out() -> None:
    """A caller who asks for the same again by itself gets it; after that the SDK may send it again."""
    tried = bench()
    assert resend(tried, "/images/generations", "0").timed_out
    tried.pools[A] = answers()
    assert resend(tried, "/images/generations", "0").status == 200
    assert tried.tools.billed_timeouts.is_empty
    assert resend(tried, "/images/generations", "1").status == 200


def test_only_the_same_request_of_the_same_caller_is_meant() -> None:
    """Another prompt of the same length, another path, and the same request of another task or thread are
    sent, whatever number they bear. They are not forgotten for each other either."""
    tried = bench()
    assert tried.ask("/images/generations", headers=DECLARED, prompt="a line").timed_out
    tried.pools[A] = answers()
    assert resend(tried, "/images/generations", prompt="a cube").status == 200
    assert resend(tried, "/images/generations", "0", prompt="a cube").status == 200
    assert resend(tried, "/images/edits", prompt="a line").status == 200
    tried.caller = 2
    assert resend(tried, "/images/generations", "0", prompt="a line").status == 200
    assert resend(tried, "/images/generations", prompt="a line").status == 200
    tried.caller = 1
    assert resend(tried, "/images/generations", prompt="a line").timed_out


def test_what_was_not_dear_may_be_sent_again() -> None:
    """A short answer that times out costs little: the SDK's resend goes to a pool."""
    tried = bench(b=fails(ResultClass.TIMEOUT))
    limit = {"x-tieline-deadline": "1"}
    assert tried.ask(headers=limit).timed_out
    tried.pools[A] = tried.pools[B] = answers()
    assert tried.ask(headers={**limit, "x-stainless-retry-count": "1"}).status == 200


def test_without_a_declared_time_out_there_is_an_answer() -> None:
    """It says itself that it must not be sent again, so nothing is remembered."""
    tried = bench()
    reply = tried.ask("/images/generations")
    assert (reply.status, header(reply, "x-should-retry"), reply.timed_out) == (504, "false", "")
    assert tried.tools.billed_timeouts.is_empty


def test_a_second_attempt_that_times_out_is_not_ordered_again_by_the_sdk() -> None:
    """One resend is made here, after a death; when that times out, the SDK makes none."""
    tried = bench(a=answers(500, b"{}"), b=fails(ResultClass.TIMEOUT))
    assert tried.ask("/images/generations", headers=DECLARED).timed_out
    assert [pool for pool, _ in tried.sent] == [A, B]
    assert resend(tried, "/images/generations").timed_out
    assert len(tried.sent) == 2


def test_speech_that_stalls_is_not_ordered_again_by_the_sdk() -> None:
    """The SDK reads it as a whole and sends it again after a time-out in its middle, but a break is evidence
    of a death."""
    for result, is_sent in ((ResultClass.TIMEOUT, False), (ResultClass.CUT, True)):
        sound = Answer(200, [(b"content-type", b"audio/mpeg")], b"ID3")
        tried = bench(a=lambda _open, sound=sound: sound)
        relay = tried.ask("/audio/speech").relay
        assert relay is not None
        relay.waits()
        if result is ResultClass.TIMEOUT:
            tried.time.pass_ms(10_000)
        relay.broken(WireError(result, "it ends here"))
        tried.pools[A] = answers()
        assert (resend(tried, "/audio/speech").timed_out == "") == is_sent


def request(body: "bytes | Spool", headers: Headers | None = None) -> HttpRequest:
    """A request with this body."""
    return HttpRequest("POST", "/images/edits", headers or [], body=body, named={})


@pytest.mark.parametrize("size", [10, PIECE_BYTES - 34, 3 * PIECE_BYTES])
def test_the_boundary_of_a_form_does_not_count(size: int) -> None:
    """Each resend of a form has another one, in memory or in a file, wherever the pieces end. Everything else
    counts."""

    def form(boundary: str, last: bytes, *, is_file: bool) -> HttpRequest:
        mark = boundary.encode()
        body = b"--" + mark + b"\r\n\r\n" + b"x" * size + b"\r\n--" + mark + b"\r\n\r\n" + last + b"--" + mark
        headers = [(b"Content-Type", f"multipart/form-data; boundary={boundary}".encode())]
        spool = Spool() if is_file else None
        if spool is not None:
            spool.write(body)
        return request(spool or body, headers)

    first = form("0123456789abcdef", b"last", is_file=False)
    again = [
        form(mark, b"last", is_file=is_file) for mark in ("f" * 16, "1" * 16) for is_file in (True, False)
    ]
    other = form("0123456789abcdef", b"lost", is_file=True)
    assert {digest_of(same) for same in again} == {digest_of(first)}
    assert {shape_of(same, 1) for same in again} == {shape_of(first, 1)}
    assert digest_of(other) != digest_of(first)
    assert digest_of(request(b"x")) != digest_of(request(b"y"))


@pytest.mark.parametrize(
    ("count", "expected"),
    [("1", True), ("2", True), ("10", True), ("0", False), ("", False), ("-1", False), ("x", False)],
)
def test_resends_are_numbered_from_one(count: str, expected: bool) -> None:
    """What is no number is no resend."""
    assert is_resend(request(b"", [(b"X-Stainless-Retry-Count", count.encode())])) is expected
    assert not is_resend(request(b""))


def test_memory_is_bounded_in_time_and_number() -> None:
    """For ten minutes, and the latest thousand."""
    timeouts = BilledTimeouts()
    timeouts.remember(SHAPE, b"digest", 0)
    assert timeouts.may_have(SHAPE, REMEMBERED_MS - 1)
    assert timeouts.refuses(SHAPE, b"digest", is_resend=True)
    assert not timeouts.may_have(SHAPE, REMEMBERED_MS)
    assert timeouts.is_empty
    for number in range(REMEMBERED_MAX + 1):
        timeouts.remember(SHAPE._replace(body_bytes=number), b"digest", number)
    assert [timeouts.may_have(SHAPE._replace(body_bytes=number), 1_000) for number in (0, 1)] == [False, True]


def test_streams_of_pictures_are_not_ordered_again_either() -> None:
    """A stream that was silent to the end of the declared time may be drawing."""
    tried = bench()
    assert tried.ask("/images/generations", headers=DECLARED, stream=True).timed_out
    assert resend(tried, "/images/generations", stream=True).timed_out
    assert len(tried.sent) == 1
