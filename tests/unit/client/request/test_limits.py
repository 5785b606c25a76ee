"""How long one attempt may take: what the table, what is usual, and what the caller declared make of it."""

import pytest

from tests.unit.client.exchanging import (
    DONE,
    ROLE,
    WORD,
    Answer,
    Bench,
    Does,
    answers,
    fails,
    header,
    streams,
)
from tests.unit.client.made_tables import MODEL, Time, info, part, router
from tieline._health.usual import SAMPLES_MIN, Usual
from tieline._http.messages import WireError
from tieline._request.attempt import Open
from tieline._request.limits import (
    Waiting,
    declared_s,
    idle_ms,
    waiting_for_stream,
    waiting_for_trial,
    waiting_for_whole,
)
from tieline.events import ResultClass
from tieline.table import ClientSettings, ModelOffer

A, B = "a/r/x", "b/r/x"
BOTH = {A: 700_000, B: 300_000}
SETTINGS = ClientSettings()
SLOW = ModelOffer(
    MODEL, "big", first_token_timeout_ms=120_000, whole_answer_timeout_ms=300_000, idle_timeout_ms=60_000
)
GOOD_STREAM = streams(ROLE, WORD, DONE)


def bench(weights: dict[str, int] | None = None, **pools: Does) -> Bench:
    """Pools ``a`` and ``b``; the first request goes to ``a``."""
    time = Time()
    return Bench(router(part(weights or BOTH), time), time, **pools)


def whole(offer: ModelOffer | None, usual_ms: float, *, tokens: int | None, part_ms: int | None) -> Waiting:
    """For a whole answer with 60 s left."""
    return waiting_for_whole(
        SETTINGS, offer, usual_ms, output_tokens_max=tokens, left_ms=60_000, part_ms=part_ms
    )


def test_the_table_says_how_long_and_an_offer_says_it_better() -> None:
    """Without a word of the caller: 10 s for a first token, 50 ms for each token of a whole answer, and for a
    model with limits of its own those."""
    assert waiting_for_stream(SETTINGS, None, 0, left_ms=600_000, part_ms=None).silence_ms == 10_000
    assert waiting_for_stream(SETTINGS, SLOW, 0, left_ms=600_000, part_ms=None).silence_ms == 120_000
    assert whole(None, 0, tokens=100, part_ms=None).whole_ms == 15_000
    assert whole(SLOW, 0, tokens=100, part_ms=None).own_ms == 300_000
    assert idle_ms(SETTINGS, None, None) == 10_000
    assert idle_ms(SETTINGS, SLOW, None) == 60_000
    assert idle_ms(SETTINGS, SLOW, 4.0) == 4_000


def test_three_times_what_is_usual_is_no_hang() -> None:
    """A model whose answers take two minutes gets six, whatever the table says; a quick one keeps the
    table's limit."""
    assert waiting_for_stream(SETTINGS, None, 120_000, left_ms=600_000, part_ms=None).silence_ms == 360_000
    assert waiting_for_stream(SETTINGS, None, 500, left_ms=600_000, part_ms=None).silence_ms == 10_000
    assert whole(None, 120_000, tokens=100, part_ms=None).own_ms == 360_000


def test_a_declared_time_out_shortens_and_lengthens() -> None:
    """A short part cuts a stream's first wait. The last attempt of a stream, and a whole answer too long to
    be sent again, have all that is left."""
    assert waiting_for_stream(SETTINGS, None, 0, left_ms=4_000, part_ms=2_000) == Waiting(
        2_000, 2_000, 10_000
    )
    assert waiting_for_stream(SETTINGS, None, 0, left_ms=60_000, part_ms=60_000).silence_ms == 60_000
    assert waiting_for_stream(SETTINGS, None, 0, left_ms=60_000, part_ms=30_000).silence_ms == 10_000
    assert whole(None, 0, tokens=100, part_ms=5_000).whole_ms == 5_000
    assert whole(None, 0, tokens=100, part_ms=30_000).whole_ms == 60_000


@pytest.mark.parametrize(
    ("read_s", "connect_s", "declared"),
    [(600.0, 5.0, None), (600.0, 600.0, 600.0), (5.0, 5.0, 5.0), (None, None, None)],
)
def test_what_the_sdk_sends_by_itself_is_not_declared(
    read_s: float | None, connect_s: float | None, declared: float | None
) -> None:
    """The openai SDK sends 600 s with 5 s to connect where nobody has set a time-out."""
    assert declared_s(read_s, connect_s) == declared


def test_what_is_usual_shows_after_some_answers() -> None:
    """It follows slow answers fast and forgets them slowly; nothing is usual before twenty."""
    usual = Usual()
    for _ in range(SAMPLES_MIN - 1):
        usual.learn(A, MODEL, first_token_ms=None, whole_ms=1_000)
    assert usual.whole_ms(A, MODEL) == 0
    usual.learn(A, MODEL, first_token_ms=None, whole_ms=1_000)
    assert usual.whole_ms(A, MODEL) == 1_000
    usual.learn(A, MODEL, first_token_ms=None, whole_ms=9_000)
    assert usual.whole_ms(A, MODEL) == 5_000
    usual.learn(A, MODEL, first_token_ms=None, whole_ms=1_000)
    assert 4_900 < usual.whole_ms(A, MODEL) < 5_000
    assert usual.first_token_ms(A, MODEL) == usual.whole_ms(B, MODEL) == 0


def test_half_of_a_declared_time_out_goes_to_a_silent_pool() -> None:
    """The other serves in the rest. With no other pool the only one gets it all, and the caller's library
    raises its own time-out at the end."""
    tried = bench(a=fails(ResultClass.TIMEOUT), b=answers())
    began_ms = tried.time()
    reply = tried.ask(timeout_s=4.0)
    assert (reply.status, header(reply, "x-tieline-pool")) == (200, B)
    assert [do.flight.due_ms - began_ms for _, do in tried.sent] == [2_000, 4_000]
    alone = bench({A: 1_000_000}, a=fails(ResultClass.TIMEOUT))
    began_ms = alone.time()
    reply = alone.ask(timeout_s=4.0)
    assert alone.sent[0][1].flight.due_ms - began_ms >= 2_000
    assert alone.time() - began_ms <= 4_000
    assert "a/r/x" in reply.timed_out


def test_without_a_declared_time_out_a_silent_pool_is_a_504() -> None:
    """Nobody's HTTP library was to raise anything."""
    reply = bench({A: 1_000_000}, a=fails(ResultClass.TIMEOUT)).ask(stream=True)
    assert (reply.status, reply.timed_out) == (504, "")


def test_bytes_without_output_restart_the_wait() -> None:
    """Comments and announcements show that a stream lives: one that sends some each second may take longer
    than its first limit, up to the attempt's whole time."""

    class Slow(Answer):
        """Takes nine seconds for each piece."""

        def __init__(self, time: Time, flights: list[int], do: Open) -> None:
            super().__init__(200, [(b"content-type", b"text/event-stream")], ROLE, b": x\n\n", WORD, DONE)
            self._time, self._dues, self._do = time, flights, do

        def read(self) -> bytes:
            self._dues.append(self._do.flight.due_ms - self._time())
            self._time.pass_ms(9_000)
            return super().read()

    tried = bench(b=GOOD_STREAM)
    dues: list[int] = []
    tried.pools[A] = lambda do: Slow(tried.time, dues, do)
    reply = tried.ask(stream=True)
    assert (reply.status, header(reply, "x-tieline-pool")) == (200, A)
    assert dues == [10_000, 10_000, 10_000]


@pytest.mark.parametrize("path", ["/images/generations", "/audio/speech", "/videos"])
def test_what_is_costly_is_sent_again_once_and_only_after_a_death(path: str) -> None:
    """An error or a broken connection shows that nothing is under way any more; our own time-out does
    not."""
    failing = answers(500, b"{}")
    tried = bench({A: 400_000, B: 300_000, "c/r/x": 300_000}, a=failing, b=failing, c=failing)
    reply = tried.ask(path)
    assert (reply.status, len(tried.sent)) == (500, 2)
    assert header(reply, "x-tieline-gave-up") == "may_be_billed"
    tried = bench(a=fails(ResultClass.TIMEOUT), b=answers())
    reply = tried.ask(path)
    assert (reply.status, len(tried.sent)) == (504, 1)


@pytest.mark.parametrize("stream", [False, True])
def test_a_costly_request_has_the_whole_time_of_its_caller(stream: bool) -> None:
    """A silent pool is not left halfway: the pictures may be under way there, and are not ordered twice."""
    tried = bench(a=fails(ResultClass.TIMEOUT), b=answers())
    began_ms = tried.time()
    reply = tried.ask("/images/generations", stream=stream, headers={"x-tieline-deadline": "15"})
    assert [do.flight.due_ms - began_ms for _, do in tried.sent] == [15_000]
    assert (reply.status, header(reply, "x-tieline-gave-up")) == (504, "may_be_billed")
    assert reply.timed_out.startswith(f"{A}: ")


def test_a_costly_request_heeds_its_models_own_limit() -> None:
    """What the offer states counts where the caller declares nothing; one without a word waits as long as it
    may."""
    time = Time()
    infos = {A: info(A, models=(SLOW,))}
    tried = Bench(router(part({A: 1_000_000}, infos=infos), time), time, a=fails(ResultClass.TIMEOUT))
    began_ms = time()
    tried.ask("/images/generations")
    assert tried.sent[0][1].flight.due_ms - began_ms == 300_000
    tried = bench(a=fails(ResultClass.TIMEOUT))
    began_ms = tried.time()
    tried.ask("/images/generations")
    assert tried.sent[0][1].flight.due_ms - began_ms == 600_000


def test_a_whole_answer_that_was_waited_for_for_long_is_not_sent_again_blindly() -> None:
    """After 10 s it may be under way, and billed; after less it fails over."""
    tried = bench(a=fails(ResultClass.TIMEOUT), b=answers())
    reply = tried.ask(max_tokens=100)
    assert (reply.status, len(tried.sent)) == (504, 1)
    tried.settings = ClientSettings(first_token_timeout_ms=1_000)
    tried.pools[A] = lambda _open: WireError(ResultClass.TIMEOUT, "silence")
    assert {tried.ask(max_tokens=100).status for _ in range(3)} == {200}


def test_an_offers_own_limits_reach_the_attempt() -> None:
    """The flight's due time is what the offer says."""
    time = Time()
    infos = {A: info(A, models=(SLOW,))}
    tried = Bench(router(part({A: 1_000_000}, infos=infos), time), time, a=GOOD_STREAM)
    began_ms = time()
    tried.ask(stream=True)
    assert tried.sent[0][1].flight.due_ms - began_ms == 120_000


def test_a_trial_waits_three_times_the_usual() -> None:
    """Where nothing is known of a pool it waits as any request; never less than the table's limit for a first
    token."""
    settings, waiting = ClientSettings(first_token_timeout_ms=1_500), Waiting(60_000, 60_000, 61_500)
    assert waiting_for_trial(waiting, settings, 0.0) == waiting
    assert waiting_for_trial(waiting, settings, 100.0) == Waiting(1_500, 1_500, 61_500)
    assert waiting_for_trial(waiting, settings, 2_000.0) == Waiting(6_000, 6_000, 61_500)
