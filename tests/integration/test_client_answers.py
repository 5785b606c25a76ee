"""What real answers over real sockets do to a request, to the pool, and to the requests after it."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import tieline
from tests.integration.answering import (
    HOLD,
    KINDS,
    A,
    Asked,
    B,
    Does,
    Kind,
    Piece,
    Pool,
    ask,
    chat,
    chunk,
    error,
    events,
    pools,
    raw,
    routes,
)
from tieline.table import ModelOffer

STREAM = events(chunk("good"), chunk("", "stop"), "[DONE]")
PATIENCE_S = 5.0


def always(answer: bytes) -> Does:
    """A pool with this one answer."""
    return lambda _number, _asked: answer


def flagged(_number: int, asked: Asked) -> bytes:
    """A pool that moderates prompts."""
    return error(403, "flagged", "your input was flagged") if b"bad" in asked.body else chat("fine")


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_prompt_is_its_callers_alone(kind: Kind, tmp_path: Path) -> None:
    """Each pool is asked once; the caller reads the provider's own words, and everybody else is served as
    before."""
    bad = {"messages": [{"role": "user", "content": "bad"}]}
    with pools(a=flagged, b=flagged) as running:
        got = ask(kind, routes(tmp_path, running), *[{}, *[bad] * 8, {}])
        assert {len(pool.asked) for pool in running.values()} <= {8, 9, 10}
    assert [one.status for one in got] == [200, *[403] * 8, 200]
    assert got[1].text.endswith("your input was flagged")
    assert all(one.out == set() for one in got)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("status", "code", "served", "out"),
    [
        (401, "invalid_api_key", True, {A}),
        (402, "x", True, {A}),
        (403, "x", True, set()),
        (404, "x", True, set()),
        (404, "model_not_found", True, {A}),
        (405, "x", True, set()),
        (409, "x", True, set()),
        (410, "x", True, {A}),
        (423, "x", True, set()),
        (424, "x", True, set()),
        (425, "x", True, set()),
        (500, "x", True, set()),
        (501, "x", True, set()),
        (529, "x", True, set()),
        (302, "x", True, set()),
        (400, "x", False, set()),
        (413, "x", False, set()),
        (422, "x", False, set()),
    ],
)
def test_each_status_goes_elsewhere_or_not_and_marks_the_pool_or_not(
    kind: Kind, status: int, code: str, served: bool, out: set[str], tmp_path: Path
) -> None:
    """The other pool serves at once what may be served elsewhere; the caller's own mistakes are handed on."""
    with pools(a=always(error(status, code, "the words")), b=always(chat("b"))) as running:
        (got,) = ask(kind, routes(tmp_path, running), {})
        assert [len(pool.asked) for pool in running.values()] == [1, int(served)]
    assert (got.text, got.status) == ("b", 200) if served else got.status == status
    assert served or "the words" in got.text
    assert got.out == out


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [401, 402, 403, 404, 501])
def test_if_all_refuse_the_caller_reads_the_providers_own_words(
    kind: Kind, status: int, tmp_path: Path
) -> None:
    """Status, code and words are the provider's, and a header names what was tried."""
    refusing = always(error(status, "its_code", "its words"))
    with pools(a=refusing, b=refusing) as running:
        (got,) = ask(kind, routes(tmp_path, running), {})
        assert [len(pool.asked) for pool in running.values()] == [1, 1]
    assert (got.status, "its words" in got.text) == (status, True)
    assert got.headers["x-tieline-attempts"] == "2"
    assert A in got.headers["x-tieline-tried"]
    assert B in got.headers["x-tieline-tried"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("headers", [{}, {"retry-after-ms": "700"}, {"retry-after": "1"}])
def test_with_nowhere_else_to_go_the_only_pool_is_asked_again_after_a_wait(
    kind: Kind, headers: dict[str, str], tmp_path: Path
) -> None:
    """A blip of the only pool costs its callers a second, not their requests."""
    failing = error(503, **{name.replace("-", "_"): value for name, value in headers.items()})
    with pools(a=lambda number, _asked: failing if number == 1 else chat("fine")) as running:
        (got,) = ask(kind, routes(tmp_path, running), {})
    assert (got.text, got.headers["x-tieline-attempts"]) == ("fine", "2")


@pytest.mark.parametrize("kind", KINDS)
def test_a_provider_that_forbids_another_try_is_asked_once(kind: Kind, tmp_path: Path) -> None:
    """Its ``x-should-retry: false`` is about itself: another pool is asked if there is one."""
    final = always(error(503, x_should_retry="false"))
    with pools(a=final) as running:
        (got,) = ask(kind, routes(tmp_path, running), {})
        assert (got.status, len(running[A].asked)) == (503, 1)
    with pools(a=final, b=always(chat("b"))) as running:
        (got,) = ask(kind, routes(tmp_path, running), {})
        assert got.text == "b"


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_token_is_renewed_once(kind: Kind, tmp_path: Path) -> None:
    """At no attempt's cost and without a mark on the pool; a function that gives the same token again has
    the pool left."""
    tokens = iter(("old", "new", "new", "new"))
    accepts = {"Bearer new"}

    def serves(_number: int, asked: Asked) -> bytes:
        return chat("fine") if asked.headers["authorization"] in accepts else error(401, "invalid_token")

    with pools(a=serves) as running:
        path = routes(tmp_path, running, credential="name")
        give = {"name": lambda: tieline.Token(next(tokens), 3_600_000)}
        got = ask(kind, path, {}, {}, credentials=give)
        assert [one.text for one in got] == ["fine", "fine"]
        assert got[0].headers["x-tieline-attempts"] == "1"
        assert got[1].out == set()
        accepts.clear()
        (got_refused,) = ask(kind, path, {}, credentials={"name": lambda: tieline.Token("old", 3_600_000)})
        assert (got_refused.status, len(running[A].asked)) == (401, 3 + 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_silent_pool_gets_half_of_a_declared_time_out(kind: Kind, tmp_path: Path) -> None:
    """The other pool serves in the rest; with none, or where both are silent, the SDK raises its own
    ``APITimeoutError``. All of them wait side by side."""
    silent: Does = lambda _number, _asked: [HOLD]  # noqa: E731  one line says it

    def served(stream: bool) -> None:
        with pools(a=silent, b=always(STREAM if stream else chat("good"))) as running:
            (got,) = ask(kind, path_of("served", stream, running), {"stream": stream, "timeout": PATIENCE_S})
            assert got.text == "good"

    def given_up(stream: bool) -> None:
        with pools(a=silent, b=silent) as running:
            (got,) = ask(kind, path_of("lost", stream, running), {"stream": stream, "timeout": PATIENCE_S})
            assert (got.error, got.status) == ("APITimeoutError", 0)
            assert [len(pool.asked) for pool in running.values()] == [1, 1]

    def path_of(name: str, stream: bool, running: dict[str, Pool]) -> Path:
        (folder := tmp_path / f"{name}-{stream}").mkdir()
        return routes(folder, running)

    with ThreadPoolExecutor(4) as side_by_side:
        ends = [side_by_side.submit(end, stream) for end in (served, given_up) for stream in (False, True)]
        for end in ends:
            end.result()


@pytest.mark.parametrize("kind", KINDS)
def test_a_declared_time_out_lengthens_too(kind: Kind, tmp_path: Path) -> None:
    """A whole answer takes longer than the table says, and is made once."""
    slow: Does = lambda _number, _asked: [1.2, chat("slow, healthy")]  # noqa: E731
    with pools(a=slow, b=slow) as running:
        path = routes(tmp_path, running, first_token_timeout_ms=200)
        (got,) = ask(kind, path, {"max_tokens": 4, "timeout": 20})
        assert got.text == "slow, healthy"
        assert [len(pool.asked) for pool in running.values()] == [1, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_preambles_and_comments_keep_a_stream_alive(kind: Kind, tmp_path: Path) -> None:
    """Output comes later than the first-token limit, which each byte restarts."""
    head_and_role, *_ = events(chunk("")).split(b"\n\n")
    late: list[Piece] = [head_and_role + b"\n\n", 0.75, b": alive\n\n", 0.75, b": alive\n\n", 0.75]
    rest = events(chunk("late"), chunk("", "stop"), "[DONE]").partition(b"\r\n\r\n")[2]
    with pools(a=lambda _number, _asked: [*late, rest], b=always(STREAM)) as running:
        path = routes(tmp_path, running, first_token_timeout_ms=2_000)
        (got,) = ask(kind, path, {"stream": True})
        assert (got.text, len(running[B].asked)) == ("late", 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_models_own_limits_come_with_its_offer(kind: Kind, tmp_path: Path) -> None:
    """A model that thinks for long gets the time that its offer states."""
    with pools(a=lambda _number, _asked: [0.8, STREAM], b=always(STREAM)) as running:
        offers = {A: ModelOffer("m", "m", first_token_timeout_ms=30_000)}
        path = routes(tmp_path, running, offers=offers, first_token_timeout_ms=200)
        (got,) = ask(kind, path, {"stream": True})
        assert (got.text, len(running[A].asked), len(running[B].asked)) == ("good", 1, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_that_is_too_long_goes_where_the_context_is_longer(kind: Kind, tmp_path: Path) -> None:
    """A pool whose context is stated as longer serves it; without such a pool the error is the caller's own,
    after one attempt."""
    too_long = always(error(400, "context_length_exceeded", "too long"))
    with pools(a=too_long, b=always(chat("b"))) as running:
        for longer, text in ((100_000, "b"), (0, "b"), (4_000, "too long")):
            offers = {A: ModelOffer("m", "m", 8_000), B: ModelOffer("m", "m", longer)}
            (got,) = ask(kind, routes(tmp_path, running, offers=offers), {})
            assert text in got.text
    assert json.loads(running[A].asked[0].body)["model"] == "m"


NO_ANSWERS = {
    "empty": raw(b""),
    "a page": raw(b"<html>Bad gateway</html>", kind="text/html"),
    "a page as JSON": raw(b"<html>Bad gateway</html>"),
    "half": raw(b'{"id":"c","choices":[{"message":{"cont'),
    "an error": raw(b'{"error":{"message":"overloaded","code":503}}'),
    "a flat error": raw(b'{"type":"error","code":"rate_limit_exceeded","message":"slow"}'),
    "a text": raw(b'{"error":"it broke"}'),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NO_ANSWERS)
def test_a_good_status_without_an_answer_fails_over(kind: Kind, name: str, tmp_path: Path) -> None:
    """The other pool serves; with none, the caller gets an error, and never an empty success."""
    with pools(a=always(NO_ANSWERS[name]), b=always(chat("b"))) as running:
        (got,) = ask(kind, routes(tmp_path, running), {})
        assert (got.text, got.headers["x-tieline-attempts"]) == ("b", "2")
    with pools(a=always(NO_ANSWERS[name])) as running:
        (got,) = ask(kind, routes(tmp_path, running, attempts_max=1), {})
        assert got.status in (429, 500, 503)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_the_callers_in_a_good_answer_costs_one_attempt(kind: Kind, tmp_path: Path) -> None:
    """It gets the status that it stands for, and the provider's words."""
    body = raw(b'{"error":{"type":"invalid_request_error","message":"no such role"}}')
    with pools(a=always(body), b=always(chat("b"))) as running:
        (got,) = ask(kind, routes(tmp_path, running), {})
        assert (got.status, len(running[B].asked)) == (400, 0)
    assert "no such role" in got.text


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_without_content_is_served_or_tried_again_by_the_setting(
    kind: Kind, tmp_path: Path
) -> None:
    """By default it is served. If every pool gives none, it is served all the same."""
    empty = always(raw(b'{"id":"c","object":"chat.completion","choices":[]}'))
    with pools(a=empty, b=always(chat("b"))) as running:
        (served,) = ask(kind, routes(tmp_path, running), {})
        (again,) = ask(kind, routes(tmp_path, running, empty_answers="retry"), {})
    assert (served.text, again.text) == ("", "b")
    with pools(a=empty) as running:
        (got,) = ask(kind, routes(tmp_path, running, empty_answers="retry", attempts_max=1), {})
    assert (got.status, got.text) == (200, "")


@pytest.mark.parametrize("kind", KINDS)
def test_a_parameter_that_one_pool_refuses_goes_where_it_is_taken(kind: Kind, tmp_path: Path) -> None:
    """The first request fails over; those after it don't ask the pool that refuses it. Without another pool
    the error is the caller's own."""
    body = b'{"error":{"code":"unsupported_parameter","param":"seed","message":"seed is not supported"}}'
    refuses: Does = lambda _number, asked: raw(body, 400) if b"seed" in asked.body else chat("a")  # noqa: E731
    with pools(a=refuses, b=always(chat("b"))) as running:
        got = ask(kind, routes(tmp_path, running), {"seed": 1}, {"seed": 1}, {"seed": 2}, {})
        assert [one.text for one in got] == ["b", "b", "b", "a"]
        assert [len(pool.asked) for pool in running.values()] == [2, 3]
    with pools(a=refuses) as running:
        (got_alone,) = ask(kind, routes(tmp_path, running), {"seed": 1})
        assert (got_alone.status, len(running[A].asked)) == (400, 1)
