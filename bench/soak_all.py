"""Whether anything grows while everything runs: `script/bench soak_all [--minutes 60] [--samples FILE]`.

Kafka, Valkey and every process of an installation run on this machine under a steady load
(_soak_world.py). A cycle of five minutes begins with an incident, each time another; its last two fifths are
rest. Every ten seconds a sample is taken of each process, of Redis and of Kafka's directory
(_soak_samples.py) and appended to FILE. At the end each measure is projected to 30 days and held against its
limit (_soak_slopes.py), which docs/bounds.md names. The first cycles warm up and don't count. `--judge FILE`
only judges samples that are there, also those of a run that goes on.
"""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import aiohttp
import msgspec

from bench import _soak_samples as sampling
from bench._frame import report
from bench._soak_slopes import Sample, cases_of
from bench._soak_world import Installation
from lab.demo.fleet import NAMESPACE
from lab.errors import ChildError
from lab.standins.process import StandinProcess

CYCLE_S, SAMPLE_EVERY_S = 300.0, 10.0
INCIDENT_SHARE, REST_SHARE = 0.25, 0.6  # of a cycle: where the incident ends, where rest begins
WARM_UP_MINUTES = 15.0
LEADER_PAUSED_S = 8.0


class Line(msgspec.Struct, frozen=True):
    """One line of the samples' file. ``values``: (subject, measure, value)."""

    at_s: float
    cycle: int
    at_rest: bool
    values: list[tuple[str, str, float]]


Incident = Callable[[Installation], Awaitable[None]]


async def _hang(world: Installation) -> None:
    world.fleet.standins["azure/swedencentral"].pause()


async def _fail(world: Installation) -> None:
    await _of(world, "gcp").fault("503", share=0.7)


async def _throttle(world: Installation) -> None:
    await _of(world, "coreweave").fault("429", share=0.7, retry_after_ms=500)


async def _kill(world: Installation) -> None:
    await world.fleet.standins["azure/westus3"].kill()


async def _cut(world: Installation) -> None:
    await _of(world, "azure").fault("cut", after_chunks=1, share=0.5)


async def _shrink(world: Installation) -> None:
    await _of(world, "coreweave").capacity(factor=0.5)


async def _pause_leader(world: Installation) -> None:
    leader = world.fleet.controller
    leader.pause()
    await asyncio.sleep(LEADER_PAUSED_S)
    leader.resume()


async def _drop_redis(world: Installation) -> None:
    from redis.asyncio import Redis

    async with Redis.from_url(world.fleet.stack.redis_url) as redis:
        await redis.client_kill_filter(_type="normal", skipme=True)


# The first one makes the other controller lead, so that both have led before samples count.
INCIDENTS: tuple[Incident, ...] = (
    _pause_leader, _fail, _throttle, _kill, _hang, _cut, _drop_redis, _shrink,
)  # fmt: skip


def _of(world: Installation, provider: str) -> StandinProcess:
    return next(standin for name, standin in world.fleet.standins.items() if name.startswith(provider))


async def _recover(world: Installation) -> None:
    """Takes back whatever the incidents did. What can't be done now, on a machine that is too busy, is done
    after the next incident."""
    for region, standin in list(world.fleet.standins.items()):
        standin.resume()
        with contextlib.suppress(ChildError, aiohttp.ClientError, TimeoutError):
            if standin.running:
                await standin.clear()
                await standin.capacity(factor=1.0)
            else:
                await world.fleet.revive(region)


async def _trouble(world: Installation, cycle_s: float, began_s: float) -> None:
    """One incident a cycle, and all that comes with it."""
    cycle = 0
    while True:
        incident = INCIDENTS[cycle % len(INCIDENTS)]
        await asyncio.gather(incident(world), world.outsiders(cycle, ill=True))
        await _until(began_s + (cycle + INCIDENT_SHARE) * cycle_s)
        await asyncio.gather(_recover(world), world.outsiders(cycle, ill=False))
        cycle += 1
        await _until(began_s + cycle * cycle_s)


async def _until(at_s: float) -> None:
    await asyncio.sleep(max(0.0, at_s - time.monotonic()))


async def _moment(world: Installation, logs: sampling.Logs) -> sampling.Moment:
    stack = world.fleet.stack
    return {
        **logs.read(world.children),
        **await asyncio.to_thread(sampling.processes, world.children),
        **await asyncio.to_thread(sampling.topics, stack.directory / "kafka" / "data"),
        **await sampling.redis_side(stack.redis_url),
        **await sampling.series(world.http, world.monitors),
        ("kafka", "kafka connections"): sampling.connections_to(stack.kafka.port),
    }


async def _run(minutes: float, cycle_s: float, file: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="tieline-soak-") as directory:
        world = Installation(Path(directory))
        try:
            await world.start()
            began_s = time.monotonic()
            trouble = asyncio.create_task(_trouble(world, cycle_s, began_s))
            logs = sampling.Logs()
            every_s = min(SAMPLE_EVERY_S, cycle_s / 20)
            while (at_s := time.monotonic() - began_s) < minutes * 60:
                _append(file, at_s, cycle_s, await _moment(world, logs))
                if trouble.done():
                    trouble.result()
                world.fleet.require_running()
                await asyncio.sleep(every_s)
            trouble.cancel()
        finally:
            await world.stop()


def _append(file: Path, at_s: float, cycle_s: float, moment: sampling.Moment) -> None:
    cycle, rest = divmod(at_s, cycle_s)
    values = [(subject, measure, value) for (subject, measure), value in sorted(moment.items())]
    line = Line(at_s, int(cycle), at_rest=rest >= REST_SHARE * cycle_s, values=values)
    with file.open("ab") as out:
        out.write(msgspec.json.encode(line) + b"\n")


def read_series(file: Path, warm_up_s: float) -> dict[tuple[str, str], Sequence[Sample]]:
    """The samples of a file by subject and measure, without those of the warm-up."""
    series: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for text in file.read_bytes().splitlines():
        line = msgspec.json.decode(text, type=Line)
        if line.at_s >= warm_up_s:
            for subject, measure, value in line.values:
                series[subject, measure].append(
                    Sample(line.at_s / 3600, value, line.cycle, at_rest=line.at_rest)
                )
    return dict(series)


def main() -> int:
    """Runs, unless it is only to judge, and prints what it found."""
    parser = argparse.ArgumentParser(prog="script/bench soak_all")
    parser.add_argument("--minutes", type=float, default=60.0, help="the warm-up included (60)")
    parser.add_argument(
        "--warm-up", type=float, default=WARM_UP_MINUTES, help="minutes that don't count (15)"
    )
    parser.add_argument(
        "--cycle", type=float, default=CYCLE_S, help="seconds from incident to incident (300)"
    )
    parser.add_argument("--samples", type=Path, help="append the samples to this file, and keep it")
    parser.add_argument("--judge", type=Path, metavar="FILE", help="only judge the samples of an earlier run")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    chosen = parser.parse_args()
    with tempfile.NamedTemporaryFile() as scratch:
        file = chosen.judge or chosen.samples or Path(scratch.name)
        if chosen.judge is None:
            logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it tells of topics that are just made
            asyncio.run(_run(chosen.minutes, chosen.cycle, file))
        report("soak_all", cases_of(read_series(file, chosen.warm_up * 60), NAMESPACE), as_json=chosen.json)
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the children end too
    sys.exit(main())
