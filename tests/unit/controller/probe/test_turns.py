"""Whose turn it is: every model, mostly streams, long ones now and then, and what failed last."""

from collections import Counter

from controller.probe.request import ProbeKind
from controller.probe.turns import REPEAT_MS, WHOLE_EVERY, Ask, Turns
from tieline.events import ResultClass

STREAM, WHOLE = ProbeKind.TINY_STREAM, ProbeKind.TINY_WHOLE
OK, CUT, THROTTLED = ResultClass.OK, ResultClass.CUT, ResultClass.THROTTLED


def rounds(turns: Turns, count: int) -> Counter[Ask]:
    """The regular probes of so many rounds, all of which succeed."""
    asks = [turns.regular() for _ in range(count)]
    for ask in asks:
        turns.note(ask, OK, 0)
    return Counter(asks)


def test_each_model_is_asked_in_both_ways() -> None:
    """Most of the tiny probes are streams, as those show the first token."""
    asks = rounds(Turns(["a", "b"], long_every_ms=0), 2 * WHOLE_EVERY)
    assert asks == {
        Ask("a", STREAM): WHOLE_EVERY - 1,
        Ask("b", STREAM): WHOLE_EVERY - 1,
        Ask("a", WHOLE): 1,
        Ask("b", WHOLE): 1,
    }


def test_long_probes_come_at_their_interval_in_both_ways() -> None:
    """One at once, then one in each interval; none if none are asked for."""
    turns = Turns(["a", "b"], long_every_ms=60_000)
    asks = [turns.extra(now_ms) for now_ms in (0, 59_999, 60_000, 120_000, 180_000)]
    assert asks == [
        Ask("a", ProbeKind.LONG_STREAM),
        None,
        Ask("b", ProbeKind.LONG_STREAM),
        Ask("a", ProbeKind.LONG_WHOLE),
        Ask("b", ProbeKind.LONG_WHOLE),
    ]
    assert Turns(["a"], long_every_ms=0).extra(10**9) is None


def test_what_failed_alone_is_asked_again_beside_what_succeeds() -> None:
    """The regular probes leave it out, and an extra one asks it every few seconds until it succeeds."""
    turns = Turns(["a", "b"], long_every_ms=0)
    rounds(turns, 2)
    turns.note(Ask("b", STREAM), CUT, 1_000)
    assert Ask("b", STREAM) not in rounds(turns, 20)
    assert turns.extra(1_000 + REPEAT_MS - 1) is None
    assert turns.extra(1_000 + REPEAT_MS) == Ask("b", STREAM)
    turns.note(Ask("b", STREAM), OK, 1_000 + REPEAT_MS)
    assert turns.extra(10**6) is None
    assert Ask("b", STREAM) in rounds(turns, 20)


def test_what_failed_longest_ago_is_asked_first() -> None:
    """So that none of several waits for ever."""
    turns = Turns(["a", "b", "c"], long_every_ms=0)
    rounds(turns, 3)
    turns.note(Ask("c", STREAM), CUT, 1_000)
    turns.note(Ask("b", STREAM), CUT, 2_000)
    assert turns.extra(50_000) == Ask("c", STREAM)


def test_a_pool_of_which_nothing_succeeds_is_asked_as_ever() -> None:
    """Then no part fails alone: every regular probe fails, and nothing is asked twice."""
    turns = Turns(["a"], long_every_ms=0)
    for ask in (Ask("a", STREAM), Ask("a", WHOLE)):
        turns.note(ask, CUT, 0)
    assert {turns.regular() for _ in range(WHOLE_EVERY)} == {Ask("a", STREAM), Ask("a", WHOLE)}
    assert turns.extra(10**6) is None


def test_second_opinions_are_the_other_way_another_model_and_the_same_again() -> None:
    """So that each kind of a part shows at once, also one by chance; what failed last is asked last."""
    turns = Turns(["a", "b"], long_every_ms=0)
    again = Ask("b", STREAM)
    assert turns.second_opinions(again) == (Ask("b", WHOLE), Ask("a", STREAM), again)
    turns.note(Ask("b", WHOLE), CUT, 0)
    assert turns.second_opinions(again) == (Ask("a", STREAM), again, Ask("b", WHOLE))
    alone = Turns(["a"], long_every_ms=0)
    assert alone.second_opinions(Ask("a", STREAM)) == (Ask("a", WHOLE), Ask("a", STREAM))


def test_a_throttled_probe_says_nothing_of_what_it_asked() -> None:
    """429 is about the prober's own quota."""
    turns = Turns(["a"], long_every_ms=0)
    turns.note(Ask("a", STREAM), OK, 0)
    turns.note(Ask("a", STREAM), THROTTLED, 1_000)
    assert turns.failing == ()
    assert turns.second_opinions(Ask("a", WHOLE)) == (Ask("a", STREAM), Ask("a", WHOLE))
