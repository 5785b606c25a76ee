"""Whether faults make anything grow: `script/bench soak [--minutes 10] [--warm-up 3] [--json]`.

Two runs of a process that asks for as much as the machine holds. Both warm up with random faults, so that
either has once met them all; then one goes on without, the other with them, for so many minutes. `... growth`
is the slope of a line through the last 80 % of the samples, one a second: what is left behind by failed
attempts, broken streams, ejections and lost connections would show as a steeper one. `memory` is what the
system has given the process; `blocks` are the pieces of it that Python uses, those that its collector doesn't
track (strings, bytes, numbers) included.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench._frame import Case, report
from lab.standins.config import Latency, PoolConfig, StandinConfig
from lab.standins.process import StandinProcess
from tieline._tables.last_good import write_last_good
from tieline.table import ClientSettings, Generation, ModelOffer, PoolInfo, Route, RouteTable, Split, slices

PLACES = (("azure", "uksouth"), ("gcp", "europe-west4"), ("oci", "uk-london-1"))
LATENCY = Latency(first_token_ms=5, spread=0.1, load_growth=0, token_ms=0.1)
SETTINGS = ClientSettings(first_token_timeout_ms=1_000, idle_timeout_ms=1_000)
FAULTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("503", {"share": 0.5}),
    ("429", {"share": 0.7, "retry_after_ms": 500}),
    ("hang", {"share": 0.2}),
    ("reset", {"share": 0.5}),
    ("refuse", {}),
    ("cut", {"after_chunks": 1, "share": 0.5}),
    ("end_without_done", {"after_chunks": 1, "share": 0.5}),
    ("error_event", {"after_chunks": 0}),
    ("slow_first_token", {"delay_ms": 1_500, "share": 0.3}),
)
FAULT_S = (0.5, 4.0)
LAST_SHARE = 0.8
UNITS = {
    "memory_kib": "KiB",
    "blocks": "blocks",
    "objects": "objects",
    "descriptors": "open",
    "tasks": "tasks",
}
SEED = 11


def growth_per_minute(samples: Sequence[float]) -> float:
    """The slope of the least-squares line through the last 80 % of samples taken once a second, a minute."""
    last = samples[len(samples) - round(len(samples) * LAST_SHARE) :]
    if len(last) < 2:
        raise ValueError("too few samples for a slope")
    middle, mean = (len(last) - 1) / 2, sum(last) / len(last)
    above = sum((index - middle) * (value - mean) for index, value in enumerate(last))
    return 60 * above / sum((index - middle) ** 2 for index in range(len(last)))


def _write_table(path: Path, running: Sequence[StandinProcess]) -> None:
    offers = (ModelOffer("chat-large", "big"),)
    pools = tuple(PoolInfo(p, "eu", one.url(p), models=offers) for one in running for p in one.ports)
    third = 1_000_000 // len(pools)
    weights = (1_000_000 - third * (len(pools) - 1), *(third,) * (len(pools) - 1))
    route = Route("chat", "eu", "critical", Split(tuple(range(len(pools))), weights))
    table = RouteTable(Generation("soak", 1, 1), 1, pools, (route,), SETTINGS)
    write_last_good(path, table.generation, {"eu": slices(table)["chat/eu"]})


async def _trouble(running: Sequence[StandinProcess]) -> None:
    """One fault after the other, now here, now there; one pool at a time is spared."""
    chance = random.Random(SEED)
    while True:
        spared = chance.choice(running)
        for one in running:
            await one.clear()
            if one is not spared:
                kind, fields = chance.choice(FAULTS)
                await one.fault(kind, **fields)
        await asyncio.sleep(chance.uniform(*FAULT_S))


async def _quiet_down(trouble: asyncio.Task[None], running: Sequence[StandinProcess]) -> None:
    trouble.cancel()
    await asyncio.gather(trouble, return_exceptions=True)
    for one in running:
        await one.clear()


async def _run(seconds: float, warm_up_s: float, *, faults: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory:
        running: list[StandinProcess] = []
        try:
            for provider, region in PLACES:
                pool = PoolConfig("gpt", ("big",), tokens_per_s=1e7, latency=LATENCY)
                config = StandinConfig(provider, region, (pool,), log_dir=directory)
                running.append(await StandinProcess.spawn(config))
            path = Path(directory) / "routes.bin"
            _write_table(path, running)
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bench._soak_load", str(path), str(warm_up_s), str(seconds)),
                stdout=asyncio.subprocess.PIPE,
                limit=64 * 1024 * 1024,
            )
            trouble = asyncio.create_task(_trouble(running))
            ended = asyncio.create_task(child.communicate())
            await asyncio.wait([ended], timeout=None if faults else warm_up_s)
            await _quiet_down(trouble, running)
            told, _ = await ended
            if child.returncode:
                raise RuntimeError(f"the application ended with status {child.returncode}")
            found: dict[str, Any] = json.loads(told)
            return found
        finally:
            for one in running:
                await one.stop()


def _cases(name: str, told: dict[str, Any]) -> list[Case]:
    column: dict[str, list[float]] = told["samples"]
    rates = [
        after - before for before, after in zip(column["requests"], column["requests"][1:], strict=False)
    ]
    cases = [Case(f"{name}: rate", "requests/s", rates)]
    for key, unit in UNITS.items():
        title = key.removesuffix("_kib")
        cases.append(Case(f"{name}: {title}", unit, column[key]))
        cases.append(Case(f"{name}: {title} growth", f"{unit}/min", [growth_per_minute(column[key])]))
    total = sum(told["results"].values())
    good = told["results"].get("200", 0)
    cases.append(Case(f"{name}: answered 200", "%", [100 * good / max(1, total)]))
    return cases


def main() -> int:
    """Both runs, then the table."""
    parser = argparse.ArgumentParser(prog="script/bench soak")
    parser.add_argument("--minutes", type=float, default=10.0, help="of each of the two runs (10)")
    parser.add_argument("--warm-up", type=float, default=3.0, help="minutes before each of them (3)")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    chosen = parser.parse_args()
    cases = []
    for name, faults in (("calm", False), ("faults", True)):
        told = asyncio.run(_run(chosen.minutes * 60, chosen.warm_up * 60, faults=faults))
        cases += _cases(name, told)
    report("soak", cases, as_json=chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
