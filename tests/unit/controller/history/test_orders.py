"""What became of orders: refusals, and orders that take others back."""

from msgspec.structs import replace

from controller.history.orders import REFUSALS_PER_MINUTE_MAX, RefusalPace, answered_entries
from controller.routes.record import OrderAnswer
from tests.unit.controller.history.recorded import NOW_MS, order
from tieline.events import PolicyChange

DRAIN = order("drain", "azure")
UNDRAIN = replace(order("undrain", "azure", id_="o2"), expires_ms=None)
KNOWN = {command.id: command for command in (DRAIN, UNDRAIN)}


def test_a_refusal_says_who_wanted_what_and_why_not() -> None:
    """Also when this process has not read the order itself."""
    known, unknown = answered_entries(
        [OrderAnswer("o1", NOW_MS, "it is unsigned"), OrderAnswer("o9", NOW_MS, "it had expired")], KNOWN.get
    )
    assert (known.kind, known.about, known.who) == ("refusal", "azure", "kim")
    assert known.text == "drain azure, in the name of kim, was refused: it is unsigned"
    assert known.why == ("a drill",)
    assert (unknown.text, unknown.who) == ("the order o9 was refused: it had expired", "")


def test_only_what_does_not_last_is_told_here() -> None:
    """An order that lasts is a condition; one that takes it back is told with its actor."""
    (entry,) = answered_entries([OrderAnswer("o1", NOW_MS), OrderAnswer("o2", NOW_MS)], KNOWN.get)
    assert (entry.kind, entry.text, entry.who) == ("order", "undrain azure", "kim")


def test_a_policy_is_told_with_who_put_it_in_force() -> None:
    """And which rules its operator set aside; a refused one as any refusal."""
    change = PolicyChange(
        "p1",
        "kim",
        "more room",
        issued_ms=NOW_MS,
        number=7,
        parent="0" * 32,
        version="abcd1234" * 4,
        policy=b"",
        parent_policy=b"",
        forced=("critical_shed",),
    )
    accepted, refused = answered_entries(
        [OrderAnswer("p1", NOW_MS), OrderAnswer("p1", NOW_MS, "it contradicts itself")], {"p1": change}.get
    )
    assert (accepted.kind, accepted.who, accepted.severity) == ("policy", "kim", "warning")
    assert accepted.text == "policy 7 (abcd1234) is in force, setting aside critical_shed"
    assert refused.text == "policy 7, in the name of kim, was refused: it contradicts itself"


def test_a_countersignature_is_told_with_who_agreed() -> None:
    """It does not last by itself, as what it agrees to does."""
    agreed = replace(order("countersign", "azure", id_="o3"), expires_ms=None, actor="lee")
    (entry,) = answered_entries([OrderAnswer("o3", NOW_MS)], {"o3": agreed}.get)
    assert (entry.kind, entry.text, entry.who) == ("order", "countersign azure", "lee")


def test_a_flood_of_refusals_is_counted() -> None:
    """Beyond a number in a minute, one entry tells how many there were, when the minute is over."""
    pace = RefusalPace()
    answers = [
        OrderAnswer(f"o{number}", NOW_MS + number, "it is unsigned", actor="x") for number in range(1_000)
    ]
    flood = answered_entries(answers, lambda _: None)
    assert len(pace.within(flood[:500]) + pace.within(flood[500:])) == REFUSALS_PER_MINUTE_MAX
    assert pace.summary(NOW_MS + 59_000) == []
    (more,) = pace.summary(NOW_MS + 60_000)
    assert more.text == "940 more orders were refused within a minute"
    assert pace.summary(NOW_MS + 120_000) == []
    assert len(pace.within(flood[:1])) == 1
