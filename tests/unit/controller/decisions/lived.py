"""A run to record: every step of a small world in which a pool fails and another is drained."""

from itertools import pairwise

from msgspec.structs import replace

from controller.core.policy.policy import Source
from controller.decisions.chain import Chain
from controller.decisions.record import RebuiltDecision, Step, decision_of, encode_decision
from tests.scenarios.world import World
from tests.unit.controller.core.made import policy, pool
from tieline.events import Command

POLICY = policy(
    (pool("azure/r"), pool("gcp/r", committed=0.0, price=9.0)),
    sources=(Source("prober", "probe"), Source("fleet", "fleet")),
)


def lived(seconds: int = 40) -> list[Step]:
    """One step a second, each published, as the agent makes them."""
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
        published = replace(table, generation=generation, made_ms=world.now_ms)
        steps.append(Step(world.now_ms, snapshot, ready, published))
        world.table, world.seq = published, second + 1
    return steps


def bodies_of(steps: list[Step]) -> list[bytes]:
    """The records of the steps: the first whole, each later one as what changed."""
    records = [decision_of(steps[0], None)]
    records += [decision_of(step, before) for before, step in pairwise(steps)]
    return [encode_decision(record) for record in records]


def rebuilt(chain: Chain, bodies: list[bytes]) -> list[RebuiltDecision]:
    """What the chain could rebuild of these records."""
    decisions = [chain.take(offset, body) for offset, body in enumerate(bodies)]
    return [decision for decision in decisions if decision is not None]
