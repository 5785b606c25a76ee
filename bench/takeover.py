"""The leading controller is killed under load: `script/bench takeover`.

Three brokers (acks=all, min.insync.replicas=2), Valkey behind Sentinels, two controllers as processes,
calling applications and stand-ins as in the demo. The leader is killed (SIGKILL) `KILLS` times, each time
once another controller stands by that has partitions of its own.

- `publication`: from the kill until a reader of the routes log has the next leader's first table.
- `ingest shared`: how long an event waited at most until its row was in Redis, around each kill. The two
  controllers share the partitions, so those of the killed one wait until the group has given them away.
  Load is counted from the end of its second.
- `ingest mirrored`: the same in another run, where each controller reads everything
  (`bench/_mirrored_controller.py`). Such controllers are not shipped: docs/decisions/0019 says why.
- `ingest shared, no kill`, `ingest mirrored, no kill`: the same without a kill, just before each one.
- `processor shared`, `processor mirrored`: what both controllers together used before the kills.
- `weights changed`, `requests lost`: counts of both runs, and neither may happen.
"""

import asyncio
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench._frame import Case, run
from controller.process import clock
from controller.routes.record import RoutesRecord
from lab.demo.command import demo_plan
from lab.demo.continuity import take_over_faults
from lab.demo.fleet import NAMESPACE
from lab.demo.plan import FAST
from lab.demo.rolling import is_settled
from lab.demo.run import Run
from streams.rows import DemandRow, Row
from streams.tables import RedisTables
from tieline.keys import Keys
from tieline.redis_address import SENTINEL
from tieline.redis_client import connect

KILLS = 10
LOOK_EVERY_S = 0.05
SETTLED_WITHIN_S = 90.0
TAKEN_WITHIN_S = 60.0
CALM_S = 5.0
MIRRORED_SILENCE_MS = 3_000  # no silence: a second of load, the rhythm of its reports, and a busy machine
SILENCE_S = 14.0  # longer than Kafka waits for a dead member of the group


class Silent:
    """Shows nothing."""

    def say(self, text: str) -> None:
        """Drops the text."""

    def refresh(self, picture: object) -> None:
        """Draws nothing."""

    def close(self) -> None:
        """Does nothing, as nothing is open."""


class RowWatch:
    """How long events waited until their rows were in Redis."""

    def __init__(self, redis_url: str) -> None:
        self._redis = connect(redis_url, Keys(NAMESPACE), retries=1)
        self._tables = RedisTables(self._redis, Keys(NAMESPACE))
        self._newest: dict[object, int] = {}
        self.longest_ms = 0

    async def run(self) -> None:
        """Looks until cancelled."""
        try:
            while True:
                contents = await self._tables.read()
                at_ms = clock.now_ms()
                rows: list[Row | DemandRow] = [*contents.reports, *contents.capacities, *contents.demand]
                for row in rows:
                    self._note(row, at_ms)
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            await self._redis.aclose()

    def _note(self, row: Row | DemandRow, at_ms: int) -> None:
        if isinstance(row, Row):
            event = row.event
            place: object = (type(event), event.source, event.provider, event.region)
            newest_ms = row.append_ms
        elif row.seconds:
            place, newest_ms = row.position.partition, row.seconds[-1].second_ms + 1_000
        else:
            return
        if newest_ms > self._newest.setdefault(place, newest_ms):
            self._newest[place] = newest_ms
            self.longest_ms = max(self.longest_ms, at_ms - newest_ms)


class Calm(NamedTuple):
    """Some seconds without a fault: the longest that an event waited, and the load of the controllers."""

    longest_ms: float
    processor_percent: float


class Take(NamedTuple):
    """One take-over, and the seconds before it."""

    published_after_ms: float
    silent_ms: float
    calm_ms: float
    processor_percent: float
    changes: float


async def _take_over(world: Run, watch: RowWatch) -> Take:
    """Kills the leader, and starts another controller once its successor has its partitions."""
    await world.wait(lambda: is_settled(world), SETTLED_WITHIN_S, "two controllers and healthy pools")
    calm = await _calm(world, watch)
    former_epoch = world.observer.records[-1].generation.epoch
    killed_ms = clock.now_ms()
    await world.fleet.kill_controller()
    await world.wait(lambda: _next(world, former_epoch) is not None, TAKEN_WITHIN_S, "the next table")
    published_after_ms = float(clock.now_ms() - killed_ms)
    before = [record for record in world.observer.records if record.generation.epoch == former_epoch][-1]
    after = _next(world, former_epoch)
    changes = take_over_faults(before, after) if after is not None else []
    await asyncio.sleep(max(0.0, SILENCE_S - (clock.now_ms() - killed_ms) / 1_000))
    await world.fleet.start_controller()
    return Take(
        published_after_ms,
        float(watch.longest_ms),
        calm_ms=calm.longest_ms,
        processor_percent=calm.processor_percent,
        changes=float(len(changes)),
    )


async def _calm(world: Run, watch: RowWatch) -> Calm:
    """How long events wait while nothing is killed, and what of a core the controllers use. The watch begins
    anew when this returns."""
    watch.longest_ms = 0
    began_s, used_s = asyncio.get_running_loop().time(), _processor_s(world)
    await asyncio.sleep(CALM_S)
    lasted_s = asyncio.get_running_loop().time() - began_s
    calm = Calm(float(watch.longest_ms), 100 * (_processor_s(world) - used_s) / lasted_s)
    watch.longest_ms = 0
    return calm


def _processor_s(world: Run) -> float:
    """Seconds of a processor that the controllers have used so far."""
    ticks = 0
    for child in world.fleet.controllers:
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime and stime, see proc(5)
    return ticks / os.sysconf("SC_CLK_TCK")


def _next(world: Run, former_epoch: int) -> RoutesRecord | None:
    """The first table of a higher epoch."""
    records = (record for record in world.observer.records if record.table is not None)
    return next((record for record in records if record.generation.epoch > former_epoch), None)


async def _measured(controller_module: str) -> tuple[list[Take], int]:
    """The take-overs of controllers that run this module, and how many requests were lost in all of them."""
    with tempfile.TemporaryDirectory() as directory:
        world = Run(demo_plan(FAST), Path(directory), Silent(), cluster=SENTINEL)
        world.fleet.controller_module = controller_module
        try:
            await world.start()
            watch = RowWatch(world.fleet.servers.redis_url)
            watching = asyncio.create_task(watch.run())
            takes = [await _take_over(world, watch) for _ in range(KILLS)]
            watching.cancel()
            await asyncio.wait({watching})
            facts = await world.finish()
        finally:
            await world.close()
    return takes, len(facts.lost)


def measure() -> Iterator[Case]:
    """All cases, from two runs."""
    shared, shared_lost = asyncio.run(_measured("controller.cli"))
    yield Case("publication", "ms", [take.published_after_ms for take in shared], {"p99": 5_000})
    yield from _ingest("shared", shared, {"p99": 10_000})
    mirrored, mirrored_lost = asyncio.run(_measured("bench._mirrored_controller"))
    yield from _ingest("mirrored", mirrored, {"p99": MIRRORED_SILENCE_MS})
    yield Case("weights changed", "faults", [take.changes for take in (*shared, *mirrored)], {"p99": 0})
    yield Case("requests lost", "requests", [float(shared_lost + mirrored_lost)], {"p99": 0})


def _ingest(name: str, takes: list[Take], targets: dict[str, float]) -> Iterator[Case]:
    yield Case(f"ingest {name}", "ms", [take.silent_ms for take in takes], targets)
    yield Case(f"ingest {name}, no kill", "ms", [take.calm_ms for take in takes])
    yield Case(f"processor {name}", "% of a core", [take.processor_percent for take in takes])


if __name__ == "__main__":
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it complains of what is killed
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the children end too
    sys.exit(run("takeover", measure))
