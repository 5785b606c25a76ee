"""A fixed set of worlds of the whole system keeps every promise, to the same bytes in every process.

`tieline sim` runs as many more as time allows, and makes the first that fails smaller. A world in which a
fault of the product was found is kept as a file in system_worlds, under its seed: what other seeds become
later does not change it.
"""

from collections.abc import Container
from pathlib import Path

import pytest
from msgspec.structs import replace

from lab.sim.facts import TickFacts
from lab.sim.invariants import ALL, Watch
from lab.system import world as system_world
from lab.system.command import read_world, run_seed
from lab.system.spec import MachineFault
from lab.system.world import run
from tests.property.hash_seeds import last_lines
from tools.sim_mutations import WORLDS

SEEDS = (40, 41, 42, 43, 45, 47, 49, 55)  # 49: nothing happens until all has come to rest
MENDED = sorted((Path(__file__).parent / "system_worlds").glob("*.json"))
PROGRAM = "from lab.system.command import run_seed; print(run_seed(8).digest)"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_world_keeps_every_promise(seed: int) -> None:
    """Controllers, producers and clients under faults of pools and of machines, and then at rest."""
    assert run_seed(seed).breaches == ()


@pytest.mark.parametrize("file", MENDED, ids=lambda file: file.stem)
def test_what_was_mended_stays_so(file: Path) -> None:
    """555, 795: a client had left most of a provider, and the table would shed everything without it; a
    request that was sent before, or found out whether the pool was back, ended beside a pool of the route's
    own split that served. 1338: a lost pool stayed in ``on_loss`` of a workload that was pinned elsewhere.
    5208: nobody led for a minute, as the last leader died together with what Redis held. 6001017: a partition
    that came back looked as if it were read to a record that was under way when it had gone. 6001087: a
    member committed offsets of a topic that was created anew, and what lay before them was never read.
    1795854567: what was not credible was counted on once its partition was silent. The others showed faults
    of the simulator itself."""
    assert run(read_world(file)).breaches == ()


def test_a_seed_gives_the_same_bytes_in_every_process() -> None:
    """Two processes that order their sets differently append the same records."""
    assert len(last_lines(PROGRAM)) == 1


@pytest.mark.parametrize("killed_s", [6.3, 6.8, 7.4])
def test_a_take_over_is_judged_from_its_own_second_on(
    killed_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whatever part of a second a leader takes office: in the second in which its first table is looked at
    the take-over is no second old, so that it is noted there whether all was quiet before."""
    ages: dict[int, int] = {}

    class NotedWatch(Watch):
        def look(self, facts: TickFacts, only: Container[str] = ALL) -> None:
            ages.setdefault(facts.table.generation.epoch, facts.took_office_s)
            super().look(facts, only)

    monkeypatch.setattr(system_world, "Watch", NotedWatch)
    world = read_world(WORLDS / "leader-killed.json")
    calm = replace(world.fuzz, occurrences=(), seconds=12)
    killed = MachineFault("killed", killed_s, "leader")
    result = run(replace(world, fuzz=calm, faults=(killed,), quiet_s=0))
    assert (result.take_overs, list(ages.values())) == (1, [0, 0])
