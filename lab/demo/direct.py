"""Runs a demo: brings the parts up, does the deeds, waits for what should follow, and counts at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

from msgspec.structs import replace

from controller.kafka.topics import TopicError, ensure_topics
from controller.probe.request import PROBE_ID_PREFIX
from controller.process import clock
from lab.demo import trace
from lab.demo.child import ChildError
from lab.demo.facts import Facts, Fault, facts
from lab.demo.fleet import NAMESPACE, Fleet
from lab.demo.observer import Observer
from lab.demo.picture import Picture
from lab.demo.plan import Plan
from lab.demo.scenario import Act, Phase, pools_of
from lab.demo.show import Screen, keep_refreshing
from tieline.topics import Topics

LOOK_EVERY_S = 0.1
SETTLE_S = 0.5
TABLE_WITHIN_S = 40.0
PROBE_IDS = (PROBE_ID_PREFIX,)
_TAKES_BACK = {"thaw": "freeze", "revive": "kill", "restore": "halve"}
_SHOWN = {"freeze": "hangs", "kill": "dead", "halve": "half capacity"}

Drill: TypeAlias = "Callable[[Run], Coroutine[Any, Any, None]]"


class Run:
    """One run. ``notes``: what drills have to say at the end; ``excused``: spans without the stack."""

    def __init__(self, planned: Plan, directory: Path, on: Screen) -> None:
        self.fleet = Fleet(planned, directory, on.say)
        self.picture = Picture(planned.policy)
        self.faults: list[Fault] = []
        self.notes: list[str] = []
        self.failures: list[str] = []
        self.excused: list[tuple[int, int]] = []
        self._screen = on
        self._steady_ms = 0
        self._observer: Observer | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def observer(self) -> Observer:
        if self._observer is None:
            raise ChildError("the run has not begun")
        return self._observer

    async def start(self) -> None:
        """Everything up, and a first table in force. Raises ChildError, SpawnError, StackError."""
        await self.fleet.start(len(trace.read()))
        topics = Topics(NAMESPACE)
        bootstrap = self.fleet.stack.kafka_bootstrap
        await _topics_made(bootstrap, topics)
        self._observer = Observer(self.picture, bootstrap, topics)
        self._observer.watch_files(
            [one.log_path for one in self.fleet.standins.values()],
            [self.fleet.directory / f"{caller.name}.jsonl" for caller in self.fleet.callers],
        )
        self._observer.start()
        await self.wait(lambda: self.picture.record is not None, TABLE_WITHIN_S, "the first table")
        await self.wait(lambda: self.picture.outcomes["ok"] > 0, TABLE_WITHIN_S, "the first answer")
        self._tasks = [asyncio.create_task(keep_refreshing(self._screen, self.picture))]

    async def play(self, phases: Sequence[Phase], drill: Drill | None = None) -> None:
        """One phase after the other; ``drill`` runs beside them and is waited for before the last ends."""
        drilling: asyncio.Task[None] | None = None
        if drill is not None:
            drilling = asyncio.create_task(drill(self))
        try:
            for phase in phases:
                await self._play(phase)
            if drilling is not None:
                await drilling
        finally:
            if drilling is not None:
                drilling.cancel()
                with suppress(asyncio.CancelledError):
                    await drilling

    async def _play(self, phase: Phase) -> None:
        self.say("phase", phase.name)
        await asyncio.gather(*(self.act(act) for act in phase.acts))
        began_s = asyncio.get_running_loop().time()
        while True:
            self.check()
            passed_s = asyncio.get_running_loop().time() - began_s
            if passed_s >= phase.least_s and phase.until(self.picture, clock.now_ms()):
                self._steady_ms = self._steady_ms or clock.now_ms()
                return
            if passed_s >= phase.deadline_s:
                self.notes.append(f"not seen within {phase.deadline_s:g} s: {phase.name}: {phase.waits_for}")
                return
            await asyncio.sleep(LOOK_EVERY_S)

    async def act(self, act: Act) -> None:
        """Do it, and remember when."""
        fleet, region = self.fleet, act.region
        at_ms = clock.now_ms()
        match act.deed:
            case "freeze":
                fleet.freeze(region)
            case "thaw":
                fleet.thaw(region)
            case "kill":
                await fleet.kill(region)
            case "revive":
                await fleet.revive(region)
            case "halve":
                await fleet.standins[region].capacity(factor=0.5)
            case "restore":
                await fleet.standins[region].capacity(factor=1.0)
        if act.deed in _TAKES_BACK:
            self._take_back(region, _TAKES_BACK[act.deed], at_ms)
            return
        pools = pools_of(self.picture.policy, region)
        name = f"{region} {_SHOWN[act.deed]}"
        self.faults.append(Fault(name, pools, at_ms, empties=act.deed != "halve"))
        self.picture.faults[region] = _SHOWN[act.deed]

    def _take_back(self, region: str, deed: str, at_ms: int) -> None:
        self.picture.faults.pop(region, None)
        name = f"{region} {_SHOWN[deed]}"
        self.end_faults(lambda fault: fault.name == name, at_ms)

    def end_faults(self, which: Callable[[Fault], bool], at_ms: int) -> None:
        """These faults are over."""
        self.faults = [
            replace(fault, until_ms=at_ms) if fault.until_ms is None and which(fault) else fault
            for fault in self.faults
        ]

    async def kill_controller(self) -> None:
        """SIGKILL it, and let what it had published arrive here."""
        await self.fleet.kill_controller()
        count = -1
        while count != len(self.observer.records):
            count = len(self.observer.records)
            await asyncio.sleep(SETTLE_S)

    async def wait(self, condition: Callable[[], bool], within_s: float, what: str) -> None:
        """Until it holds. Raises ChildError when it doesn't in time, or a part has ended."""
        deadline_s = asyncio.get_running_loop().time() + within_s
        while not condition():
            self.check()
            if asyncio.get_running_loop().time() > deadline_s:
                words = self.fleet.controller.last_words()
                raise ChildError(f"{what} did not come within {within_s:g} s; the controller said: {words}")
            await asyncio.sleep(LOOK_EVERY_S)

    def check(self) -> None:
        """Raises ChildError when a part of the run has ended by itself."""
        self.fleet.require_alive()
        if self._observer is not None and (error := self._observer.failure()) is not None:
            raise ChildError(f"the observer has ended: {error!r}")

    def say(self, kind: str, text: str) -> None:
        """Onto the timeline."""
        self.picture.note(clock.now_ms(), kind, text)

    async def finish(self) -> Facts:
        """Stop the callers, let their requests end, and count."""
        self.say("phase", "no more requests; those under way end")
        await self.fleet.stop_callers()
        await self.observer.stop()
        await self._stop_showing()
        return facts(
            self.picture.policy,
            self.observer.calls,
            self.observer.log_lines,
            self.faults,
            events_ms=self.observer.events_ms,
            generations=self.picture.generations,
            probes=PROBE_IDS,
            stale_allowed=self.excused,
            since_ms=self._steady_ms,
        )

    async def close(self) -> None:
        """End every process, whatever happened before."""
        await self._stop_showing()
        if self._observer is not None:
            await self._observer.stop()
        await self.fleet.stop()

    async def _stop_showing(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        self._screen.refresh(self.picture)
        self._screen.close()


async def _topics_made(bootstrap: str, topics: Topics) -> None:
    """The controller makes them too; whoever comes second finds them."""
    try:
        await ensure_topics(bootstrap, topics)
    except TopicError as error:
        raise ChildError(str(error)) from None
