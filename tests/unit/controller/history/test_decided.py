"""What a decision moved: in units/s by workload and pool, with its reasons and whose orders led to it."""

import pytest
from msgspec.structs import replace

from controller.core.model.reasons import State
from controller.history.decided import MOVES_MAX, decision_entry, load_moves, state_entries
from controller.history.entries import LoadMove
from tests.unit.controller.decisions.lived import lived
from tests.unit.controller.history.recorded import made_table

DEMAND = {"chat/eu": 90.0}


def test_a_move_is_the_same_demand_under_two_tables() -> None:
    """By workload and pool over all origins, the largest first; shed load has no pool."""
    before = made_table(
        {"chat/eu": (1_000_000, 0), "chat/us": (500_000, 500_000), "batch/eu": (0, 1_000_000)}
    )
    after = made_table({"chat/eu": (0, 900_000), "chat/us": (500_000, 500_000), "batch/eu": (0, 1_000_000)})
    demand = {"chat/eu": 100.0, "chat/us": 10.0, "batch/eu": 7.0}
    assert load_moves(before, after, demand) == (
        LoadMove("chat", "azure/r/d", before=105.0 - 5.0, after=0.0),
        LoadMove("chat", "gcp/r/d", before=0.0, after=90.0),
        LoadMove("chat", "", before=0.0, after=10.0),
    )


def test_growing_demand_is_no_move() -> None:
    """Equal shares are no move, whatever the demand was before."""
    table = made_table({"chat/eu": (600_000, 400_000)})
    assert load_moves(table, replace(table, made_ms=7), {"chat/eu": 1e9}) == ()
    assert load_moves(None, table, DEMAND) == ()


def test_pools_are_compared_by_name() -> None:
    """The same indices mean other pools under a policy that lists them in another order."""
    before = made_table({"chat/eu": (1_000_000, 0)})
    after = replace(before, pools=before.pools[::-1])
    assert [(move.pool, move.after) for move in load_moves(before, after, DEMAND)] == [
        ("azure/r/d", 0.0),
        ("gcp/r/d", 90.0),
    ]


def test_a_lost_pool_is_a_forced_move_with_its_reasons() -> None:
    """The outage of a pool: a forced move in one sentence, from where to where, and why."""
    steps = lived(14)
    entries = [decision_entry(step, DEMAND, "controller c0ffee") for step in steps]
    forced = [entry for entry in entries if entry is not None and entry.kind == "forced_move"]
    assert sum(entry.moved_units_per_s for entry in forced) == pytest.approx(90.0, abs=1.0)
    first = forced[0]
    assert first.text == "23 tokens/s moved at once: chat 23 to gcp/r/d"
    assert (first.severity, first.who) == ("warning", "controller c0ffee")
    assert any(why.startswith("azure/r/d") for why in first.why)
    assert first.generation.startswith(steps[0].generation.lineage)


def test_an_operator_whose_order_moved_load_is_named() -> None:
    """A drain is a forced move by the leader, and its actor is the operator."""
    step = next(step for step in lived(24) if step.ready.table and step.snapshot.commands)
    entry = decision_entry(step, DEMAND, "controller c0ffee")
    assert entry is not None
    assert entry.actors == ("kim",)


def test_a_record_of_memory_is_no_entry() -> None:
    """What publishes no new table moved nothing; its changes of state are entries of their own."""
    step = next(step for step in lived(14) if any(v.after == State.DOWN for v in step.ready.decisions))
    unpublished = replace(step.ready, table=None)
    assert decision_entry(replace(step, ready=unpublished), DEMAND, "c") is None
    (entry,) = [entry for entry in state_entries(unpublished, step.now_ms, "c") if entry.about == "azure/r/d"]
    assert (entry.kind, entry.severity) == ("state", "warning")
    assert entry.text.startswith("azure/r/d degraded -> down: ")


def test_what_is_shed_is_counted_apart() -> None:
    """Load that nobody serves any more has not moved anywhere."""
    step = lived(1)[0]
    after = made_table({"chat/eu": (0, 600_000)})
    before = made_table({"chat/eu": (1_000_000, 0)})
    step = replace(
        step,
        snapshot=replace(step.snapshot, table=before),
        ready=replace(step.ready, table=after, urgent=False),
        published=after,
    )
    entry = decision_entry(step, {"chat/eu": 100.0}, "c")
    assert entry is not None
    assert entry.text == "60 tokens/s moved by choice, 40 shed: chat 60 to gcp/r/d, chat 40 shed"
    assert (entry.moved_units_per_s, entry.shed_units_per_s) == (60.0, 40.0)


def test_many_moves_are_counted() -> None:
    """The largest are listed; the total counts all of them."""
    names = [f"w{number}/eu" for number in range(50)]
    before = made_table(dict.fromkeys(names, (1_000_000, 0)))
    step = lived(1)[0]
    after = made_table(dict.fromkeys(names, (0, 1_000_000)))
    step = replace(
        step,
        snapshot=replace(step.snapshot, table=before),
        ready=replace(step.ready, table=after),
        published=after,
    )
    entry = decision_entry(step, dict.fromkeys(names, 1.0), "c")
    assert entry is not None
    assert (len(entry.moves), entry.moves_left_out) == (MOVES_MAX, 60)
    assert entry.moved_units_per_s == pytest.approx(50.0)
