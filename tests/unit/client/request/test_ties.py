"""Where a request goes that refers to what a pool holds, and what it is told when that fails."""

from collections.abc import Iterable

from msgspec.structs import replace

import tieline
from tests.unit.client.exchanging import Bench, answers, fails, header
from tests.unit.client.made_tables import Time, info, part, router
from tieline._request.body import read_body
from tieline._request.memory import Holders
from tieline._request.ties import ties_of
from tieline.events import ResultClass

A, B = "a/r/x", "b/r/x"
ERROR = b'{"error":{"message":"no","code":"x"}}'
REFERS = b'{"previous_response_id":"resp_1","conversation":"conv_1"}'


def test_unbound_requests_may_go_elsewhere() -> None:
    """By the option or by its header, a request whose pool fails is served by another one, without the id
    that only the first knows."""
    time = Time()
    tried = Bench(router(part({A: 500_000, B: 500_000}), time), time, a=answers(503, ERROR), b=answers())
    tried.holders.learn(["resp_1"], A)
    with tieline.options(unbind=True):
        assert tried.ask("/responses", input="hi", previous_response_id="resp_1").status == 200
    headers = {"x-tieline-unbind": "true"}
    assert tried.ask("/responses", headers=headers, previous_response_id="resp_1").status == 200
    assert all(b"resp_1" not in bytes(sent.body) for _, sent in tried.sent)


def test_the_error_without_an_answer_says_who_holds_what() -> None:
    """In its words and in a header; characters of an id that no header may have are replaced."""
    time = Time()
    tried = Bench(
        router(part({A: 500_000, B: 500_000}), time), time, a=fails(ResultClass.CONNECT), b=answers()
    )
    tried.holders.learn(["conv\n1"], A)
    reply = tried.ask("/responses", conversation="conv\n1")
    assert reply.status == 503
    assert b"conv?1 is held by a/r/x" in reply.body
    assert header(reply, "x-tieline-held") == "conv?1 is held by a/r/x"


def test_who_may_serve_what_a_pool_holds() -> None:
    """The holder alone, or also a pool of the same host and credential. A request whose holder is not known
    is bound to whichever pool it goes to."""
    body, holders = read_body(REFERS, "/responses"), Holders()
    alone = router(part({A: 500_000, B: 500_000}), Time())
    assert ties_of(body, holders, alone, origin="eu").bound
    holders.learn(["conv_1"], A)
    ties = ties_of(body, holders, alone, origin="eu")
    assert (ties.pool, ties.bound, ties.text) == (A, True, "conv_1 is held by a/r/x")
    infos = {pool: replace(info(pool), url="https://one.example/v1") for pool in (A, B)}
    sharing = router(part({A: 500_000, B: 500_000}, infos=infos), Time())
    assert not ties_of(body, holders, sharing, origin="eu").bound
    infos[B] = replace(infos[B], credential="other")
    apart = router(part({A: 500_000, B: 500_000}, infos=infos), Time())
    assert ties_of(body, holders, apart, origin="eu").bound


class Told:
    """What other processes are told."""

    def __init__(self) -> None:
        self.rows: list[tuple[tuple[str, ...], str]] = []

    async def run(self) -> None:
        raise AssertionError("only a client calls this")

    def learned(self, ids: Iterable[str], pool: str) -> None:
        self.rows.append((tuple(ids), pool))

    async def look_up(self, _ids: Iterable[str]) -> dict[str, str]:
        raise AssertionError("only a runner calls this")


def test_other_processes_are_asked_for_what_is_not_known_here() -> None:
    """Once for each id; then it is known here. Where nothing is shared nobody is asked."""
    time = Time()
    tried = Bench(router(part({A: 999_999, B: 1}), time), time, a=answers(), b=answers())
    tried.known_elsewhere = {"resp_1": B}
    tried.ask("/responses", previous_response_id="resp_0")
    assert (tried.looked_up, [pool for pool, _ in tried.sent]) == ([], [A])
    tried.tools.shared = Told()
    for _ in range(2):
        tried.ask("/responses", previous_response_id="resp_1")
    assert (tried.looked_up, [pool for pool, _ in tried.sent]) == ([("resp_1",)], [A, B, B])


def test_other_processes_are_told_what_is_news() -> None:
    """Each id when it is learned first, or from another pool."""
    time, told = Time(), Told()
    tried = Bench(router(part({A: 500_000, B: 500_000}), time), time, a=answers(), b=answers())
    tried.tools.shared = told
    tried.holders.learn(["resp_1"], A)
    for _ in range(2):
        tried.ask("/responses", previous_response_id="resp_1")
    assert told.rows == [(("chatcmpl-1",), A)]
