"""From an event to its effect in another process: `script/bench react`.

Real Kafka (acks=all) and Valkey, `tieline controller` as a process, a `tieline.AsyncClient` in another, a
policy of 402 pools. A sample begins before the producer takes the event and ends when the client has the new
table in force: Kafka, Faust, fold, decision, Kafka (meanwhile the Lua compare-and-set of the row), Lua
projection, the hint that carries the table, check, swap. The broker is warm (_react_warm.py) and each event
forces a move (_react_world.py); clocks are the machine's steady one.
"""

import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

from bench._frame import Case, run
from bench._react_warm import warm
from bench._react_world import measured_event, policy_as_yaml
from lab.stack.stack import Stack
from tieline.producer import Producer

EVENTS = 200
WARM_UP = 20
SPACING_S = (0.08, 0.18)
APPLIED_WITHIN_S = 10.0
SETTLED_WITHIN_S = 30.0
BOTH = ("both",)
CASES = {
    "idle": (False, BOTH, {"p50": 6.0, "p99": 12.0}),
    "1000 records/s": (True, BOTH, {"p50": 10.0, "p99": 50.0}),
    "1000 records/s, ingestion apart": (True, ("ingest", "decide"), {"p50": 10.0, "p99": 50.0}),
}


class Installation:
    """Stack, controller, client and, if there is to be one, background; all ended together."""

    def __init__(self, undo: AsyncExitStack) -> None:
        self._undo = undo
        self.stack: Stack
        self.client: asyncio.subprocess.Process

    async def start(self, *, background: bool, roles: tuple[str, ...]) -> None:
        """Starts a controller of each role, the last of which decides. Returns when that one has settled."""
        self.stack = await self._undo.enter_async_context(await Stack.start())
        await warm(self.stack.kafka_bootstrap)
        directory = Path(self._undo.enter_context(tempfile.TemporaryDirectory()))
        policy = directory / "policy.yaml"
        policy.write_text(policy_as_yaml())
        places = ("--kafka", self.stack.kafka_bootstrap, "--redis", self.stack.redis_url)
        for role in roles:
            words = ("controller", *places, "--policy", str(policy), "--role", role)
            controller = await self._spawn("controller.cli", *words)
            ready = b'"decides now"' if role is roles[-1] else b'"partitions_assigned"'
            await _line(controller.stderr, ready, SETTLED_WITHIN_S)
            self._drain_later(controller.stderr)
        if background:
            load = await self._spawn("bench._react_load", self.stack.kafka_bootstrap)
            await _line(load.stdout, b"ready", SETTLED_WITHIN_S)
        self.client = await self._spawn("bench._react_client", self.stack.redis_url)
        await _line(self.client.stdout, b"react:", SETTLED_WITHIN_S)

    async def applied_ms(self, after_ms: float) -> float:
        """When the next urgent table came into force, on the steady clock."""
        assert self.client.stdout is not None
        async with asyncio.timeout(APPLIED_WITHIN_S):
            while line := await self.client.stdout.readline():
                _, urgent, at_ms = line.split()
                if urgent == b"1" and float(at_ms) > after_ms:
                    return float(at_ms)
        raise RuntimeError("the client has ended")

    async def _spawn(self, module: str, *arguments: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *arguments,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE if module == "controller.cli" else None,
        )
        self._undo.push_async_callback(_end, process)
        return process

    def _drain_later(self, stream: asyncio.StreamReader | None) -> None:
        task = asyncio.create_task(_drain(stream))
        self._undo.callback(task.cancel)


async def _line(stream: asyncio.StreamReader | None, wanted: bytes, within_s: float) -> bytes:
    assert stream is not None
    seen = []
    async with asyncio.timeout(within_s):
        while line := await stream.readline():
            seen.append(line)
            if wanted in line:
                return line
    raise RuntimeError(b"".join(seen[-20:]).decode())


async def _drain(stream: asyncio.StreamReader | None) -> None:
    while stream is not None and (line := await stream.readline()):
        if os.environ.get("REACT_LOG"):
            sys.stderr.buffer.write(line)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


async def _samples(*, background: bool, roles: tuple[str, ...]) -> list[float]:
    samples = []
    async with AsyncExitStack() as undo:
        world = Installation(undo)
        await world.start(background=background, roles=roles)
        async with Producer(world.stack.kafka_bootstrap) as producer:
            for number in range(1, WARM_UP + EVENTS + 1):
                await asyncio.sleep(random.uniform(*SPACING_S))
                event = measured_event(number, time.time_ns() // 1_000_000)
                began_ms = time.monotonic() * 1_000
                sending = asyncio.create_task(producer.send(event))
                applied_ms = await world.applied_ms(began_ms)
                await sending
                if number > WARM_UP:
                    samples.append(applied_ms - began_ms)
    return samples


def measure() -> Iterator[Case]:
    """All cases, each on a stack of its own."""
    for name, (background, roles, target) in CASES.items():
        yield Case(name, "ms", asyncio.run(_samples(background=background, roles=roles)), target)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the children end too
    sys.exit(run("react", measure))
