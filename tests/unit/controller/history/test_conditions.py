"""What stands is compared by key: each condition begins once and ends once."""

import pytest
from msgspec.structs import replace

from controller.core.model.reasons import Reason, Verdict
from controller.history.conditions import Observation, Standing, changes, is_expiring, standing_conditions
from controller.history.entries import Entry, Selection, is_of_kind
from controller.routes.record import PendingOrder
from tests.unit.controller.history.recorded import NOW_MS, made_table, observation, order

MINUTE_MS = 60_000
ALARM = Verdict("prober", Reason.SOURCE_SILENT, NOW_MS, value=2.0)


def through(*observations: Observation) -> list[list[Entry]]:
    """The entries of each observation after the one before it."""
    standing: Standing = {}
    steps = []
    for now in observations:
        after = standing_conditions(now, standing)
        steps.append(changes(standing, after, now.at_ms))
        standing = after
    return steps


def test_an_alarm_is_told_when_it_begins_and_when_it_ends() -> None:
    """And not while it stands, also when its figure changes."""
    worse = Verdict("prober", Reason.SOURCE_SILENT, NOW_MS, value=3.0)
    begun, unchanged, ended = through(
        observation(alarms=(ALARM,)),
        observation(alarms=(worse,), at_ms=NOW_MS + 1_000),
        observation(at_ms=NOW_MS + 2_000),
    )
    assert [(entry.kind, entry.phase, entry.about) for entry in begun] == [("alarm", "begins", "prober")]
    assert unchanged == []
    assert [(entry.phase, entry.at_ms, entry.severity) for entry in ended] == [
        ("ends", NOW_MS + 2_000, "warning")
    ]
    assert ended[0].key == begun[0].key
    assert ended[0].text == f"over: {begun[0].text}"


def test_an_order_is_told_with_who_why_and_until_when() -> None:
    """Kinds of their own for the orders that put safety aside."""
    (begun,) = through(
        observation(
            order("drain", "azure"),
            order("freeze", "*", id_="o2"),
            order("override", "oci", id_="o3", guard="fresh_capacity"),
        )
    )
    assert [(entry.kind, entry.about, entry.severity) for entry in begun] == [
        ("order", "azure", "info"),
        ("freeze", "table", "warning"),
        ("override", "oci", "warning"),
    ]
    assert begun[0].text == "drain azure, for 60 min"
    assert (begun[0].who, begun[0].why, begun[0].until_ms) == ("kim", ("a drill",), NOW_MS + 60 * MINUTE_MS)


def test_an_order_of_a_workload_is_found_by_it() -> None:
    """Its scope is a pool."""
    pin = replace(order("pin", "gcp/r/d"), workload="chat")
    (begun,) = through(observation(pin))[0]
    assert begun.text == "pin chat to gcp/r/d, for 60 min"
    assert Selection(workloads=("chat",)).takes(begun)


def test_an_order_ends_by_its_time_or_by_an_operator() -> None:
    """The first is an expiry; the second is not."""
    drain, freeze = order("drain", "azure", minutes=1), order("freeze", "*", id_="o2")
    _, ended = through(observation(drain, freeze), observation(at_ms=NOW_MS + MINUTE_MS))
    assert [(entry.kind, entry.text) for entry in ended] == [
        ("order", "drain azure has ended: its time was over"),
        ("freeze", "freeze the whole table was taken back or replaced"),
    ]
    assert [is_of_kind(entry, ("expiry",)) for entry in ended] == [True, False]


@pytest.mark.parametrize(
    ("minutes", "left_ms", "expected"),
    [
        (1_440, 10 * MINUTE_MS, True),
        (1_440, 10 * MINUTE_MS + 1, False),
        (10, MINUTE_MS, True),
        (10, MINUTE_MS + 1, False),
        (10, 0, False),
    ],
)
def test_the_end_of_an_order_is_announced(minutes: int, left_ms: int, expected: bool) -> None:
    """Ten minutes ahead, or a tenth of the order's length if that is less; not once it is over."""
    drain = order("drain", "azure", minutes=minutes)
    assert is_expiring(drain, NOW_MS + minutes * MINUTE_MS - left_ms) is expected


def test_the_announcement_is_told_once() -> None:
    """It ends together with the order."""
    drain = order("drain", "azure")
    _, announced, again, ended = through(
        observation(drain),
        observation(drain, at_ms=NOW_MS + 55 * MINUTE_MS),
        observation(drain, at_ms=NOW_MS + 56 * MINUTE_MS),
        observation(at_ms=NOW_MS + 60 * MINUTE_MS),
    )
    assert [(entry.kind, entry.text) for entry in announced] == [("expiring", "drain azure ends in 5 min")]
    assert again == []
    assert {(entry.kind, entry.phase) for entry in ended} == {("order", "ends"), ("expiring", "ends")}


def test_a_shed_workload_is_told_with_its_load() -> None:
    """Critical load is critical; the condition ends when nothing is shed."""
    shed = made_table({"chat/eu": (500_000, 0), "chat/us": (1_000_000, 0)})
    begun, ended = through(observation(table=shed), observation())
    assert [(entry.text, entry.severity) for entry in begun] == [
        ("chat is shed: 45 of 180 tokens/s are turned away", "critical")
    ]
    assert [entry.text for entry in ended] == ["chat is no longer shed"]
    sheddable = made_table({"batch/eu": (0, 0)}, criticality="sheddable")
    assert [entry.severity for entry in through(observation(table=sheddable))[0]] == ["warning"]


def test_what_holds_moves_back_stands_through_publications() -> None:
    """A step that publishes a table does not say it, and ends nothing."""
    unheard = Verdict("table", Reason.SOURCES_UNHEARD, NOW_MS, value=0.7)
    guard = Verdict("table", Reason.GUARD_PROVIDERS_LOST, NOW_MS)
    begun, published, ended = through(
        observation(holding=(unheard, guard)), observation(holding=None), observation(holding=())
    )
    assert [(entry.kind, entry.severity) for entry in begun] == [("held", "info"), ("guard", "warning")]
    assert published == []
    assert [entry.phase for entry in ended] == ["ends", "ends"]


def test_a_change_of_state_holds_nothing_back() -> None:
    """Neither does a freeze, which is an order already."""
    change = Verdict("azure/r/d", Reason.CLIENTS_FAILING, NOW_MS, before="healthy", after="down")
    frozen = Verdict("table", Reason.FROZEN, NOW_MS, because="kim: a drill")
    assert through(observation(holding=(change, frozen))) == [[]]


def test_conditions_are_bounded() -> None:
    """Of more than a thousand the severe ones stay."""
    alarms = tuple(Verdict(f"source{number}", Reason.SOURCE_SILENT, NOW_MS) for number in range(999))
    orders = [order("drain", "azure", id_=f"o{number}") for number in range(10)]
    standing = standing_conditions(observation(*orders, alarms=alarms), {})
    assert len(standing) == 1_000
    assert sum(entry.kind == "alarm" for entry in standing.values()) == 999


def test_an_order_that_waits_for_another_person_is_told() -> None:
    """Who signed it so far; it ends when it is in force, or lapses when nobody has signed in time."""
    drain = order("drain", "azure")
    waiting = PendingOrder(drain, NOW_MS, NOW_MS + MINUTE_MS, signers=("kim",), approvals=2)
    now = observation()._replace(pending=(waiting,))
    _, signed = through(now, observation(drain, at_ms=NOW_MS + 1_000))
    assert signed[0].text == "drain azure no longer waits for another person"
    begun, lapsed = through(now, now._replace(at_ms=NOW_MS + MINUTE_MS))
    assert [(entry.kind, entry.who) for entry in begun] == [("pending", "kim")]
    assert begun[0].text == "drain azure waits for another person: 1 of 2 signed"
    assert [(entry.text, is_of_kind(entry, ("expiry",))) for entry in lapsed] == [
        ("drain azure has lapsed: not enough people signed it in time, and nothing was changed", True)
    ]
