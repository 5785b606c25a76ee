"""A failing world becomes a smaller one that fails the same way, and a scenario."""

from msgspec.structs import replace

from lab.sim.generate import generate
from lab.sim.run import NO_EXCEPTION
from lab.sim.scenario import policy_text, scenario_text
from lab.sim.shrink import shrink
from lab.sim.spec import Occurrence
from tests.scenarios.language import COMMANDS
from tests.scenarios.world import World

BAD = Occurrence("errors", 50, target="*", value=1.0, word="no_such_class", for_s=5)


def test_what_is_not_needed_for_the_breach_goes() -> None:
    """Of all occurrences, workloads and pools only what raises the exception stays."""
    world = replace(generate("3", 90), planned=False, occurrences=(Occurrence("take_over", 45), BAD))
    small = shrink(world, NO_EXCEPTION, runs_max=30)
    assert small.occurrences == (BAD,)
    assert len(small.policy.pools) < len(world.policy.pools)
    assert small.seconds <= 60


def test_a_world_can_be_played_as_a_scenario() -> None:
    """Every line that the scenario has is a command of its language."""
    for seed in range(12):
        world = generate(str(seed), 60)
        assert policy_text(world)
        first, *lines = scenario_text(world, "fuzz").splitlines()
        assert first == "policy fuzz"
        scenario = World(world.policy)
        scenario.decide()
        for words in (line.split() for line in lines if not line.startswith("#")):
            COMMANDS[words[0]](scenario, *words[1:])
