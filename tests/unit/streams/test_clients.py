"""How far a client's word counts, and what is counted on after it fell silent."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from streams.client_load import NEWCOMER_MS
from streams.clients import GENERATIONS_MAX, TAKE_OVER_MS, UNHEARD_MAX_MS, Clients
from streams.demand import DOUBTS_MAX, DemandFold
from streams.rows import DemandSecond, FlowSum
from tests.unit.streams.made import T0_MS, at, demand, observation
from tieline.events import Demand, Flow, Outcomes, ResultClass
from tieline.registration import Registry

POOL = "azure/eu/a"
KNOWN = Registry(
    frozenset(),
    {},
    frozenset({POOL}),
    flows=frozenset({("chat", "eu"), ("api", "eu")}),
    limit_units_per_s=10_000,
)
LATER_MS = T0_MS + TAKE_OVER_MS


class Partition:
    """One partition as its owner sums it, with reports that follow each other."""

    def __init__(self, fold: DemandFold | None = None) -> None:
        self.fold = fold or DemandFold()
        self.offset = 0
        self.sequence = 0

    def add(self, event: Demand, *, arrives_ms: int = 0) -> DemandSecond:
        """The newest second after this report, which arrives when its window ends or at ``arrives_ms``."""
        position = self.fold.position
        self.offset = max(self.offset, position.offset if position else 0) + 1
        self.sequence += 1
        event = replace(event, sequence=self.sequence)
        self.fold.add(event, at(self.offset), arrives_ms or event.window_end_ms, KNOWN)
        return self.fold.row().seconds[-1]


def served(client: str, units: float, end_ms: int, *, ok: int = 10, offered: float | None = None) -> Demand:
    """A report of a client that is served so much, and asks for as much or for ``offered``."""
    seen = replace(observation(ok=ok), units=units)
    return demand(client, 1, seen, end_ms=end_ms, units=units if offered is None else offered)


def flow_of(second: DemandSecond) -> FlowSum:
    """The load of chat from the EU."""
    return next(flow for flow in second.flows if (flow.workload, flow.origin) == ("chat", "eu"))


def last(room: Partition, count: int) -> tuple[DemandSecond, ...]:
    """The newest seconds."""
    return room.fold.row().seconds[-count:]


def test_load_is_credible_up_to_four_times_what_is_served() -> None:
    """Less is left of what was served before each minute; who was never served is not believed at all."""
    room = Partition()
    assert flow_of(room.add(served("a", 100, T0_MS, offered=400))).doubtful_units == 0
    assert flow_of(room.add(served("a", 100, T0_MS + 1_000, offered=1_000))).doubtful_units == 600
    liar = room.add(demand("liar", 1, end_ms=T0_MS + 2_000, units=1e15))
    assert (flow_of(liar).offered_units, flow_of(liar).doubtful_units) == (1e15, 1e15)
    for second in range(3, 600):
        newest = room.add(demand("a", 1, end_ms=T0_MS + second * 1_000, units=100))
    assert flow_of(newest).doubtful_units > 50


def test_a_flow_that_offers_too_much_takes_no_credit_from_smaller_ones() -> None:
    """One workload that is far beyond what there is must not make the client's others look smaller."""
    event = served("a", 100, T0_MS)
    large = Flow("api", "eu", requests=9, offered_units=5_000.0)
    small = Flow("chat", "eu", requests=9, offered_units=90.0)
    second = Partition().add(replace(event, flows=(large, small)))
    doubtful = {flow.workload: flow.doubtful_units for flow in second.flows}
    assert doubtful == {"chat": 0.0, "api": 5_000.0 - (400.0 - 90.0)}


def test_what_is_shed_by_the_table_takes_no_credit_away() -> None:
    """A client that is served nothing any more, because its load is shed, is believed as before."""
    room = Partition()
    room.add(served("a", 100, T0_MS))
    shed = Flow("chat", "eu", requests=9, offered_units=100.0, shed_requests=9, shed_units=100.0)
    for second in range(1, 600):
        event = replace(demand("a", end_ms=T0_MS + second * 1_000), flows=(shed,))
        newest = room.add(event)
    assert flow_of(newest).doubtful_units == 0


def test_requests_on_their_way_make_load_credible() -> None:
    """Long answers are counted as served only when they end."""
    seen = replace(observation(), in_flight=10)
    event = demand("a", 1, seen, units=100)
    event = replace(event, flows=(Flow("chat", "eu", requests=10, offered_units=100.0),))
    assert flow_of(Partition().add(event)).doubtful_units == pytest.approx(20)
    boast = replace(event, pools=(replace(seen, in_flight=10**12),))
    assert flow_of(Partition().add(boast)).doubtful_units == 0
    nothing = replace(boast, flows=(Flow("chat", "eu", requests=0, offered_units=1e15),))
    assert flow_of(Partition().add(nothing)).doubtful_units == 1e15


def test_who_is_served_more_than_there_is_lies() -> None:
    """Nothing that it saw counts, none of its load is believed, and the row names it."""
    room = Partition()
    second = room.add(served("liar", 10_001, T0_MS))
    assert (second.pools, second.excluded) == ((), 1)
    assert flow_of(second).doubtful_units == 10_001
    (doubt,) = room.fold.row().doubts
    assert (doubt.client, doubt.units_per_s, doubt.lies) == ("liar", 10_001, True)
    assert flow_of(room.add(served("liar", 10, T0_MS + 1_000))).doubtful_units == 0


def test_flows_that_the_policy_does_not_name_count_for_nothing() -> None:
    """However many there are, the row has none of them, and names the client."""
    room = Partition()
    strange = tuple(Flow("chat", f"user-{number}", 1, 1e9) for number in range(2_000))
    second = room.add(replace(served("a", 100, T0_MS), flows=(*strange, Flow("api", "eu", 1, 90.0))))
    assert [(flow.workload, flow.origin, flow.doubtful_units) for flow in second.flows] == [
        ("api", "eu", 0.0)
    ]
    (doubt,) = room.fold.row().doubts
    assert (doubt.client, doubt.strange, doubt.units_per_s) == ("a", 2_000, 0.0)


def test_doubts_are_few_and_end() -> None:
    """The largest are named, each for a minute after its last sign."""
    room = Partition()
    for number in range(1, 20):
        room.add(demand(f"liar-{number:02}", 1, units=number))
    names = [doubt.client for doubt in room.fold.row().doubts]
    assert names == [f"liar-{number:02}" for number in range(20 - DOUBTS_MAX, 20)]
    room.add(served("a", 10, T0_MS + 61_000))
    assert room.fold.row().doubts == ()


def test_a_newcomer_counts_apart_for_a_minute_and_until_something_succeeds_for_it() -> None:
    """Those that report soon after a process takes a partition over were there before it."""
    room = Partition()
    assert not room.add(served("a", 10, T0_MS)).new_clients
    assert not room.add(served("b", 10, LATER_MS - 1)).new_clients
    second = room.add(demand("new", 1, observation(timeout=9), end_ms=LATER_MS))
    assert (second.new_clients, second.pools) == (1, ())
    assert [row.outcomes for row in second.newcomers] == [Outcomes(timeout=2)]
    for age_s in range(1, 90):
        second = room.add(demand("new", 1, observation(timeout=9), end_ms=LATER_MS + age_s * 1_000))
        assert second.new_clients == 1
    room.add(demand("new", 1, observation(ok=9), end_ms=LATER_MS + 90_000))
    second = room.add(demand("new", 1, observation(timeout=9), end_ms=LATER_MS + NEWCOMER_MS + 31_000))
    assert (second.new_clients, [row.outcomes.timeout for row in second.pools]) == (0, [9])


def test_a_newcomer_ejects_nothing() -> None:
    """Its ejections are taken once it is known."""
    room = Partition()
    room.add(served("a", 10, T0_MS))
    room.add(demand("new", 1, observation(ok=1, ejected=ResultClass.TIMEOUT), end_ms=LATER_MS))
    assert room.fold.row().ejections == ()
    room.add(demand("new", 1, observation(ejected=ResultClass.TIMEOUT), end_ms=LATER_MS + NEWCOMER_MS))
    assert [ejection.client for ejection in room.fold.row().ejections] == ["new"]


def test_outcomes_count_in_proportion_to_what_succeeded_before() -> None:
    """Four times as many attempts as succeeded of late, and two a second; no class disappears."""
    room = Partition()
    room.add(served("a", 10, T0_MS, ok=10))
    second = room.add(demand("a", 1, observation(timeout=990, connect=10), end_ms=T0_MS + 1_000))
    assert [row.outcomes for row in second.pools] == [Outcomes(timeout=41, connect=1)]
    assert [row.outcomes.ok for row in room.add(served("a", 10, T0_MS + 2_000, ok=500)).pools] == [500]


def test_a_client_that_misses_two_reports_is_unheard() -> None:
    """What it asked for is counted on, no more and no less, until it is heard again."""
    room = Partition()
    for second in range(10):
        room.add(served("a", 100, T0_MS + second * 1_000))
        room.add(served("b", 50, T0_MS + second * 1_000))
    for second in range(10, 13):
        room.add(served("b", 50, T0_MS + second * 1_000))
    amounts = [flow_of(second).unheard_units for second in room.fold.row().seconds[-4:]]
    assert amounts == [0, 100, 100, 100]  # in each of the seconds that it missed
    assert [flow_of(second).unheard_requests for second in room.fold.row().seconds[-4:]] == [0, 1, 1, 1]
    for second in range(13, 60):
        room.add(served("b", 50, T0_MS + second * 1_000))
    assert flow_of(room.fold.row().seconds[-1]).unheard_units == 100
    room.add(served("a", 100, T0_MS + 60_000))
    room.add(served("b", 50, T0_MS + 61_000))
    assert flow_of(room.fold.row().seconds[-1]).unheard_units == 0


def test_a_report_that_was_only_late_takes_back_what_it_covers() -> None:
    """Each second holds the load once, however late the report comes: as reported, or as counted on."""
    room = Partition()
    for second in range(10):
        room.add(served("a", 100, T0_MS + second * 1_000))
        room.add(served("b", 50, T0_MS + second * 1_000))
    for second in range(10, 15):
        room.add(served("b", 50, T0_MS + second * 1_000))
    room.add(served("a", 300, T0_MS + 10_000))
    room.add(served("a", 300, T0_MS + 11_000))
    loads = [(flow_of(second).offered_units, flow_of(second).unheard_units) for second in last(room, 6)]
    assert loads == [(150, 0), (350, 0), (350, 0), (50, 100), (50, 100), (50, 100)]
    for second in range(12, 16):
        room.add(served("a", 300, T0_MS + second * 1_000))
    assert [flow_of(second).unheard_units for second in last(room, 6)] == [0] * 6


def test_time_of_which_a_report_is_missing_stays_as_it_was_counted() -> None:
    """The client may have served on, and no other report says how much."""
    room = Partition()
    for second in range(5):
        for client, units in (("a", 100), ("b", 50)):
            room.add(served(client, units, T0_MS + second * 1_000))
    for second in range(5, 9):
        room.add(served("b", 50, T0_MS + second * 1_000))
    room.add(served("a", 100, T0_MS + 7_000))
    assert [flow_of(second).unheard_units for second in last(room, 4)] == [100, 100, 0, 100]


def test_a_goodbye_that_was_late_takes_back_what_was_counted_after_it() -> None:
    """Its client sends nothing any more."""
    room = Partition()
    for second in range(5):
        for client, units in (("a", 100), ("b", 50)):
            room.add(served(client, units, T0_MS + second * 1_000))
    for second in range(5, 9):
        room.add(served("b", 50, T0_MS + second * 1_000))
    room.add(replace(served("a", 100, T0_MS + 5_000), state="off"))
    assert [flow_of(second).unheard_units for second in last(room, 4)] == [0] * 4


def test_a_client_whose_clock_is_behind_is_counted_once() -> None:
    """Its reports count where its clock says, and what they don't reach yet is counted on."""
    room = Partition()
    for second in range(40):
        room.add(served("b", 50, T0_MS + second * 1_000))
        room.add(served("slow", 100, T0_MS + (second - 8) * 1_000), arrives_ms=T0_MS + second * 1_000)
    flows = [flow_of(second) for second in last(room, 15)[:-1]]
    assert [flow.offered_units + flow.unheard_units for flow in flows] == [150] * 14


def test_a_client_that_says_goodbye_is_not_unheard() -> None:
    """Its load ends with it, and so does its generation."""
    room = Partition()
    room.add(served("a", 100, T0_MS))
    room.add(served("b", 50, T0_MS))
    room.add(replace(served("a", 100, T0_MS + 1_000), state="off"))
    for second in range(2, 30):
        room.add(served("b", 50, T0_MS + second * 1_000))
    assert [flow_of(second).unheard_units for second in room.fold.row().seconds] == [0] * 20
    assert room.fold.row().generations == {"lab:1:1": 1}
    room.add(replace(served("b", 50, T0_MS + 30_000), state="off"))
    assert room.fold.row().generations == {}


def test_nobody_is_counted_on_for_longer_than_an_hour() -> None:
    """While others are heard. Its generation is forgotten much sooner."""
    room = Partition()
    room.add(served("a", 100, T0_MS))
    for second in range(1, UNHEARD_MAX_MS // 1_000 + 1):
        room.add(served("b", 50, T0_MS + second * 1_000))
    assert flow_of(room.fold.row().seconds[-1]).unheard_units == 100
    assert room.fold.row().generations == {"lab:1:1": 1}
    room.add(served("b", 50, T0_MS + UNHEARD_MAX_MS + 1_000))
    assert flow_of(room.fold.row().seconds[-1]).unheard_units == 0


def test_after_a_silence_of_all_each_may_report_again_before_it_is_unheard() -> None:
    """What nobody could say in the meantime is no load of the second in which the first is heard again."""
    room = Partition()
    room.add(served("a", 100, T0_MS))
    room.add(served("b", 50, T0_MS))
    for second in range(60, 63):
        room.add(served("b", 50, T0_MS + second * 1_000))
    assert [flow_of(second).unheard_units for second in room.fold.row().seconds[-3:]] == [0, 100, 100]


def test_what_nobody_reports_again_after_a_take_over_is_unheard() -> None:
    """A new owner knows the load of its predecessor's row, and not its clients; a small rest is noise."""
    first = Partition()
    for second in range(2):
        first.add(served("a", 100, T0_MS + second * 1_000))
        first.add(served("b", 50, T0_MS + second * 1_000))
    for name, units in (("b", 50), ("a", 100)):
        rest = 150 - units
        owner = Partition(DemandFold(first.fold.row()))
        for second in range(2, 20):
            owner.add(served(name, units, T0_MS + second * 1_000))
        amounts = [flow_of(second).unheard_units for second in owner.fold.row().seconds]
        assert amounts[-3:] == [0, rest, rest]
    owner = Partition(DemandFold(first.fold.row()))
    for second in range(2, 25):
        owner.add(served("a", 140, T0_MS + second * 1_000))
    assert flow_of(owner.fold.row().seconds[-1]).unheard_units == 0


def test_what_was_believed_before_a_take_over_stays_credible() -> None:
    """However little its clients are served now. All of them together get credit for it once, whoever claims
    more first."""
    first = Partition()
    for second in range(2):
        for name in "ab":
            first.add(served(name, 400, T0_MS + second * 1_000))
    owner = Partition(DemandFold(first.fold.row()))
    for name in "ab":
        newest = owner.add(served(name, 10, T0_MS + 2_000, offered=400))
    assert (flow_of(newest).offered_units, flow_of(newest).doubtful_units) == (800, 0)
    owner = Partition(DemandFold(first.fold.row()))
    liar = owner.add(served("a", 10, T0_MS + 2_000, offered=5_000))
    assert flow_of(liar).doubtful_units == 4_200
    newest = owner.add(served("b", 10, T0_MS + 2_000, offered=400))
    assert flow_of(newest).doubtful_units == 4_200 + 360


def test_load_that_went_down_at_a_take_over_is_not_unheard() -> None:
    """As many clients report as the row counted, so nobody is missing."""
    first = Partition()
    for second in range(2):
        first.add(served("a", 400, T0_MS + second * 1_000))
        first.add(served("b", 400, T0_MS + second * 1_000))
    owner = Partition(DemandFold(first.fold.row()))
    for second in range(2, 20):
        for name in "ab":
            owner.add(served(name, 50, T0_MS + second * 1_000))
    assert [flow_of(second).unheard_units for second in owner.fold.row().seconds[-5:]] == [0] * 5


def test_who_was_silent_at_a_take_over_is_not_missing_once_it_is_heard() -> None:
    """The row says how many clients were silent. One that is not heard again stays unheard."""
    first = Partition()
    for second in range(30):
        for client in ("a", "b", "c") if second < 2 else ("a", "b"):
            first.add(served(client, 100, T0_MS + second * 1_000))
    assert first.fold.row().silent == 1
    for names, units, silent in (("abc", 0, 0), ("ab", 100, 1)):
        owner = Partition(DemandFold(first.fold.row()))
        assert owner.fold.row().silent == 1
        for second in range(30, 50):
            for name in names:
                owner.add(served(name, 60, T0_MS + second * 1_000))
        newest = owner.fold.row()
        assert (flow_of(newest.seconds[-1]).unheard_units > units, newest.silent) == (bool(units), silent)


def test_the_generations_of_a_row_are_few() -> None:
    """However many are claimed, those are listed that most clients use."""
    clients = Clients(None, {"lab:1:1": 3})
    assert clients.generations == {"lab:1:1": 3}
    room = Partition()
    for number in range(200):
        room.add(replace(served(f"c{number}", 1, T0_MS), generation=f"lab:1:{number // 2}"))
    assert len(room.fold.row().generations) == GENERATIONS_MAX
    assert set(room.fold.row().generations.values()) == {2}


def test_names_that_are_made_up_push_out_the_one_heard_longest_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """A partition remembers so many clients; who reports stays, whoever else comes."""
    monkeypatch.setattr("streams.clients.CLIENTS_MAX", 3)
    room = Partition()
    for second in range(4):
        room.add(served("steady", 10, T0_MS + second * 1_000))
        room.add(served(f"stranger-{second}", 1, T0_MS + second * 1_000))
    assert sum(room.fold.row().generations.values()) == 3
    assert flow_of(room.add(served("steady", 10, T0_MS + 4_000))).doubtful_units == 0
