"""What `tieline picker` adds to a request through a real Envoy: `script/bench picker`.

A pair is one request to a listener of Envoy without a picker and one to a listener with it, in turns; a
sample is how much longer the second took. Pairs come at a steady pace over 1, 16 and 64 connections.
`request`: Envoy sends the request's headers. `headers`: those of the answer too, which is how outcomes are
learned. `buffered`: the request's body as well, because no header names the model. `processor` is what one
request costs the picker, and what it costs Envoy more than without, while 16 connections ask as fast as they
are answered; `throughput` is that pace. Envoy, the picker (one process each), the server behind them and the
callers share this machine.
"""

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import uvloop

from bench._frame import Case, run
from bench._picker_load import BY_BODY, HEAD, busy, pairs, processor_us
from bench._pools import running, write_table
from lab.children import Child
from lab.picked_envoy import LISTENERS, PickedEnvoy
from lab.stack.server import LOOPBACK, free_ports
from tools import toolchains

POOLS = 4
PAIRS = 1_280
PAIRS_PER_S = 200.0
CONNECTIONS = (1, 16, 64)
ROUNDS = 5
ROUND_S = 1.0
AT_ONCE = 16
TARGET = {"p50": 1_000.0}
MODES = {"request": HEAD, "headers": HEAD, "buffered": BY_BODY}
FILE = """
listen: {listen}
tables: {table}
drain_s: 0
routes: [{{workload: chat, origin: eu}}]
"""


async def _measure(directory: Path, urls: list[str]) -> list[Case]:
    listen, table = f"{LOOPBACK}:{free_ports(1)[0]}", directory / "routes.bin"
    write_table(table, urls)
    file = directory / "picker.yaml"
    file.write_text(FILE.format(listen=listen, table=table))
    command = [sys.executable, "-m", "controller.cli", "picker", "--config", str(file)]
    picker = await Child.start("the picker", command, log=directory / "picker.log")
    envoy = PickedEnvoy(
        directory / "envoy",
        toolchains.envoy(),
        picker=listen,
        pools=[url.split("/")[2] for url in urls],
    )
    try:
        await picker.until_ready(lambda: _is_listening(picker), 60)
        await envoy.start()
        return [*await _added(envoy), *await _costs(envoy, picker)]
    finally:
        await envoy.stop()
        await picker.stop()


async def _is_listening(picker: Child) -> bool:
    return '"listening"' in picker.log.read_text()


async def _added(envoy: PickedEnvoy) -> list[Case]:
    cases = []
    for mode, head in MODES.items():
        for connections in CONNECTIONS:
            ports = (_port(envoy, "bare"), _port(envoy, mode))
            bare, added = await pairs(ports, head, connections=connections, count=PAIRS, per_s=PAIRS_PER_S)
            cases.append(Case(f"added {mode}, {connections} connections", "us", added, TARGET))
            if mode == "headers":
                cases.append(Case(f"bare Envoy, {connections} connections", "us", bare))
    return cases


async def _costs(envoy: PickedEnvoy, picker: Child) -> list[Case]:
    rates: dict[str, list[float]] = {mode: [] for mode in ("bare", *MODES)}
    of_envoy: dict[str, list[float]] = {mode: [] for mode in rates}
    of_picker: dict[str, list[float]] = {mode: [] for mode in MODES}
    for _ in range(ROUNDS):
        for mode in rates:
            before = processor_us(envoy.pid), processor_us(picker.pid)
            head = MODES.get(mode, HEAD)
            count = await busy(_port(envoy, mode), head, connections=AT_ONCE, for_s=ROUND_S)
            rates[mode].append(count / ROUND_S)
            of_envoy[mode].append((processor_us(envoy.pid) - before[0]) / count)
            if mode in of_picker:
                of_picker[mode].append((processor_us(picker.pid) - before[1]) / count)
    cases = []
    for mode in MODES:
        more = [
            with_picker - bare for with_picker, bare in zip(of_envoy[mode], of_envoy["bare"], strict=True)
        ]
        cases.append(Case(f"processor of the picker, {mode}", "us", of_picker[mode]))
        cases.append(Case(f"processor of Envoy, more, {mode}", "us", more))
    return cases + [Case(f"throughput {mode}", "requests/s", rates[mode]) for mode in rates]


def _port(envoy: PickedEnvoy, listener: str) -> int:
    return envoy.ports[list(LISTENERS).index(listener)]


def measure() -> Iterator[Case]:
    """Time added, processor time, throughput."""
    with (
        running(*["fine"] * POOLS) as pools,
        tempfile.TemporaryDirectory() as directory,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        yield from runner.run(_measure(Path(directory), pools.urls))


if __name__ == "__main__":
    sys.exit(run("picker", measure))
