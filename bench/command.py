"""From the shell to the prompt: `script/bench command`.

Real Kafka and Valkey, one `tieline controller` under the example policy, and `CLIENTS` client processes, each
with a client of its own that follows the table and reports once a second.

- `drain wait`: `tieline drain oci/us-chicago-1 --wait`, which ends when 99 % of these clients have reported
  that they use the new table. Each drain is taken back, which is not measured.
- `status`: `tieline status`, which reads six logs of Kafka and the live tables, first beside the controller
  alone, then beside the client processes as well, which leave it a part of the processor.

A sample begins before the process is started and ends when it has ended: Python, imports, connections and
what is waited for are all in it.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

from bench._frame import Case, run
from bench._react_warm import warm
from controller.core.evidence.reported import reporting_clients
from controller.core.inspect.consequences import FORCE_RULES
from controller.policy_file import load_policy
from controller.process.clock import now_ms
from controller.process.connections import connect_redis
from lab.stack.stack import Stack
from streams.tables import RedisTables
from tieline.events import Capacity, Command, PoolCapacity
from tieline.keys import Keys
from tieline.producer import Producer

POLICY = Path(__file__).parents[1] / "examples" / "multicloud.yaml"
CLIENTS = 100
DRAINS = 30
STATUSES = 30
SCOPE = "oci/us-chicago-1"
SETTLED_WITHIN_S = 120.0
HOUR_MS = 3_600_000
AGREED = ("--yes", *(word for rule in FORCE_RULES for word in ("--force", rule)))


class Installation:
    """Stack, controller and clients; all ended together."""

    def __init__(self, undo: AsyncExitStack) -> None:
        self._undo = undo
        self.stack: Stack

    async def start(self) -> None:
        """Returns when the controller decides and all is well."""
        self.stack = await self._undo.enter_async_context(await Stack.start())
        await warm(self.stack.kafka_bootstrap)
        controller = await self._spawn("-m", "controller.cli", "controller", "--policy", str(POLICY))
        async with asyncio.timeout(SETTLED_WITHIN_S):
            while b'"decides now"' not in await controller.stderr.readline():  # type: ignore[union-attr]
                pass
        reading = asyncio.create_task(_drain(controller.stderr))
        self._undo.callback(reading.cancel)
        async with Producer(self.stack.kafka_bootstrap) as producer:
            await _all_is_well(producer)

    async def add_clients(self) -> None:
        """Returns when every client has reported."""
        places = (self.stack.redis_url, self.stack.kafka_bootstrap)
        await self._spawn("-m", "bench._command_clients", *places, str(CLIENTS))
        redis = connect_redis(self.stack.redis_url, Keys())
        tables = RedisTables(redis, Keys())
        async with asyncio.timeout(SETTLED_WITHIN_S):
            while True:
                if reporting_clients((await tables.read()).demand, now_ms()).heard >= CLIENTS:
                    break
                await asyncio.sleep(0.5)
        await redis.aclose()

    async def timed_ms(self, *words: str) -> float:
        """How long this command takes from its start to its end. Raises RuntimeError if it fails."""
        began_ms = time.monotonic() * 1_000
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("tieline"),
            *words,
            env=self._environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        took_ms = time.monotonic() * 1_000 - began_ms
        if process.returncode:
            raise RuntimeError(f"{words} ended with {process.returncode}: {(out + err).decode()}")
        return took_ms

    async def _spawn(self, *arguments: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, env=self._environment(), stderr=asyncio.subprocess.PIPE
        )
        self._undo.push_async_callback(_end, process)
        return process

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "TIELINE_KAFKA": self.stack.kafka_bootstrap,
            "TIELINE_REDIS": self.stack.redis_url,
            "TIELINE_UNSIGNED_DEV_MODE": "1",
        }


async def _all_is_well(producer: Producer) -> None:
    """Every pool's capacity is stated, and an operator calls every provider healthy."""
    policy, at_ms = load_policy(POLICY), now_ms()
    regions: dict[tuple[str, str], list[PoolCapacity]] = {}
    for pool in policy.pools:
        row = PoolCapacity(pool.id, pool.limit_units_per_s)
        regions.setdefault((pool.provider, pool.region), []).append(row)
    for (provider, region), rows in regions.items():
        await producer.send(
            Capacity(
                source="fleet",
                provider=provider,
                region=region,
                incarnation="bench",
                sequence=1,
                issued_ms=at_ms,
                expires_ms=at_ms + HOUR_MS,
                pools=tuple(rows),
            )
        )
    for item in policy.providers:
        await producer.send(
            Command(
                id=f"healthy-{item.id}",
                verb="verdict",
                scope=item.id,
                actor="bench",
                reason="bench",
                issued_ms=at_ms,
                expires_ms=at_ms + HOUR_MS,
                state="healthy",
            )
        )


async def _drain(stream: asyncio.StreamReader | None) -> None:
    while stream is not None and await stream.readline():
        pass


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    await process.wait()


class Samples(NamedTuple):
    """All in milliseconds."""

    alone: list[float]
    drains: list[float]
    beside: list[float]


async def _samples() -> Samples:
    async with AsyncExitStack() as undo:
        world = Installation(undo)
        await world.start()
        alone = [await world.timed_ms("status") for _ in range(STATUSES)]
        await world.add_clients()
        reason = ("--reason", "bench", "--actor", "bench")
        drains = []
        for _ in range(DRAINS):
            drains.append(await world.timed_ms("drain", SCOPE, "--wait", "--for", "10m", *reason, *AGREED))
            await world.timed_ms("undrain", SCOPE, "--wait", *reason, *AGREED)
        return Samples(alone, drains, [await world.timed_ms("status") for _ in range(STATUSES)])


def measure() -> Iterator[Case]:
    """All cases on one stack."""
    samples = asyncio.run(_samples())
    beside = f"{CLIENTS} client processes"
    yield Case(f"drain wait, {beside}", "ms", samples.drains, {"p50": 1_000.0, "p99": 2_000.0})
    yield Case("status", "ms", samples.alone, {"p99": 500.0})
    yield Case(f"status, {beside}", "ms", samples.beside, {"p99": 500.0})


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the children end too
    sys.exit(run("command", measure))
