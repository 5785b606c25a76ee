"""What is written down of a decision is enough to decide it again; what is missing is said."""

from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from controller.core.model.dispatch_plan import Plan
from controller.core.policy.policy import Source
from controller.core.snapshot import Snapshot
from controller.decisions.chain import Chain
from controller.decisions.record import (
    Rebuilt,
    RecordError,
    Step,
    decision,
    decode_decision,
    encode_decision,
    rebuilt,
)
from controller.decisions.replay import Contest, difference
from tests.scenarios.world import START_MS, World
from tests.unit.controller.core.made import policy, pool
from tieline.events import Command
from tieline.table import RouteTable

POLICY = policy(
    (pool("azure/r"), pool("gcp/r", committed=0.0, price=9.0)),
    sources=(Source("prober", "probe"), Source("fleet", "fleet")),
)


def lived(seconds: int = 40) -> list[Step]:
    """Every step of a world in which a pool fails and another is drained, as the agent publishes them."""
    world = World(POLICY)
    world.demand = {("chat", "eu"): 90.0}
    steps: list[Step] = []
    for second in range(seconds):
        if second == 10:
            world.pools["azure/r/d"].errors = 1.0
        if second == 20:
            until_ms = world.now_ms + 5_000
            world.commands.append(Command("c", "drain", "gcp", "kim", "why", world.now_ms, until_ms))
        world.now_ms += 1_000
        world._observe()
        snapshot = world.snapshot()
        if steps:
            snapshot = replace(snapshot, table=steps[-1].published)
        ready = world.decide()
        table = ready.table or snapshot.table
        assert table is not None
        generation = replace(table.generation, seq=second + 1)
        steps.append(
            Step(world.now_ms, snapshot, ready, replace(table, generation=generation, made_ms=world.now_ms))
        )
        world.table, world.seq = steps[-1].published, second + 1
    return steps


def recorded(steps: list[Step]) -> list[bytes]:
    """The first whole, each later one as what changed."""
    whole = [decision(steps[0], None)]
    return [encode_decision(one) for one in (*whole, *(decision(now, was) for was, now in pairwise(steps)))]


def taken(chain: Chain, bodies: list[bytes]) -> list[Rebuilt]:
    """What the chain could rebuild."""
    found = [chain.take(offset, body) for offset, body in enumerate(bodies)]
    return [one for one in found if one is not None]


def test_every_changed_record_is_rebuilt_and_decides_the_same() -> None:
    """Through failure, drain and recovery: equal snapshots, the same bytes, no gap."""
    steps = lived()
    chain = Chain()
    found = taken(chain, recorded(steps))
    assert len(found) == len(steps)
    assert not chain.gaps
    assert any(step.ready.urgent for step in steps)
    for one, step in zip(found, steps, strict=True):
        assert one.snapshot == step.snapshot
        assert one.published == step.published
        assert difference(one) is None


def _plan() -> Plan:
    return Plan("v", "i", START_MS, ())


@pytest.mark.parametrize("field", Snapshot.__struct_fields__)
def test_no_field_of_a_snapshot_is_forgotten(field: str) -> None:
    """Whatever differs from the record before, alone: reading both gives exactly the second snapshot."""
    first, second, *_ = lived(30)[24:]
    snapshot = replace(first.snapshot, table=first.published)
    other: dict[str, Any] = {
        "policy": replace(POLICY, headroom=0.5),
        "plan": _plan(),
        "statements": second.snapshot.reports[:1],
        "table": second.published,
        "commands": (Command("d", "drain", "gcp", "kim", "why", START_MS, START_MS + 60_000),),
        "memory": replace(first.ready.memory, voluntary_ms=7),
    }
    changed = replace(snapshot, **{field: other.get(field, getattr(second.snapshot, field))})
    assert getattr(changed, field) != getattr(snapshot, field)
    now = replace(second, snapshot=changed)
    chain = Chain()
    bodies = [encode_decision(decision(first, None)), encode_decision(decision(now, first))]
    assert taken(chain, bodies)[-1].snapshot == changed
    back = replace(lived(26)[-1], snapshot=snapshot, published=_next(now.published))
    bodies.append(encode_decision(decision(back, now)))
    assert taken(Chain(), bodies)[-1].snapshot == snapshot


def _next(table: RouteTable) -> RouteTable:
    return replace(table, generation=replace(table.generation, seq=table.generation.seq + 1))


def test_dropped_decisions_are_said_and_nothing_is_built_on_them() -> None:
    """A missing record breaks the chain until the next whole one; how many are missing is counted."""
    steps = lived(12)
    bodies = recorded(steps)
    chain = Chain()
    found = taken(chain, [*bodies[:3], *bodies[6:9], encode_decision(decision(steps[9], None)), bodies[10]])
    assert [one.generation.seq for one in found] == [1, 2, 3, 10, 11]
    assert [(gap.missing, gap.why.startswith("decisions in between")) for gap in chain.gaps[:2]] == [
        (3, True),
        (1, False),
    ]


def test_what_is_read_twice_or_unreadable_changes_nothing() -> None:
    """A record sent twice is passed over; one that can't be read is a gap with its offset."""
    bodies = recorded(lived(4))
    chain = Chain()
    found = taken(chain, [bodies[0], bodies[0], b"\xc1", bodies[1]])
    assert [one.generation.seq for one in found] == [1, 2]
    assert [gap.at for gap in chain.gaps] == ["offset 2"]
    with pytest.raises(RecordError):
        decode_decision(b"{}")


def test_a_record_is_never_rebuilt_on_another() -> None:
    """What changed is only applied to the very record it names."""
    bodies = recorded(lived(4))
    first = rebuilt(decode_decision(bodies[0]), None)
    assert rebuilt(decode_decision(bodies[3]), first) is None
    assert rebuilt(decode_decision(bodies[3]), None) is None


def test_a_difference_names_generation_and_place() -> None:
    """A record whose outcome was tampered with is found, down to the field and both values."""
    step = lived(15)[13]
    verdict = replace(step.ready.decisions[0], value=123.0) if step.ready.decisions else None
    ready = replace(step.ready, decisions=(verdict,)) if verdict else replace(step.ready, urgent=True)
    (found,) = taken(Chain(), [encode_decision(decision(replace(step, ready=ready), None))])
    one = difference(found)
    assert one is not None
    assert one.generation == str(step.generation)
    assert one.place.startswith("ready.")
    assert one.recorded != one.again


def test_the_same_policy_comes_to_the_same_and_another_does_not() -> None:
    """Carried along by its own memory and table, the policy in force ends where it ended; half the headroom
    ends elsewhere, serves less and breaks nothing."""
    found = taken(Chain(), recorded(lived()))
    results = []
    for other in (POLICY, replace(POLICY, headroom=0.3)):
        contest = Contest(other)
        for one in found:
            contest.take(one)
        result = contest.result()
        assert result is not None
        results.append(result)
    same, tight = results
    assert same.routes == ()
    assert same.recorded == same.other
    assert tight.recorded == same.recorded
    assert tight.other.served < tight.recorded.served
    assert sum(tight.other.shed.values()) > sum(tight.recorded.shed.values())
    for totals in (tight.recorded, tight.other):
        assert totals.offered == pytest.approx(totals.served + totals.failed + sum(totals.shed.values()))
        assert totals.broken == 0
    assert tight.routes[0].recorded != tight.routes[0].other
    assert same.length_ms == found[-1].now_ms - found[0].now_ms
