"""One pool's probes: what they cost by the tokens that answers name, and what is news."""

import pytest

from controller.probe.pool_probes import PoolProbes, SentProbe
from controller.probe.request import REASONING_TOKENS, ProbeEnd, ProbeKind, ProbeTarget
from controller.probe.turns import REPEAT_MS, Ask
from tieline.events import ResultClass

STREAM = Ask("m", ProbeKind.TINY_STREAM)
LONG = Ask("m", ProbeKind.LONG_STREAM)
SERVED = ProbeEnd(ResultClass.OK, 20.0, usage=(7, 1))


def pool(*, counts_tokens: bool = True) -> PoolProbes:
    target = ProbeTarget("a/b/c", "https://a.example/v1", "openai", model="m", price_per_million_units=5.0)
    return PoolProbes([target], long_every_ms=60_000, counts_tokens=counts_tokens)


def end(probes: PoolProbes, ask: Ask, how: ProbeEnd, now_ms: int = 0) -> tuple[float, bool]:
    """(cost, whether it is news) of a probe that ended so."""
    number = probes.watch.begin(now_ms)
    ended = probes.end(SentProbe(ask, number, how, asked_ms=now_ms, ended_ms=now_ms))
    return ended.cost, ended.is_news


def test_a_probe_costs_the_tokens_that_its_answer_names() -> None:
    """Until then the most that it may have; from then on the next one is expected to cost the same."""
    probes = pool()
    assert probes.cost(STREAM) == pytest.approx(STREAM.kind.tokens_expected * 5e-6)
    assert end(probes, STREAM, SERVED)[0] == pytest.approx(8 * 5e-6)
    assert probes.cost(STREAM) == pytest.approx(8 * 5e-6)
    assert probes.watch.observation(1).units == 8.0


@pytest.mark.parametrize(
    ("result", "is_billed"),
    [(ResultClass.SERVER_ERROR, False), (ResultClass.CONNECT, False), (ResultClass.TIMEOUT, True)],
)
def test_a_probe_that_is_refused_costs_nothing(result: ResultClass, is_billed: bool) -> None:
    """Else an outage would use up the budget; one that timed out may have been generated."""
    assert bool(end(pool(), STREAM, ProbeEnd(result))[0]) == is_billed


def test_where_load_is_not_counted_in_tokens_a_probe_is_one_unit() -> None:
    """The price of a million units is then not that of tokens."""
    probes = pool(counts_tokens=False)
    assert end(probes, STREAM, SERVED)[0] == pytest.approx(5e-6)


def test_a_result_is_news_when_it_differs_from_the_last_of_its_kind() -> None:
    """The first success is none."""
    probes = pool()
    news = [
        end(probes, ask, ProbeEnd(result))[1]
        for ask, result in (
            (STREAM, ResultClass.OK),
            (STREAM, ResultClass.CUT),
            (STREAM, ResultClass.CUT),
            (LONG, ResultClass.CUT),
            (STREAM, ResultClass.OK),
        )
    ]
    assert news == [False, True, False, True, True]


def test_a_round_costs_more_while_something_is_asked_again() -> None:
    """The interval must grow before the budget is spent."""
    probes = pool()
    alone = probes.round_cost(2_000)
    end(probes, LONG, ProbeEnd(ResultClass.CUT))
    share = 2_000 / REPEAT_MS
    assert probes.round_cost(2_000) == pytest.approx(alone + share * (alone + probes.cost(LONG)))


def test_a_model_that_takes_no_max_tokens_is_asked_by_the_other_name() -> None:
    """With room for an answer of a reasoning model."""
    probes = pool()
    before = probes.units(STREAM)
    probes.limit_otherwise(STREAM)
    body = probes.target(STREAM).request("probe-1", None)[2]
    assert b'"max_completion_tokens":16' in body
    assert b'"max_tokens"' not in body
    assert probes.units(STREAM) == before + REASONING_TOKENS - 1


def test_two_probes_at_a_time_are_enough() -> None:
    """And none while a secret is fetched."""
    probes = pool()
    probes.watch.begin(0)
    assert probes.room == 1
    probes.is_awaiting_secret = True
    assert probes.room == 0
