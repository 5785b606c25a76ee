"""The cases of `script/bench scale` about clients: how soon all are told of a table, and what that costs.

1,000 clients, each with its own two connections to one Valkey, in two processes; every publication changes
every route. A sample is one client: from the moment at which the leader hands the table to its projection
until the client has it in force. An urgent table is read at once, others after a random wait of up to 200 ms.
Between publications the clients only poll. `through a replica`: clients of a replica of that Valkey. `through
tieline web`: clients of that endpoint, which alone reads Valkey. They send no reports.
"""

import asyncio
import json
import os
import secrets
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

from redis.asyncio import Redis

from bench._frame import Case
from bench._plan_world import Size
from bench._scale_processes import Child, free_port, processor_s, start
from bench._scale_tables import next_table, words
from controller.routes.projection import Projector
from controller.web.admission import TOKENS
from lab.stack.valkey import Valkey
from tieline.cancelling import end_all
from tieline.keys import Keys
from tieline.table import RouteTable

CLIENTS = (100, 300, 1_000)
PROCESSES = 2
PUBLICATIONS = 6
IDLE_S = 4.0
QUIET_S = 0.3  # between two publications
APPLIED_WITHIN_S = 30.0
STARTED_WITHIN_S = 90.0
TOLD_WITHIN_MS = 1_000.0  # promised, p99
PROMISED_POOLS = 400
KIB = 1_024
KEYS = Keys()
REPLICA, WEB = " through a replica", " through tieline web"


class Traffic(NamedTuple):
    """What Valkey has done since it began, and how many seconds it, the relay and the clients have worked."""

    at_s: float
    sent_bytes: int
    commands: int
    valkey_s: float
    relay_s: float
    clients_s: float


class Told(NamedTuple):
    """How many milliseconds each client waited, for all publications, and the traffic before and after."""

    waits_ms: list[float]
    before: Traffic
    after: Traffic


class Place:
    """One Valkey with its clients. ``via``: directly, through a replica of it, or through `tieline web`."""

    def __init__(self, undo: AsyncExitStack, directory: Path, via: str) -> None:
        self._undo = undo
        self._directory = directory
        self._via = via
        self._server = Valkey(directory / "valkey")
        self._address = ""
        self._relay: Child | None = None
        self._crowds: list[Child] = []
        self.count = 0

    async def open(self, table: RouteTable) -> None:
        """Starts the servers and projects the first table."""
        leader = self._server
        await self._start(leader)
        if self._via == REPLICA:
            self._server = Valkey(self._directory / "replica", {"replicaof": f"127.0.0.1 {leader.port}"})
            await self._start(self._server)
        self._redis, self._info = Redis.from_url(leader.url), Redis.from_url(self._server.url)
        self.projector = Projector(self._redis, KEYS)
        running = asyncio.create_task(self.projector.run())
        self._undo.push_async_callback(self._redis.aclose)
        self._undo.push_async_callback(self._info.aclose)
        self._undo.push_async_callback(end_all, [running])
        self.projector.project(table, 0)
        await self.projector.head_start(APPLIED_WITHIN_S)
        self._address = self._server.url
        if self._via == WEB:
            await self._start_web()

    async def _start(self, server: Valkey) -> None:
        await server.start()
        self._undo.push_async_callback(server.kill)

    async def _start_web(self) -> None:
        place = f"127.0.0.1:{free_port()}"
        os.environ[TOKENS] = secrets.token_urlsafe()  # for the endpoint, and for clients
        words = ("web", "--redis", self._server.url, "--listen", place, "--requests-per-s", "100000")
        self._relay = await start(self._undo, self._directory / "web", "controller.cli", *words)
        await self._relay.until(b"listening", STARTED_WITHIN_S)
        self._address = f"http://{place}"

    async def fill_up(self, count: int, table: RouteTable) -> None:
        """Returns when that many clients have the table."""
        each = (count - self.count) // PROCESSES
        routes = [route.name for route in table.routes]
        started = []
        for _ in range(PROCESSES):
            output = self._directory / f"clients-{len(self._crowds)}"
            words = (self._address, str(each), *routes)
            child = await start(self._undo, output, "bench._scale_clients", *words)
            self._crowds.append(child)
            started.append(child)
        for child in started:
            await child.until(f'"{table.generation}"'.encode(), STARTED_WITHIN_S)
        self.count += each * PROCESSES

    async def traffic(self) -> Traffic:
        """Now."""
        stats, cpu = await self._info.info("stats"), await self._info.info("cpu")
        return Traffic(
            time.perf_counter(),
            stats["total_net_output_bytes"],
            stats["total_commands_processed"],
            valkey_s=cpu["used_cpu_sys"] + cpu["used_cpu_user"],
            relay_s=processor_s(self._relay.process.pid) if self._relay is not None else 0.0,
            clients_s=sum(processor_s(child.process.pid) for child in self._crowds),
        )

    async def idle(self) -> tuple[Traffic, Traffic]:
        """The traffic of some seconds without a publication."""
        before = await self.traffic()
        await asyncio.sleep(IDLE_S)
        return before, await self.traffic()

    async def tell(self, table: RouteTable, *, urgent: bool) -> tuple[RouteTable, Told]:
        """Publishes some tables, one after the other, and returns the last one."""
        waits_ms: list[float] = []
        before = await self.traffic()
        for _ in range(PUBLICATIONS):
            table = next_table(table)
            generation = table.generation
            began_ms = time.monotonic() * 1e3
            self.projector.project(table, generation.seq if urgent else 0)
            for child in self._crowds:
                line = await child.until(f'"{generation}"'.encode(), APPLIED_WITHIN_S)
                waits_ms += [at_ms - began_ms for at_ms in json.loads(line)["at_ms"]]
            await asyncio.sleep(QUIET_S)
        return table, Told(waits_ms, before, await self.traffic())


def _idle_cases(where: str, count: int, before: Traffic, after: Traffic) -> list[Case]:
    seconds = after.at_s - before.at_s
    figures = {
        ("", "KiB/s"): (after.sent_bytes - before.sent_bytes) / KIB,
        ("", "commands/s"): float(after.commands - before.commands),
        (": Valkey", "ms/s"): (after.valkey_s - before.valkey_s) * 1e3,
        (": relay", "ms/s"): (after.relay_s - before.relay_s) * 1e3,
        (": one client", "ms/s"): (after.clients_s - before.clients_s) * 1e3 / count,
    }
    return [
        Case(f"idle, {where}{what}", unit, [total / seconds])
        for (what, unit), total in figures.items()
        if total or what != ": relay"
    ]


def _told_cases(name: str, told: Told, idle: tuple[Traffic, Traffic], *, promised: bool) -> list[Case]:
    """What came on top of idling is what the publications cost."""
    calm, busy = _differences(*idle), _differences(told.before, told.after)
    share = busy.at_s / calm.at_s
    sent = busy.sent_bytes - calm.sent_bytes * share
    relay_s = busy.relay_s - calm.relay_s * share
    cases = [
        Case(name, "ms", told.waits_ms, {"p99": TOLD_WITHIN_MS} if promised else {}),
        Case(f"{name}: sent", "KiB/publication", [sent / KIB / PUBLICATIONS]),
    ]
    if relay_s:
        cases.append(Case(f"{name}: relay", "ms/publication", [relay_s * 1e3 / PUBLICATIONS]))
    return cases


def _differences(before: Traffic, after: Traffic) -> Traffic:
    return Traffic._make(end - start for start, end in zip(before, after, strict=True))


async def _measured(size: Size, table: RouteTable, counts: Sequence[int], via: str) -> list[Case]:
    cases = []
    async with AsyncExitStack() as undo:
        directory = Path(undo.enter_context(tempfile.TemporaryDirectory()))
        place = Place(undo, directory, via)
        await place.open(table)
        for count in counts:
            await place.fill_up(count, table)
            where = f"{count} clients{via}, {words(size)}"
            idle = await place.idle()
            cases += _idle_cases(where, count, *idle)
            for urgent in (False, True):
                table, told = await place.tell(table, urgent=urgent)
                name = f"told, {where}{', urgent' if urgent else ''}"
                cases += _told_cases(name, told, idle, promised=size.pools == PROMISED_POOLS)
    return cases


def told_cases(size: Size, table: RouteTable, counts: Sequence[int] = CLIENTS, via: str = "") -> list[Case]:
    """For each number of clients: what idling costs, and what a publication does."""
    return asyncio.run(_measured(size, table, counts, via))
