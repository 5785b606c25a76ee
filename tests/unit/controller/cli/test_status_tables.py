"""What `tieline status` draws above its tables."""

import io
import math

import msgspec
from rich.console import Console

from controller.cli.status_tables import draw, pool_cells
from controller.core.inspect.alarms import alarms
from controller.core.model.memory import Memory
from controller.policy_file import load_policy
from controller.status.gather import Status
from controller.status.overview import Overview, PoolRow
from tests.scenarios.language import HERE
from tests.scenarios.world import World


def test_standing_alarms_are_listed() -> None:
    """Each in one line of words, and in the JSON with its reason."""
    world = World(load_policy(HERE / "policies" / "small.yaml"))
    world.decide()
    world.reporting.of("prober").skew_ms = -40_000
    for _ in world.run(2_000):
        pass
    standing = alarms(world.snapshot(), world.memory or Memory(), world.now_ms)
    status = Status("g", 0, world.now_ms, None, "", None, Overview((), (), ()), alarms=standing)
    said = io.StringIO()
    draw(status, Console(file=said, width=200))
    lines = [line for line in said.getvalue().splitlines() if line.startswith("alarm: ")]
    assert [line.split()[1] for line in lines] == ["prober:"]
    assert [one["reason"] for one in msgspec.to_builtins(status)["alarms"]] == ["clock_or_delay"]


def test_what_binds_nothing_or_is_not_known_is_not_a_figure() -> None:
    """In mode observe no limit binds; without a statement it is not known."""
    rows = (PoolRow("a/r/d", 0.5, usable_units_per_s=math.inf), PoolRow("b/r/d", 0.5, load_units_per_s=1_500))
    status = Status("g", 0, 0, None, "", None, Overview((), rows, ()))
    _, cells = pool_cells(status, is_wide=True)
    assert [[cell.plain for cell in row[2:5]] for row in cells] == [["-", "-", "-"], ["1,500", "-", "-"]]
