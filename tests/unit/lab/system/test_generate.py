"""Worlds from seeds: lawful policies that use every field, every kind of fault, and a quiet end."""

from msgspec.structs import fields

from controller.core.policy.check import faults
from controller.core.policy.policy import Policy, Pool, Workload
from lab.system.generate import KINDS, generate_system
from lab.system.machine_faults import BREAKS, MOMENTS
from lab.system.shrink import SHORT_QUIET_S, smaller, story

WORLDS = [generate_system(str(seed)) for seed in range(120)]
LEFT_OUT = {"operators", "approvals"}  # orders of these worlds are not signed


def test_a_seed_gives_one_world() -> None:
    """Whatever was drawn before."""
    assert generate_system("7") == WORLDS[7]


def test_policies_are_lawful_and_of_every_size() -> None:
    """Two to six providers, two to forty pools, one to eight workloads, one to six origins."""
    policies = [world.fuzz.policy for world in WORLDS]
    assert [fault for policy in policies for fault in faults(policy)] == []
    assert {len(policy.providers) for policy in policies} == {2, 3, 4, 5, 6}
    assert min(len(policy.pools) for policy in policies) == 2
    assert max(len(policy.pools) for policy in policies) >= 12
    assert max(len(policy.origins) for policy in policies) >= 4


def test_small_worlds_are_common_and_large_ones_rare() -> None:
    """More than half of the policies have at most four pools, and fewer than one in twenty has twelve."""
    pools = [len(world.fuzz.policy.pools) for world in WORLDS]
    assert sum(count <= 4 for count in pools) > len(pools) / 2
    assert sum(count >= 12 for count in pools) < len(pools) / 20


def test_every_field_of_a_policy_is_used() -> None:
    """In some world each differs from its default."""
    policies = [world.fuzz.policy for world in WORLDS]
    for kind, items in (
        (Policy, policies),
        (Pool, [pool for policy in policies for pool in policy.pools]),
        (Workload, [workload for policy in policies for workload in policy.workloads]),
    ):
        unused = {
            field.name
            for field in fields(kind)
            if not field.required and all(getattr(item, field.name) == field.default for item in items)
        }
        assert unused - LEFT_OUT == set()


def test_every_fault_can_be_drawn_and_done() -> None:
    """No kind is only named."""
    assert {fault.kind for world in WORLDS for fault in world.faults} == set(KINDS)
    assert set(BREAKS) | MOMENTS == set(KINDS)


def test_nothing_happens_in_the_quiet_time() -> None:
    """All faults and happenings are over when it begins."""
    for world in WORLDS:
        last_s = world.seconds - world.quiet_s
        assert all(fault.at_s + fault.for_s <= last_s + 0.001 for fault in world.faults)
        assert all(item.at_s + item.for_s <= last_s for item in world.fuzz.occurrences)


def test_a_world_is_told_in_a_few_lines() -> None:
    """How large it is, and then what happens when."""
    world = next(world for world in WORLDS if world.faults)
    lines = story(world)
    assert lines[0].startswith(f"providers {len(world.fuzz.policy.providers)}, ")
    assert len(lines) == 1 + len(world.faults) + len(world.fuzz.occurrences)
    assert any(world.faults[0].kind in line for line in lines)


def test_a_world_is_made_smaller_in_every_way() -> None:
    """Without a fault, a client or a happening, and with a shorter quiet time."""
    candidates = [(world, candidate) for world in WORLDS for candidate in smaller(world)]
    for size in (
        lambda world: len(world.faults),
        lambda world: len(world.fuzz.occurrences),
        lambda world: len(world.fuzz.shares),
        lambda world: len(world.fuzz.policy.pools),
        lambda world: world.seconds,
    ):
        assert any(size(candidate) < size(world) for world, candidate in candidates)
    assert all(candidate.quiet_s >= SHORT_QUIET_S for _, candidate in candidates)
