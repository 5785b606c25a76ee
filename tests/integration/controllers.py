"""Controllers as processes of their own, for the tests that kill, pause and command them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.core.inspect.consequences import FORCE_RULES
from controller.kafka.ordered_log import Tail
from controller.leading.routes_reader import RoutesReader
from controller.process.settings import Settings
from controller.routes.record import RoutesRecord, decode_record
from tests.integration.replicated import brokers_in
from tests.places import EXAMPLE_POLICY
from tests.waiting import until

POLICY = EXAMPLE_POLICY
# Whatever an order sheds, and however long it takes on a slow machine.
FORCED = ("--within", "60s", "--yes", *(word for rule in FORCE_RULES for word in ("--force", rule)))
MAIN = "import sys; from controller.cli import main; sys.exit(main())"


def settings_of(kafka: str, redis: str, prefix: str) -> Settings:
    """Of one test. Topics have a replica on each of the brokers that ``kafka`` names."""
    namespace, brokers = prefix.rstrip("."), brokers_in(kafka)
    return Settings(kafka, redis, namespace, POLICY, unsigned=True, replication=brokers)


def environment(settings: Settings) -> dict[str, str]:
    """What the command `tieline` is told through."""
    return {
        **os.environ,
        "XDG_CONFIG_HOME": "/nowhere",  # the contexts of whoever runs the tests don't count
        "TIELINE_KAFKA": str(settings.kafka),
        "TIELINE_REDIS": settings.redis,
        "TIELINE_NAMESPACE": settings.namespace,
        "TIELINE_POLICY": str(settings.policy),
        "TIELINE_UNSIGNED_DEV_MODE": str(int(settings.unsigned)),
        "TIELINE_SIGNING_KEY_FILE": str(settings.signing_key or ""),
        "TIELINE_CONTROLLER_KEYS_FILE": str(settings.controller_keys or ""),
        "TIELINE_REPLICATION": str(settings.replication),
    }


@dataclass
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


async def tieline(settings: Settings, *arguments: str, **overrides: str) -> Ended:
    """Runs one short command to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        MAIN,
        *arguments,
        env={**environment(settings), **overrides},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(120):
        out, err = await process.communicate()
    return Ended(process.returncode or 0, out.decode(), err.decode())


class ControllerProcess:
    """One `tieline controller`, or another command that runs until it is told to end; `log` is what it has
    said so far, one JSON object a line."""

    def __init__(
        self, settings: Settings, log_path: Path, *command: str, main: str = MAIN, **overrides: str
    ) -> None:
        self._main = main
        self._environment = {**environment(settings), **overrides}
        self._log_path = log_path
        self._command = command or ("controller",)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> ControllerProcess:
        with self._log_path.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", self._main, *self._command, env=self._environment, stderr=log
            )
        return self

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self._process is not None
        return self._process

    def log(self) -> list[dict[str, Any]]:
        lines = self._log_path.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def text(self) -> str:
        """All that it has written."""
        return self._log_path.read_text()

    def said(self, event: str) -> list[dict[str, Any]]:
        """Its lines of this event."""
        return [line for line in self.log() if line["event"] == event]

    async def until_said(self, event: str, times: int = 1) -> dict[str, Any]:
        """The last line of this event once there are that many."""

        def enough() -> list[dict[str, Any]]:
            assert self.process.returncode is None, self._log_path.read_text()[-3_000:]
            found = self.said(event)
            return found if len(found) >= times else []

        return (await until(enough, what=f"{event!r} in the log"))[-1]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def stop(self) -> int:
        """SIGTERM, and its exit status."""
        if self.process.returncode is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            return await self.process.wait()

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.signal(signal.SIGKILL)
        await self.process.wait()


class Fleet:
    """The controllers of one test, all ended with it."""

    def __init__(self, settings: Settings, directory: Path) -> None:
        self.settings = settings
        self._directory = directory
        self._all: list[ControllerProcess] = []

    async def add(self) -> ControllerProcess:
        path = self._directory / f"controller-{len(self._all)}.log"
        return await self.keep(ControllerProcess(self.settings, path))

    async def keep(self, process: ControllerProcess) -> ControllerProcess:
        """Starts this one, which ends with the others."""
        self._all.append(await process.start())
        return self._all[-1]

    async def __aenter__(self) -> Fleet:
        return self

    async def __aexit__(self, *_: object) -> None:
        for one in self._all:
            await one.kill()

    def routes(self) -> RoutesReader:
        return RoutesReader(self.settings)


@asynccontextmanager
async def led(kafka: str, redis: str, directory: Path) -> AsyncIterator[Fleet]:
    """A controller that leads, for several tests of one module, which leave no order in force."""
    async with Fleet(settings_of(kafka, redis, f"t{uuid.uuid4().hex[:12]}."), directory) as fleet:
        controller = await fleet.add()
        await controller.until_said("decides now")
        yield fleet


async def leader_and_standby(fleet: Fleet) -> tuple[ControllerProcess, ControllerProcess]:
    """The first leads before the second starts; the second has read all logs."""
    leader = await fleet.add()
    await leader.until_said("decides now")
    standby = await fleet.add()
    await standby.until_said("partitions_assigned")
    return leader, standby


async def newest(fleet: Fleet) -> RoutesRecord:
    """The newest publication that counts."""
    async with fleet.routes() as routes:
        record = routes.newest()
    assert record is not None
    return record


async def publications(fleet: Fleet) -> list[RoutesRecord]:
    """Every table of the whole log of routes, with what was published beside it, in order."""
    records: list[RoutesRecord] = []
    tail = Tail(
        fleet.settings.kafka,
        fleet.settings.topics.routes.name,
        lambda record: records.append(decode_record(record.value)),
    )
    await tail.start()
    reading = asyncio.create_task(tail.run())
    try:
        await tail.read_all(60)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await tail.stop()
    return [record for record in records if record.table is not None]


async def handed_over(fleet: Fleet) -> tuple[RoutesRecord, RoutesRecord]:
    """The last table of the first epoch and the first table of the next one.

    A leader may publish until it is gone, so what was newest when it was killed need not be its last."""
    tables = await publications(fleet)
    first = tables[0].generation.epoch
    after = next(record for record in tables if record.generation.epoch > first)
    return [record for record in tables if record.generation.epoch == first][-1], after


def weights(record: RoutesRecord) -> dict[str, Any]:
    """What a client would do by it: every route's split."""
    assert record.table is not None
    return {route.name: (route.split, route.on_loss) for route in record.table.routes}
