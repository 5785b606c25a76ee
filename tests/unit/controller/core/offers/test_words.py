"""Requests for capacity as people read them."""

from msgspec.structs import replace

from controller.core.offers.words import accepted_words, asked_words, is_of_interest, request_words
from tests.unit.controller.core.made import NOW_MS
from tests.unit.controller.core.offers.asking import MINUTE_MS, Flowing, answer, given
from tieline.offers import AcceptedCapacity, AskedProvider

ASKED = AskedProvider("azure", NOW_MS, NOW_MS + 15 * MINUTE_MS)
PART = AcceptedCapacity(
    "azure/a/d",
    20_000.0,
    NOW_MS + 10 * MINUTE_MS,
    NOW_MS + 30 * 1_440 * MINUTE_MS,
    by="kim",
    accepted_ms=NOW_MS,
    price_per_million_units=2.5,
)


def test_a_request_says_how_much_where_and_for_what() -> None:
    """With its id, by which it can be answered."""
    flowing = Flowing()
    flowing.at(0)
    flowing.at(2)
    assert request_words(flowing.only, "tokens") == f"100 tokens/s in eu for chat ({flowing.only.id})"
    assert is_of_interest(flowing.only, NOW_MS)
    flowing.at(3, answers=[answer(flowing.only, "azure", given(until=60))])
    assert is_of_interest(flowing.only, NOW_MS + 59 * MINUTE_MS)
    assert not is_of_interest(flowing.only, NOW_MS + 60 * MINUTE_MS)


def test_who_was_asked_and_what_was_answered() -> None:
    """By whom, or how long there is to answer."""
    assert asked_words(ASKED, NOW_MS) == "azure has 15 min to answer"
    assert asked_words(replace(ASKED, answer="accepted", by="kim"), NOW_MS) == "azure accepted, by kim"
    assert asked_words(replace(ASKED, answer="declined", by="bot"), NOW_MS) == "azure declined, by bot"
    assert asked_words(replace(ASKED, answer="silent"), NOW_MS) == "azure let its deadline pass"


def test_what_was_accepted_from_when_and_for_how_long() -> None:
    """Before its start, while it counts, and after its end."""
    start = "20,000 tokens/s more on azure/a/d"
    assert accepted_words(PART, NOW_MS, "tokens") == f"{start}, in 10 min, for 29 d, at 2.5, by kim"
    assert accepted_words(PART, PART.from_ms, "tokens") == f"{start}, counting, for 29 d, at 2.5, by kim"
    assert accepted_words(PART, PART.until_ms, "tokens") == f"{start}, over"
