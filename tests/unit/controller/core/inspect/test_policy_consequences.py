"""What another policy would change, and what only a policy can do wrong."""

from __future__ import annotations

from msgspec.structs import replace

from controller.core.inspect.consequences import BurstChange, Consequences
from controller.core.inspect.policy_consequences import policy_consequences
from controller.core.policy.policy import Policy
from tests.scenarios.world import World
from tests.unit.controller.core.inspect.test_consequences import POLICY, settled

NOTHING = Consequences(
    "tokens",
    0.0,
    0.0,
    due_before=0.0,
    due_after=0.0,
    workloads=(),
    pools=(),
    shed_before={},
    shed_after={},
    burst=BurstChange(0.0, 0.0, 0.0, money_per_hour_after=0.0),
)


def rules(world: World, policy: Policy) -> dict[str, str]:
    """What stands against this policy now: rule -> its first sentence."""
    change = policy_consequences(world.snapshot(), policy, world.now_ms)
    return {item.rule: item.sentence for item in reversed(change.objections)}


def test_what_a_policy_can_do_wrong_is_named_by_its_rule() -> None:
    """A figure that changes harms nothing. What does: to give up an exclusivity, to take a workload away that
    carries load, and to leave critical load too little room."""
    world = settled(1.0)
    assert rules(world, replace(POLICY, headroom=0.79)) == {}
    chat, api, batch = POLICY.workloads
    free = replace(POLICY, workloads=(chat, replace(api, exclusive_provider=None), batch))
    assert rules(world, free)["contract_loosened"].startswith("api/us might use gcp/us-central1/gemini-pro")
    without = replace(POLICY, workloads=(api, batch))
    assert (
        rules(world, without)["route_removed"]
        == "chat/us, which carries 12,000 tokens/s now, would have no route"
    )
    small = replace(POLICY, pools=tuple(pool for pool in POLICY.pools if pool.provider != "azure"))
    assert "critical_shed" in rules(world, small)


def test_a_workload_without_load_may_go() -> None:
    """Nobody sends requests for it."""
    world = settled(1.0)
    for route in [route for route in world.demand if route[0] == "chat"]:
        world.demand[route] = 0.0
    list(world.run(30_000))
    assert "route_removed" not in rules(world, replace(POLICY, workloads=POLICY.workloads[1:]))
