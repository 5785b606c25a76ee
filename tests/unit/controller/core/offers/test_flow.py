"""From a shortage to capacity: whom a request goes to, when, what ends it, and that nothing flaps."""

import pytest
from msgspec.structs import replace

from controller.core.model.dispatch_plan import Shortfall
from controller.core.policy.offer_rules import OfferRules
from tests.unit.controller.core.made import NOW_MS
from tests.unit.controller.core.offers.asking import (
    ENOUGH,
    MINUTE_MS,
    RULES,
    SHORT,
    Flowing,
    answer,
    asking_policy,
    given,
    order,
    plan,
    short_by,
)


def asked(flowing: Flowing) -> dict[str, str]:
    """Provider -> what it answered, of the only request."""
    return {item.provider: item.answer for item in flowing.only.providers}


def opened() -> Flowing:
    """With the holder asked since minute 2."""
    flowing = Flowing()
    flowing.at(0)
    flowing.at(2)
    return flowing


def test_a_shortage_that_lasts_becomes_one_request_to_the_holder() -> None:
    """Not before it has lasted, and for more than is short, as a pool is used up to its headroom only."""
    flowing = Flowing()
    assert flowing.at(0) == flowing.at(1.9) == ()
    assert flowing.offers.due_ms == NOW_MS + 2 * MINUTE_MS
    (request,) = flowing.at(2)
    assert (request.state, request.geographies, request.workloads) == ("holder", ("eu",), ("chat",))
    assert (request.cause, request.units_per_s) == ("n_minus_1", 100)
    assert asked(flowing) == {"azure": ""}
    assert request.providers[0].deadline_ms == flowing.offers.due_ms == NOW_MS + 12 * MINUTE_MS
    assert (request.from_ms, request.until_ms) == (NOW_MS + 2 * MINUTE_MS, NOW_MS + 602 * MINUTE_MS)


def test_a_shortage_that_comes_and_goes_is_never_asked_for() -> None:
    """Each good plan lets the time begin anew, and while there is no plan nothing is known."""
    flowing = Flowing()
    for minute in range(10):
        assert flowing.at(minute, SHORT if minute % 2 else ENOUGH) == ()
    flowing.at(10)
    assert flowing.at(11, None) == ()
    assert len(flowing.at(12)) == 1


def test_a_decision_without_news_keeps_the_very_tuples() -> None:
    """So nothing is published for it."""
    flowing = opened()
    before = flowing.memory
    assert flowing.at(3) is before.offers
    assert flowing.offers.short is before.short


@pytest.mark.parametrize("way", ["answer", "order", "statement", "silence"])
def test_the_others_are_asked_once_the_holder_has_refused_or_is_silent(way: str) -> None:
    """All at once, with a deadline of their own, but none that is only observed."""
    flowing = opened()
    minutes = 12 if way == "silence" else 3
    flowing.at(
        minutes,
        answers=[answer(flowing.only, "azure")] if way == "answer" else (),
        commands=(order(flowing.only, "azure"),) if way == "order" else (),
        declined=frozenset({0}) if way == "statement" else frozenset(),
    )
    assert flowing.only.state == "others"
    assert asked(flowing) == {"azure": "silent" if way == "silence" else "declined", "gcp": ""}
    assert flowing.only.providers[1].deadline_ms == NOW_MS + (minutes + 20) * MINUTE_MS
    by = {"answer": "liaison", "order": "kim", "statement": "statement", "silence": ""}
    assert flowing.only.providers[0].by == by[way]


def test_nobody_else_is_asked_before_the_holders_deadline() -> None:
    """Silence is no refusal until then, and an answer by somebody else does not count."""
    flowing = opened()
    flowing.at(11.9, answers=[answer(flowing.only, "gcp", given("gcp/b/d"))])
    assert asked(flowing) == {"azure": ""}
    (ignored,) = flowing.offers.ignored
    assert ignored.why == "gcp is not asked, as azure has the first refusal"
    assert flowing.only.accepted == ()


def test_an_accepted_request_ends() -> None:
    """With whoever answered, when, and from when to when what it gives counts."""
    flowing = opened()
    flowing.at(3, answers=[answer(flowing.only, "azure", given(at=30))])
    assert flowing.only.state == "accepted"
    assert flowing.only.closed_ms == NOW_MS + 3 * MINUTE_MS
    (part,) = flowing.only.accepted
    assert (part.pool, part.units_per_s, part.by) == ("azure/a/d", 100, "liaison")
    assert (part.from_ms, part.until_ms) == (NOW_MS + 30 * MINUTE_MS, flowing.only.until_ms)
    assert asked(flowing) == {"azure": "accepted"}


def test_an_operators_order_is_an_answer() -> None:
    """In the name of whoever gave it."""
    flowing = opened()
    flowing.at(3, commands=(order(flowing.only, "azure/a/d", given()),))
    assert flowing.only.state == "accepted"
    assert flowing.only.accepted[0].by == "kim"


def test_less_than_was_asked_for_lets_the_others_be_asked() -> None:
    """What the holder gives stays, and the rest is looked for elsewhere."""
    flowing = opened()
    part = answer(flowing.only, "azure", given(units=60))
    flowing.at(3, answers=[part])
    assert (flowing.only.state, asked(flowing)) == ("others", {"azure": "accepted", "gcp": ""})
    flowing.at(4, answers=[part, answer(flowing.only, "gcp", given("gcp/b/d", 40), at=4)])
    assert flowing.only.state == "accepted"
    assert [item.units_per_s for item in flowing.only.accepted] == [60, 40]


@pytest.mark.parametrize(("units", "state"), [(0, "unmet"), (60, "partly_accepted")])
def test_a_request_ends_when_everybody_has_answered(units: float, state: str) -> None:
    """Deadlines included."""
    flowing = opened()
    offered = (given(units=units),) if units else ()
    flowing.at(3, answers=[answer(flowing.only, "azure", *offered)])
    flowing.at(23)
    assert flowing.only.state == state
    assert asked(flowing)["gcp"] == "silent"


def test_the_holder_may_still_accept_after_its_deadline() -> None:
    """While the request is open: its silence lets the others be asked and bars nobody."""
    flowing = opened()
    flowing.at(12)
    flowing.at(13, answers=[answer(flowing.only, "azure", given(), at=13)])
    assert flowing.only.state == "accepted"


def test_an_answer_counts_once_and_stays() -> None:
    """It is read again in each decision, and who has accepted can't refuse any more."""
    flowing = opened()
    first = answer(flowing.only, "azure", given(units=60))
    flowing.at(3, answers=[first])
    after = flowing.at(4, answers=[first])
    assert after[0].accepted_units_per_s == 60
    flowing.at(5, answers=[first, answer(flowing.only, "azure", at=5)])
    assert asked(flowing)["azure"] == "accepted"
    assert flowing.offers.ignored[0].why == "azure has accepted already"


def test_of_two_answers_at_one_moment_the_cheaper_counts() -> None:
    """Whatever their order in the log."""
    flowing = Flowing(asking_policy(holder=None))
    flowing.at(0)
    flowing.at(2)
    assert asked(flowing) == {"azure": "", "gcp": ""}
    dear = replace(given("azure/a/d"), price_per_million_units=9.0)
    cheap = replace(given("gcp/b/d"), price_per_million_units=2.0)
    flowing.at(3, answers=[answer(flowing.only, "azure", dear), answer(flowing.only, "gcp", cheap)])
    assert [part.pool for part in flowing.only.accepted] == ["gcp/b/d"]
    assert flowing.offers.ignored[0].why.endswith("has ended: accepted")


def test_a_request_is_withdrawn_once_enough_has_been_there_for_a_while() -> None:
    """A good plan in between does not, and no plan says nothing."""
    flowing = opened()
    flowing.at(3, ENOUGH)
    flowing.at(5, None)
    assert flowing.at(5.9, ENOUGH)[0].is_open
    flowing.at(5.95, SHORT)
    flowing.at(6, ENOUGH)
    assert flowing.at(8.9, ENOUGH)[0].is_open
    assert flowing.at(9, ENOUGH)[0].state == "withdrawn"


def test_after_a_request_there_is_a_pause() -> None:
    """However short it still is."""
    flowing = opened()
    flowing.at(3, answers=[answer(flowing.only, "azure")])
    flowing.at(23)
    assert flowing.only.state == "unmet"
    assert len(flowing.at(82.9)) == 1
    requests = flowing.at(83)
    assert [request.state for request in requests] == ["unmet", "holder"]
    assert requests[0].id != requests[1].id


def test_what_is_accepted_and_not_yet_there_is_not_asked_for_again() -> None:
    """Until it has begun and climbed its ramp; what is short beyond it is."""
    flowing = opened()
    flowing.at(3, answers=[answer(flowing.only, "azure", given(at=200))])
    assert len(flowing.at(70)) == len(flowing.at(199)) == 1
    flowing.at(120, plan(short_by(160)))
    more = flowing.at(123, plan(short_by(160)))
    assert [request.units_per_s for request in more] == [100, 100]


def test_one_request_at_a_time_for_a_geography() -> None:
    """A shortage in eu or us waits for the request in eu; one in us alone does not."""
    both = plan(short_by(80), short_by(40, geographies=("eu", "us")))
    flowing = Flowing()
    flowing.at(0, both)
    assert [request.geographies for request in flowing.at(2, both)] == [("eu",)]
    apart = plan(short_by(80), short_by(40, geographies=("us",)))
    flowing = Flowing()
    flowing.at(0, apart)
    assert [request.geographies for request in flowing.at(2, apart)] == [("eu",), ("us",)]


@pytest.mark.parametrize(
    "short",
    [short_by(80, geographies=("uk",)), replace(short_by(80, lost="azure"), routes=("api/eu",))],
    ids=["no lawful pool", "all of them lost with it"],
)
def test_where_nobody_can_give_capacity_nobody_is_asked(short: Shortfall) -> None:
    """A request that can't be met would only be noise."""
    flowing = Flowing()
    flowing.at(0, plan(short))
    assert flowing.at(2, plan(short)) == ()


def test_who_would_be_lost_itself_is_not_asked_for_what_is_short_without_it() -> None:
    """Not even the holder of the first refusal, as nothing that it has would help."""
    without_azure = plan(short_by(80, lost="azure"))
    flowing = Flowing()
    flowing.at(0, without_azure)
    flowing.at(2, without_azure)
    assert (flowing.only.state, asked(flowing)) == ("others", {"gcp": ""})


def test_without_rules_open_requests_are_withdrawn_and_what_is_accepted_stays() -> None:
    """A change of the policy takes no capacity away that was bought."""
    flowing = opened()
    part = answer(flowing.only, "azure", given(units=60))
    flowing.at(3, answers=[part])
    flowing.compiled = Flowing(asking_policy(None)).compiled
    flowing.at(4)
    assert flowing.only.state == "withdrawn"
    assert flowing.only.accepted_units_per_s == 60
    assert Flowing(asking_policy(None)).at(5) == ()


def test_little_is_not_asked_for() -> None:
    """Not below ``units_min``."""
    flowing = Flowing(asking_policy(replace(RULES, units_min=101.0)))
    flowing.at(0)
    assert flowing.at(2) == ()
    flowing = Flowing(asking_policy(replace(RULES, units_min=100.0)))
    flowing.at(0)
    assert len(flowing.at(2)) == 1


@pytest.mark.parametrize(
    ("units", "wanted"), [(80, 100), (80.1, 101), (12_345.6, 15_500), (0.8, 1.0), (987.6, 1_240)]
)
def test_amounts_are_rounded_up_to_three_digits(units: float, wanted: float) -> None:
    """What is asked for reads as a person would write it."""
    flowing = Flowing(asking_policy(OfferRules(short_for_ms=0)))
    flowing.at(0, plan(short_by(units)))
    assert flowing.only.units_per_s == wanted


def test_requests_are_forgotten_when_nothing_of_them_counts_any_more() -> None:
    """Seven days after the end, and not while accepted capacity lasts."""
    flowing = opened()
    flowing.at(3, answers=[answer(flowing.only, "azure", given(until=20 * 24 * 60))])
    days = 24 * 60
    assert len(flowing.at(8 * days, ENOUGH)) == 1
    assert len(flowing.at(20 * days - 1, ENOUGH)) == 1
    assert flowing.at(20 * days, ENOUGH) == ()


def test_what_was_said_before_being_asked_counts_once_asked() -> None:
    """In the very decision that asks, so that deciding again changes nothing."""
    flowing = opened()
    early = answer(flowing.only, "gcp", given("gcp/b/d"), at=2.5)
    flowing.at(3, answers=[early])
    assert flowing.only.accepted_units_per_s == 0
    replies = [early, answer(flowing.only, "azure", at=4)]
    flowing.at(4, answers=replies)
    assert flowing.only.state == "accepted"
    assert [part.pool for part in flowing.only.accepted] == ["gcp/b/d"]
    before = flowing.memory
    assert flowing.at(4, answers=replies) is before.offers
