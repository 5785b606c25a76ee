"""The flow of a request for capacity in the history: each event once; accepted capacity while it counts."""

from msgspec.structs import replace

from controller.core.model.memory import Memory
from controller.decisions.record import Step
from controller.history.conditions import Standing, changes, standing_conditions
from controller.history.offers import offer_entries
from tests.unit.controller.core.made import NOW_MS
from tests.unit.controller.core.offers.asking import MINUTE_MS, Flowing, answer, given
from tests.unit.controller.decisions.lived import lived
from tests.unit.controller.history.recorded import observation
from tieline.offers import OfferRequest


def step(before: tuple[OfferRequest, ...], after: tuple[OfferRequest, ...], at_ms: int = NOW_MS) -> Step:
    """A step that finds these requests and leaves those."""
    made = lived(1)[0]
    return replace(
        made,
        now_ms=at_ms,
        snapshot=replace(made.snapshot, memory=Memory(offers=before)),
        ready=replace(made.ready, memory=Memory(offers=after)),
    )


def told(before: tuple[OfferRequest, ...], after: tuple[OfferRequest, ...]) -> list[tuple[str, str]]:
    """What is about whom, and the beginning of what is said."""
    return [
        (item.about, item.text.partition(" tokens")[0]) for item in offer_entries(step(before, after), "c")
    ]


def test_each_event_of_the_flow_is_told_once() -> None:
    """The holder is asked, it declines, the others are asked, one accepts, and the request ends."""
    flowing = Flowing()
    flowing.at(0)
    asked = flowing.at(2)
    refusal = answer(flowing.only, "azure")
    declined = flowing.at(3, answers=[refusal])
    accepted = flowing.at(4, answers=[refusal, answer(flowing.only, "gcp", given("gcp/b/d"), at=4)])
    assert told((), asked) == [("azure", "azure is asked for 100")]
    assert told(asked, declined) == [
        ("azure", "azure declined, by liaison: 100"),
        ("gcp", "gcp is asked for 100"),
    ]
    assert told(declined, accepted) == [
        ("gcp", "gcp accepted, by liaison: 100"),
        ("eu", "the request for 100"),
    ]
    assert told(accepted, accepted) == []
    assert offer_entries(step(declined, accepted), "c")[-1].text.endswith("has ended: accepted")


def test_accepted_capacity_is_a_condition_while_it_counts() -> None:
    """From its start to its end, whatever became of the request; a take-over repeats nothing."""
    flowing = Flowing()
    flowing.at(0)
    flowing.at(2)
    requests = flowing.at(3, answers=[answer(flowing.only, "azure", given(at=30, until=90))])
    standing: Standing = {}
    found = []
    for minute in (29, 30, 60, 90):
        at_ms = NOW_MS + minute * MINUTE_MS
        seen_now = observation(at_ms=at_ms)._replace(offers=requests)
        after = standing_conditions(seen_now, standing)
        found.append([(item.about, item.phase) for item in changes(standing, after, at_ms)])
        standing = after
    assert found == [[], [("azure/a/d", "begins")], [], [("azure/a/d", "ends")]]
