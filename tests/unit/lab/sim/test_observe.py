"""What the invariants may know of a second: since when nothing has been wrong with a pool."""

from msgspec.structs import replace

from controller.core.model.memory import Memory, PoolMemory
from controller.core.model.reasons import State
from controller.core.snapshot import Ready
from lab.sim.fleet import Outcome
from lab.sim.observe import STATED_AGAIN_S, WELL_S, Outlook
from lab.sim.spec import Occurrence
from lab.sim.weather import Weather
from lab.system.command import read_world
from tests.unit.lab.sim.facts import A, B, table
from tieline.table import MILLION
from tools.sim_mutations import WORLDS

ILL, OTHER = "azure/eu/gpt", "gcp/eu/gpt"
ENDS_S = 20


def clean_from(*occurrences: Occurrence) -> dict[str, int]:
    """By pool, the first second after ``ENDS_S`` from which it counts as clean."""
    world = replace(read_world(WORLDS / "drain.json").fuzz, occurrences=occurrences)
    weather, outlook = Weather(world), Outlook(world)
    pools = {pool.id: PoolMemory(state=State.HEALTHY) for pool in world.policy.pools}
    ready, routes = Ready(Memory(pools=pools), None, ()), table({A: MILLION}, {B: MILLION})
    first: dict[str, int] = {}
    for second in range(ENDS_S + 2 * WELL_S):
        weather.turn(second)
        facts = outlook.facts(
            weather, ready, routes, before=None, took_office_s=0, outcome=Outcome(), undisturbed_s=second
        )
        for name in [name for name, pool in facts.pools.items() if pool.clean and second >= ENDS_S]:
            first.setdefault(name, second)
    return first


def test_a_pool_is_clean_a_minute_after_what_was_wrong_with_it() -> None:
    """However short it was, and whatever else happened. A silent source of capacity touches every pool, but
    only until it has stated everything again: it takes nothing back of what was wrong meanwhile."""
    maintenance = Occurrence("maintenance", 8, "azure", value=60.0, for_s=ENDS_S - 8)
    silence = Occurrence("silence", 8, "fleet", for_s=ENDS_S - 8)
    ill_until_s, heard_s = ENDS_S - 1 + WELL_S, ENDS_S - 1 + STATED_AGAIN_S
    assert clean_from(maintenance) == {ILL: ill_until_s, OTHER: ENDS_S}
    assert clean_from(silence) == {ILL: heard_s, OTHER: heard_s}
    assert clean_from(maintenance, silence) == {ILL: ill_until_s, OTHER: heard_s}


def test_what_was_asked_for_while_nobody_could_read_it_counts_as_it_is_expected() -> None:
    """Reports that are too old are skipped, so the planner never learns of it."""
    ends = Occurrence("demand", 1, "chat/eu", value=0.0, for_s=60)
    world = replace(read_world(WORLDS / "drain.json").fuzz, occurrences=(ends,))
    pools = {pool.id: PoolMemory(state=State.HEALTHY) for pool in world.policy.pools}
    counted = {}
    for reported in ((), ("chat/eu",)):
        weather, outlook = Weather(world), Outlook(world)
        ready = Ready(Memory(pools=pools, reported=reported), None, ())
        for second in range(3):
            weather.turn(second)
            routes = table({A: MILLION}, {B: MILLION})
            facts = outlook.facts(weather, ready, routes, before=None, took_office_s=0, outcome=Outcome())
        counted[reported] = facts.demand["chat/eu"]
    expected = world.policy.workloads[0].expected_units_per_s["eu"]
    assert counted == {(): expected, ("chat/eu",): 0.0}
