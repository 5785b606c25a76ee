"""Every process of a run: stack, controller, stand-ins, prober, callers; ended in reverse order."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from lab.demo import plan as plans
from lab.demo.child import Child, ChildError
from lab.demo.plan import Plan
from lab.stack import Stack
from lab.standins.process import StandinProcess

NAMESPACE = "demo"
CALLER_STOP_S = 45.0
Say = Callable[[str], None]


class Fleet:
    """The running parts; ``standins`` by provider/region."""

    def __init__(self, planned: Plan, directory: Path, say: Say) -> None:
        self.plan = planned
        self.directory = directory
        self.policy_path = directory / "policy.yaml"
        self.standins: dict[str, StandinProcess] = {}
        self.callers: list[Child] = []
        self._say = say
        self._undo = AsyncExitStack()
        self._stack: Stack | None = None
        self._controller: Child | None = None

    @property
    def stack(self) -> Stack:
        if self._stack is None:
            raise ChildError("the stack is not running")
        return self._stack

    @property
    def controller(self) -> Child:
        if self._controller is None:
            raise ChildError("the controller is not running")
        return self._controller

    @property
    def environment(self) -> dict[str, str]:
        """The settings of our own commands."""
        return {
            "TIELINE_KAFKA": self.stack.kafka_bootstrap,
            "TIELINE_REDIS": self.stack.redis_url,
            "TIELINE_NAMESPACE": NAMESPACE,
            "TIELINE_POLICY": str(self.policy_path),
            "TIELINE_UNSIGNED_DEV_MODE": "1",
        }

    async def start(self, trace_rows: int) -> None:
        """Bring everything up: whatever is needed by the next part answers first. Raises ChildError."""
        self._say("Kafka and Valkey")
        self._stack = await Stack.start(say=self._say)
        self._undo.push_async_callback(self._stack.stop)
        self._say(f"{len(self.plan.policy.pools)} stand-ins of providers")
        await self._start_standins()
        urls = {pool: one.url(pool) for one in self.standins.values() for pool in one.ports}
        self.policy_path.write_text(plans.as_yaml(plans.addressed(self.plan.policy, urls)), "utf-8")
        self._say("controller, prober")
        await self.start_controller()
        await self._start("prober", ["-m", "controller.cli", "probe", "--source", plans.PROBER_SOURCE])
        self._say(f"{self.plan.pace.callers} calling applications")
        await self._start_callers(trace_rows)

    async def _start_standins(self) -> None:
        configs = plans.standins(
            self.plan,
            log_dir=str(self.directory / "standins"),
            kafka=self.stack.kafka_bootstrap,
            namespace=NAMESPACE,
        )
        spawned = await asyncio.gather(
            *(StandinProcess.spawn(config) for config in configs), return_exceptions=True
        )
        for one in spawned:
            if isinstance(one, StandinProcess):
                self.standins[f"{one.config.provider}/{one.config.region}"] = one
        self._undo.push_async_callback(self._stop_standins)
        for one in spawned:
            if isinstance(one, BaseException):
                raise one

    async def start_controller(self) -> None:
        """A controller; a second call starts the next life of one that was killed."""
        self._controller = await self._start("controller", ["-m", "controller.cli", "controller"])

    async def kill_controller(self) -> None:
        """SIGKILL; gone when this returns."""
        controller, self._controller = self.controller, None
        controller.kill()
        await controller.stop()

    async def _start_callers(self, trace_rows: int) -> None:
        configs = plans.callers(
            self.plan,
            trace_rows,
            redis=self.stack.redis_url,
            kafka=self.stack.kafka_bootstrap,
            namespace=NAMESPACE,
            directory=str(self.directory),
        )
        for config in configs:
            path = self.directory / f"{config.name}.json"
            path.write_bytes(msgspec.json.encode(config))
            self.callers.append(await self._start(config.name, ["-m", "lab.demo.caller", str(path)]))

    async def _start(self, name: str, arguments: list[str]) -> Child:
        log = self.directory / f"{name}.log"
        child = Child(name, arguments, log, self.environment)
        await child.start()
        self._undo.push_async_callback(child.stop)
        return child

    def require_alive(self) -> None:
        """Raises ChildError when a part has ended by itself."""
        for child in (*self.callers, *([self._controller] if self._controller else [])):
            if not child.running:
                raise ChildError(f"{child.name} has ended: {child.last_words()}")

    def freeze(self, region: str) -> None:
        """SIGSTOP: connections are accepted and nothing answers."""
        os.kill(self.standins[region].pid, signal.SIGSTOP)

    def thaw(self, region: str) -> None:
        """SIGCONT."""
        os.kill(self.standins[region].pid, signal.SIGCONT)

    async def kill(self, region: str) -> None:
        """SIGKILL."""
        os.kill(self.standins[region].pid, signal.SIGKILL)
        await self.standins[region].wait()

    async def revive(self, region: str) -> None:
        """Another process on the same ports, with the same log."""
        self.standins[region] = await StandinProcess.spawn(self.standins[region].config_as_run)

    async def stop_callers(self) -> None:
        """No more requests; those under way end."""
        await asyncio.gather(*(caller.stop(CALLER_STOP_S) for caller in self.callers))

    async def _stop_standins(self) -> None:
        await asyncio.gather(*(one.stop() for one in self.standins.values()))

    async def stop(self) -> None:
        """End everything that is still there, the last started first."""
        await self._undo.aclose()
