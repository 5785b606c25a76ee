"""Controllers are replaced one after the other under load: a rolling restart, and a rolling upgrade.

Two controllers run. As often as there are replacements, the leader is ended as a service manager ends it
(SIGTERM), the other one takes over, and a new controller is started in the place of the first. Promised is
that no request is lost, that each new leader's first table is the last one of its predecessor, and that every
ended controller says that its end was clean.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from controller.process import clock
from controller.routes.record import RoutesRecord
from lab.demo.continuity import hand_overs, take_over_faults
from lab.demo.run import Run
from lab.demo.scenario import all_healthy

SETTLED_WITHIN_S = 120.0
TABLE_WITHIN_S = 60.0
BOTH = 2


class ReplaceControllers:
    """``trees``: where the code of each replacement lies, None for the code that runs here. A replacement
    from elsewhere is an older version, or a newer one."""

    def __init__(self, trees: Sequence[Path | None]) -> None:
        self._trees = tuple(trees)

    async def __call__(self, run: Run) -> None:
        """Adds to the run's notes and failures."""
        while len(run.fleet.controllers) < BOTH:
            await run.fleet.start_controller()
        for tree in self._trees:
            await self._replace(run, tree)
        await run.wait(lambda: is_settled(run), SETTLED_WITHIN_S, "two controllers and healthy pools")
        for before, after in hand_overs(run.observer.records):
            run.failures += take_over_faults(before, after)

    async def _replace(self, run: Run, tree: Path | None) -> None:
        await run.wait(lambda: is_settled(run), SETTLED_WITHIN_S, "two controllers and healthy pools")
        epoch = _epoch(run.observer.records[-1])
        stopped_ms = clock.now_ms()
        run.say("fault", "the leading controller is ended (SIGTERM)")
        if status := await run.fleet.stop_controller():
            run.failures.append(f"a controller ended with status {status} after SIGTERM")

        def follows() -> bool:
            newest = run.observer.records[-1]
            return _epoch(newest) > epoch and newest.table is not None

        await run.wait(follows, TABLE_WITHIN_S, "a table of the next leader")
        after = next(after for before, after in hand_overs(run.observer.records) if _epoch(before) == epoch)
        run.notes.append(
            f"epoch {epoch} -> {_epoch(after)}: the first table of the next leader came "
            f"{max(0, after.published_ms - stopped_ms) / 1_000:.1f} s after SIGTERM"
        )
        await run.fleet.start_controller(tree)


def _epoch(record: RoutesRecord) -> int:
    return record.generation.epoch


def is_settled(run: Run) -> bool:
    """Whether all pools are healthy, and each controller has partitions."""
    has_partitions = all('"partitions_assigned"' in child.output() for child in run.fleet.controllers)
    return has_partitions and all_healthy(run.picture, clock.now_ms())
