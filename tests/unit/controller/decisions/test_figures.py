"""What the leader tells about its decisions, in the world of the example policy."""

from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from controller.core.assessment import Assessment
from controller.core.inspect.alarms import alarms
from controller.core.inspect.what_if import single_losses
from controller.core.model.memory import Memory
from controller.decisions.figures import (
    BEHIND,
    ORDERS,
    DecisionFigures,
    LastDecision,
    MarginWatch,
    in_turn,
)
from controller.policy_file import load_policy
from controller.process.monitor import Figure
from tests.places import EXAMPLE_POLICY
from tests.scenarios.world import World
from tieline.events import Command
from tieline.table import Generation

POLICY = load_policy(EXAMPLE_POLICY)
FAILING = "gcp/europe-west4/gemini-pro"


def settled_world() -> World:
    """The example policy under its expected demand, with one pool failing for some seconds."""
    world = World(POLICY)
    world.settle(20_000)
    world.pools[FAILING].errors = 1.0
    list(world.run(5_000))
    return world


def last_decision(world: World) -> LastDecision:
    """The world's newest decision, as the agent notes it."""
    assessment = world.planner.memo.last(Assessment)
    assert assessment is not None
    snapshot = world.snapshot()
    due = alarms(snapshot, world.memory or Memory(), world.now_ms)
    return LastDecision(snapshot, assessment, due, at_ms=world.now_ms)


@pytest.fixture(scope="module")
def world() -> World:
    return settled_world()


def by_name(figures: tuple[Figure, ...]) -> Mapping[str, Figure]:
    """No family may stand twice: Prometheus would refuse the whole scrape."""
    names = [figure.name for figure in figures]
    assert len(names) == len(set(names))
    return {figure.name: figure for figure in figures}


def test_nothing_is_told_before_a_decision_and_after_the_term(world: World) -> None:
    """Only who leads speaks of decisions, so that sums over controllers count everything once."""
    figures = DecisionFigures()
    assert figures.figures(world.table, world.now_ms) == ()
    figures.note_decision(last_decision(world))
    assert figures.figures(None, world.now_ms) == ()
    assert figures.figures(world.table, world.now_ms)
    figures.stand_by()
    assert figures.figures(world.table, world.now_ms) == ()


def test_every_pool_has_its_state_and_what_it_may_carry(world: World) -> None:
    """The failing pool is down and may carry nothing; the shares of all pools sum to what is not shed."""
    figures = DecisionFigures()
    figures.note_decision(last_decision(world))
    told = by_name(figures.figures(world.table, world.now_ms))
    pools = {pool.id for pool in POLICY.pools}
    assert {pool for pool, _ in told["pool_state"].values} == pools
    assert told["pool_state"].values[FAILING, "down"] == 1.0
    assert told["pool_usable_units_per_second"].values[FAILING,] == 0.0
    assert told["pool_weight_ratio"].values[FAILING,] == 0.0
    for name in ("pool_usable_units_per_second", "pool_stated_units_per_second"):
        assert {pool for (pool,) in told[name].values} == pools
    carried = sum(told["pool_weight_ratio"].values.values())
    shed = list(told["shed_ratio"].values.values())
    assert carried + sum(shed) / len(shed) == pytest.approx(1.0)
    assert sum(told["pool_load_units_per_second"].values.values()) > 0


def test_every_route_tells_what_is_offered_and_shed(world: World) -> None:
    """By workload, origin and criticality; shed load is the offered load times the share."""
    figures = DecisionFigures()
    figures.note_decision(last_decision(world))
    told = by_name(figures.figures(world.table, world.now_ms))
    assert told["offered_units_per_second"].labels == ("workload", "origin", "criticality")
    for key, units in told["offered_units_per_second"].values.items():
        assert told["shed_units_per_second"].values[key] == units * told["shed_ratio"].values[key]


def test_labels_take_only_names_that_policy_and_program_bound(world: World) -> None:
    """However many publications clients are behind, and whatever they say, there are five series."""
    last = last_decision(world)
    assert world.table is not None
    table = replace(world.table, generation=Generation(POLICY.lineage, 1, 500))
    texts = {f"{POLICY.lineage}:1:{seq}": 1 for seq in (500, 499, 495, 491, 490, 3)} | {
        "odd": 2,
        "x:1:500": 1,
    }
    rows = tuple(
        replace(row, generations=texts if index == 0 else {})
        for index, row in enumerate(last.snapshot.demand)
    )
    figures = DecisionFigures()
    figures.note_decision(last._replace(snapshot=replace(last.snapshot, demand=rows)))
    told = by_name(figures.figures(table, world.now_ms))
    counts = {behind: count for (behind,), count in told["clients"].values.items()}
    assert counts == {"0": 1, "1": 1, "2-9": 2, "10+": 2, "other": 3}
    assert tuple(counts) == BEHIND


def test_orders_and_alarms_are_counted_by_kind(world: World) -> None:
    """Kinds without an order are told as 0; a subject is no label, as it may be a client's name."""
    last = last_decision(world)
    order = Command(
        "1", "drain", "gcp", actor="kim", reason="x", issued_ms=1, expires_ms=world.now_ms + 1_000
    )
    figures = DecisionFigures()
    figures.note_decision(last._replace(snapshot=replace(last.snapshot, commands=(order,))))
    told = by_name(figures.figures(world.table, world.now_ms))
    orders = {verb: count for (verb,), count in told["orders"].values.items()}
    assert orders == {**dict.fromkeys(ORDERS, 0), "drain": 1}
    assert told["alarms"].labels == ("reason",)


def test_losses_are_asked_one_at_a_time_and_forgotten_with_the_policy(world: World) -> None:
    """Each look answers at most one loss, and no more than one a second; another policy begins anew."""
    last = last_decision(world)
    watch = MarginWatch()
    watch.look(last)
    watch.look(last)
    [(kind, _)] = watch.margins
    assert kind == "provider"
    other = replace(last.snapshot, policy=replace(last.snapshot.policy, lineage="another"))
    watch.look(last._replace(snapshot=other))
    assert len(watch.margins) <= 1
    figures = DecisionFigures()
    figures.note_decision(last)
    figures.look_at_a_loss()
    told = by_name(figures.figures(world.table, world.now_ms))
    [(kind, lost)] = told["n_minus_1_margin_ratio"].values
    assert {key[:2] for key in told["n_minus_1_shed_units_per_second"].values} == {(kind, lost)}


def test_providers_have_every_other_turn() -> None:
    """So their margins are the newest, and nothing that can be lost is left out."""
    losses = single_losses(POLICY)
    turns = in_turn(losses)
    assert {loss.kind for loss in turns[::2]} == {"provider"}
    assert set(turns) == set(losses)
    providers = tuple(loss for loss in losses if loss.kind == "provider")
    assert in_turn(providers) == providers


def test_times_are_observed() -> None:
    """Steps, tables in Redis and tables at clients each have a histogram, which outlives a term."""
    figures = DecisionFigures()
    figures.step_took(0.002)
    figures.published(Generation("l", 1, 2), 1_000)
    figures.projected(Generation("l", 1, 2), 1_040)
    figures.stand_by()
    counts = {
        times._name: next(
            sample.value
            for family in times.collect()
            for sample in family.samples
            if sample.name.endswith("_count")
        )
        for times in figures.histograms
    }
    assert counts == {
        "tieline_decision_seconds": 1,
        "tieline_event_to_projected_seconds": 1,
        "tieline_event_to_applied_seconds": 0,
    }
