"""Each invariant breaks where the design is broken, and holds where it is not."""

from itertools import pairwise
from typing import Any

import pytest

from lab.sim.contracts import RouteContract
from lab.sim.facts import TickFacts
from lab.sim.invariants import Watch
from tests.unit.lab.sim.facts import A, B, contracts, pool, second, table
from tieline.table import MILLION

GOOD = table({A: MILLION}, {B: MILLION})


def breaches(*seconds: TickFacts, watch: Watch | None = None) -> list[str]:
    """The names of the invariants that break in these seconds."""
    watch = watch or Watch(contracts())
    for facts in seconds:
        watch.look(facts)
    return [breach.invariant for breach in watch.breaches]


def lasting(facts: TickFacts, seconds: int) -> list[TickFacts]:
    """The same second again and again."""
    return [facts._replace(second=facts.second + number, before=None) for number in range(seconds)]


def test_a_good_table_breaks_nothing() -> None:
    """Healthy pools within their limits, all load served: nothing to say."""
    assert breaches(*lasting(second(GOOD), 100)) == []


def test_an_unlawful_pool_is_seen_in_weights_and_in_on_loss() -> None:
    """A pool that the contracts forbid must stand nowhere."""
    watch = Watch(contracts(routes={"chat/eu": RouteContract(0, frozenset({A}), {}),
                                    "batch/eu": RouteContract(3, frozenset({A, B}), {})}))  # fmt: skip
    only_on_loss = table({A: MILLION}, {A: MILLION}, {"azure": {B: MILLION}})
    assert "only lawful pools" in breaches(second(only_on_loss, before=GOOD), watch=watch)


def test_a_provider_share_beyond_the_contract_is_seen() -> None:
    """Half is allowed and everything is there."""
    half = RouteContract(0, frozenset({A, B}), {"azure": 0.5})
    watch = Watch(contracts(routes={**contracts().routes, "chat/eu": half}))
    assert "only lawful pools" in breaches(second(GOOD, before=GOOD), watch=watch)


def test_a_withdrawn_pool_may_be_named_for_one_tick_only() -> None:
    """A drained pool leaves the weights at the next table."""
    for after_s, names in ((0, []), (3, ["nothing names a withdrawn pool"])):
        pools = {A: pool(60, withdrawn_s=after_s, clean=False), B: pool(60)}
        assert breaches(*lasting(second(GOOD, pools=pools), 2)) == names


def test_on_loss_names_no_pool_that_is_down() -> None:
    """Unless the route itself goes on using that pool."""
    down = {A: pool(60), B: pool(60, state="down", state_s=9, clean=False)}
    named = table({A: MILLION}, {A: MILLION}, {"azure": {B: MILLION}})
    used = table({B: MILLION}, {A: MILLION}, {"azure": {B: MILLION}})
    assert "on_loss names no pool that is down" in breaches(*lasting(second(named, pools=down), 2))
    assert breaches(*lasting(second(used, pools=down), 2)) == []
    left_alone = {name: facts._replace(acted_on=False) for name, facts in down.items()}
    assert breaches(*lasting(second(named, pools=left_alone), 2)) == []


def test_overload_is_a_breach_only_beside_room() -> None:
    """110 units on a pool that may carry 100 must move if the other pool has room for them."""
    demand = {"chat/eu": 110.0, "batch/eu": 0.0}
    with_room = {A: pool(110), B: pool(0)}
    without = {A: pool(110), B: pool(0, usable=0)}
    assert breaches(*lasting(second(GOOD, demand=demand, pools=with_room), 9)) == ["no overload beside room"]
    assert breaches(*lasting(second(GOOD, demand=demand, pools=without), 9)) == []


def test_load_that_nobody_must_believe_is_no_overload() -> None:
    """Clients that are served less than a quarter ask for more than the planner may take them for."""
    demand = {"chat/eu": 110.0, "batch/eu": 0.0}
    facts = second(GOOD, demand=demand, pools={A: pool(110), B: pool(0)})
    doubts = facts._replace(doubted=frozenset({"chat/eu"}))
    assert breaches(*lasting(doubts, 9)) == []
    elsewhere = facts._replace(doubted=frozenset({"batch/eu"}))
    assert breaches(*lasting(elsewhere, 9)) == ["no overload beside room"]


def test_shedding_beside_room_is_a_breach() -> None:
    """Half of batch is shed although the pools could carry it."""
    shedding = table({A: MILLION}, {B: MILLION // 2})
    shed = "nothing shed beside room, least critical first"
    assert breaches(*lasting(second(shedding), 40)) == [shed]
    full = {A: pool(60, usable=60), B: pool(30, usable=30)}
    assert breaches(*lasting(second(shedding, pools=full), 40)) == []


def test_the_more_critical_load_is_shed_last() -> None:
    """All of batch is served and chat is not, although batch could make way."""
    wrong = table({A: MILLION // 2}, {A: MILLION // 2, B: MILLION // 2})
    pools = {A: pool(60, usable=60), B: pool(30, usable=30)}
    assert "nothing shed beside room, least critical first" in breaches(
        *lasting(second(wrong, pools=pools), 40)
    )


def test_a_pool_that_nobody_tries_beside_shed_load_is_a_breach() -> None:
    """A whole minute of shedding without a canary."""
    shedding = table({A: MILLION}, {A: MILLION // 2})
    pools = {A: pool(90, usable=90), B: pool(0, clean=False, untried=True)}
    assert breaches(*lasting(second(shedding, pools=pools), 90)) == ["what is shed tries an untried pool"]


def test_a_step_by_choice_is_small_rare_and_off_frozen_pools() -> None:
    """At most a tenth of a route, at most once in ten seconds, and nothing of a frozen pool."""
    tenth = table({A: 900_000, B: 100_000}, {B: MILLION})
    fifth = table({A: 800_000, B: 200_000}, {B: MILLION})
    bounded = "moves by choice are bounded"
    assert breaches(second(tenth, before=GOOD)) == []
    assert breaches(second(fifth, before=GOOD)) == [bounded]
    assert bounded in breaches(second(tenth, before=GOOD), second(GOOD, 205, before=tenth))
    assert breaches(second(tenth, before=GOOD, frozen=frozenset({B}))) == [bounded]


@pytest.mark.parametrize(
    ("cause", "invariant"),
    [("silent_s", "silence moves nothing"), ("took_office_s", "a take-over moves nothing")],
)
def test_neither_silence_nor_a_take_over_moves_load(cause: str, invariant: str) -> None:
    """An urgent move in a world where nothing else happened."""
    moved = table({A: 500_000, B: 500_000}, {B: MILLION})
    begin = second(GOOD, 200)._replace(**{cause: 0})  # type: ignore[arg-type]
    later = second(moved, 210, before=GOOD, urgent=True)._replace(**{cause: 10})  # type: ignore[arg-type]
    assert invariant in breaches(begin, later)
    assert invariant not in breaches(begin, later._replace(calm_s=5))


def test_urgent_tables_without_end_are_a_breach() -> None:
    """Three forced moves within a minute, two minutes after the last event."""
    other = table({A: 950_000, B: 50_000}, {B: MILLION})
    tables = [GOOD, other, GOOD, other]
    moves = [
        second(now, 200 + number, before=was, urgent=True)
        for number, (was, now) in enumerate(pairwise(tables))
    ]
    assert "the table comes to rest" in breaches(*moves)


def test_the_table_rests_only_once_demand_and_pools_do() -> None:
    """Where demand varies from second to second one urgent table in a shift period is no restlessness, and
    nothing is while a pool has climbed within the last minute."""
    other = table({A: 950_000, B: 50_000}, {B: MILLION})
    changes = list(pairwise([GOOD, other] * 4))

    def told(count: int, **facts: Any) -> list[str]:
        return breaches(
            *(
                second(now, 200 + number, before=was, urgent=True, **facts)
                for number, (was, now) in enumerate(changes[:count])
            )
        )

    assert told(6, noisy=True) == []
    assert told(7, noisy=True) == ["the table comes to rest"]
    climbing = second(GOOD, 199, steady=False)
    later = [second(now, 200 + n, before=was, urgent=True) for n, (was, now) in enumerate(changes)]
    assert breaches(climbing, *later) == []


def test_a_share_that_goes_back_and_forth_by_choice_is_a_breach() -> None:
    """A minute later the same load returns, and nothing has happened meanwhile."""
    other = table({A: 950_000, B: 50_000}, {B: MILLION})
    moves = (second(other, 200, before=GOOD), second(GOOD, 260, before=other))
    assert breaches(*moves) == ["the table comes to rest"]


def test_load_does_not_move_back_by_choice_soon_after_it_moved() -> None:
    """Whatever demand did meanwhile. It may move back by force."""
    other = table({A: 950_000, B: 50_000}, {B: MILLION})
    there, back = second(other, 200, before=GOOD, calm_s=3), second(GOOD, 230, before=other, calm_s=3)
    assert breaches(there, back) == ["moves by choice are bounded"]
    assert breaches(there, back._replace(urgent=True)) == []


def test_a_table_with_a_route_missing_or_shedding_without_a_reason_is_a_breach() -> None:
    """Every route of the policy is there, and what is shed says why."""
    lonely = table({A: MILLION}, {B: MILLION})
    routes = contracts(routes={**contracts().routes, "more/eu": RouteContract(0, frozenset({A}), {})})
    assert "a whole table" in breaches(second(lonely), watch=Watch(routes))
