"""What is shown: where the table sends load, what arrived at the stand-ins, and each change once."""

from io import StringIO

import pytest
from rich.console import Console

from controller.core.model.memory import Memory, PoolMemory
from controller.core.model.reasons import Reason, State
from controller.core.policy.policy import Policy
from controller.policy_file import load_policy
from controller.routes.record import RoutesRecord, fence
from lab.demo.picture import Picture
from lab.demo.records import RequestEnd
from lab.demo.scenario import all_healthy, emptied, within_capacity
from lab.demo.show import LineScreen, TableScreen, table_of
from lab.standins.ledger import LogLine
from tests.places import EXAMPLE_POLICY
from tieline.table import Generation, PoolInfo, Route, RouteTable, Split

EXAMPLE = EXAMPLE_POLICY
AZURE, GCP = "azure/swedencentral/gpt-4o", "gcp/europe-west4/gemini-pro"


@pytest.fixture
def picture() -> Picture:
    return Picture(_policy())


def _policy() -> Policy:
    return load_policy(EXAMPLE)


def record(seq: int, weights: tuple[int, int], states: tuple[State, State], shed: int = 0) -> RoutesRecord:
    """A publication whose routes all have the same two pools."""
    generation = Generation("l", 0, seq)
    pools = (PoolInfo(AZURE, "eu", "http://a/v1"), PoolInfo(GCP, "eu", "http://g/v1"))
    routes = tuple(
        Route(one.id, origin, one.criticality, Split((0, 1), weights, shed))
        for one in _policy().workloads
        for origin in one.expected_units_per_s
    )
    kept = zip((AZURE, GCP), states, strict=True)
    memory = Memory(pools={pool: PoolMemory(state, Reason.SUCCEEDING) for pool, state in kept})
    return RoutesRecord(generation, 1_000 + seq, RouteTable(generation, 1, pools, routes), memory)


def test_shares_are_of_the_load_and_sum_to_one(picture: Picture) -> None:
    """The part that is shed counts as well."""
    picture.publication(record(1, (600_000, 300_000), (State.HEALTHY, State.HEALTHY), 100_000))
    shares = picture.provider_shares()
    assert shares["azure"] == pytest.approx(0.6)
    assert shares["shed"] == pytest.approx(0.1)
    assert sum(shares.values()) == pytest.approx(1.0)


def test_each_change_is_told_once(picture: Picture) -> None:
    """A state or a share that stays the same is not repeated, and a fence adds no line."""
    picture.publication(record(1, (600_000, 400_000), (State.HEALTHY, State.HEALTHY)))
    told = len(picture.moments)
    picture.publication(fence("l", 7, 1))
    picture.publication(record(2, (600_000, 400_000), (State.HEALTHY, State.HEALTHY)))
    assert len(picture.moments) == told
    picture.publication(record(3, (0, 1_000_000), (State.DOWN, State.HEALTHY)))
    assert [moment.text for moment in picture.moments[told:]] == [
        f"{AZURE}: healthy -> down: requests succeed there",
        "generation 0:3: gcp 100 %",
    ]
    assert picture.generations == 3


def test_what_came_to_a_stand_in_shows_for_two_seconds(picture: Picture) -> None:
    """Rates follow the logs; capacity is the one logged last."""
    picture.standin_lines(
        [
            LogLine("capacity", 0, pool=AZURE, tokens_per_s=500.0),
            LogLine("arrived", 10_000, "s1", "r1", AZURE, prompt_tokens=60, completion_tokens=40),
            LogLine("ended", 10_001, "s1", "r1", AZURE, outcome="throttled", status=429),
        ]
    )
    view = next(one for one in picture.views(11_000) if one.pool == AZURE)
    assert (view.requests_per_s, view.tokens_per_s) == (0.5, 50.0)
    assert (view.capacity_per_s, view.throttled_per_s) == (500.0, 0.5)
    later = next(one for one in picture.views(13_000) if one.pool == AZURE)
    assert (later.requests_per_s, later.throttled_per_s) == (0.0, 0.0)


def test_phases_end_on_what_is_seen(picture: Picture) -> None:
    """Whether pools are emptied, healthy or within capacity is read off the picture, not off the clock."""
    picture.publication(record(1, (600_000, 400_000), (State.HEALTHY, State.HEALTHY)))
    assert not emptied("azure")(picture, 0)
    assert not all_healthy(picture, 0)  # the example's other pools are not known yet
    picture.publication(record(2, (10_000, 990_000), (State.DOWN, State.HEALTHY)))
    assert emptied("azure")(picture, 0)
    assert within_capacity("azure")(picture, 0)
    picture.standin_lines(
        [LogLine("arrived", 10_000, "s1", "r1", AZURE, prompt_tokens=900, completion_tokens=0)]
    )
    assert not within_capacity("azure")(picture, 10_500)


def test_both_screens_show_a_run(picture: Picture) -> None:
    """The live table names every pool within 80 and 120 columns; the lines name every change, once."""
    picture.publication(record(1, (600_000, 400_000), (State.HEALTHY, State.DOWN)))
    picture.request_ends([RequestEnd("r", 1, "ok", status=200)])
    console = Console(record=True, width=160, file=StringIO())
    lines = LineScreen(console)
    lines.refresh(picture)
    lines.refresh(picture)
    text = console.export_text()
    assert text.count(f"{AZURE}: unknown -> healthy") == 1
    for width in (80, 120):
        console.width = width
        console.print(table_of(picture, 0, width))
        shown = console.export_text()
        assert all(pool.id in shown for pool in picture.policy.pools)
        assert max(map(len, shown.splitlines())) <= width
        assert "1 answered, 0 shed, 0 failed" in shown
    live = TableScreen(console)
    live.refresh(picture)
    live.close()
