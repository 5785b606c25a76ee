"""One run of the demo: starts the parts, does the deeds, waits for their effects, and counts at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

from msgspec.structs import replace

from controller.kafka.topics import ensure_topics
from controller.probe.request import PROBE_ID_PREFIX
from controller.process import clock
from lab.demo import trace
from lab.demo.facts import Facts, Fault, facts
from lab.demo.fleet import NAMESPACE, Fleet
from lab.demo.observer import Observer
from lab.demo.picture import Picture
from lab.demo.plan import Plan
from lab.demo.report import LOST_SHOWN_MAX
from lab.demo.scenario import Act, Phase, pools_of
from lab.demo.show import Screen, keep_refreshing
from lab.errors import ChildError
from tieline.topics import Topics

LOOK_EVERY_S = 0.1
SETTLE_S = 0.5
TABLE_WITHIN_S = 120.0
PROBE_IDS = (PROBE_ID_PREFIX,)
NOT_MEASURED = (
    "through a proxy: nobody notes when an attempt begins and when a table is in use, so neither is shown"
)
_TAKES_BACK = {"thaw": "freeze", "revive": "kill", "restore": "halve"}
_FAULT_WORDS = {"freeze": "hangs", "kill": "is dead", "halve": "has half its capacity"}

Drill: TypeAlias = "Callable[[Run], Coroutine[Any, Any, None]]"


class Run:
    """One run. ``notes``: lines for the end of the report. ``failures``: promises that a drill saw broken.
    ``excused``: spans (ms) in which the stack was stopped on purpose."""

    def __init__(
        self,
        plan: Plan,
        directory: Path,
        screen: Screen,
        cluster: str | None = None,
        *,
        through: str | None = None,
    ) -> None:
        self.fleet = Fleet(plan, directory, screen.say, cluster=cluster, through=through)
        self._through = through
        self.picture = Picture(plan.policy)
        self.faults: list[Fault] = []
        self.notes: list[str] = []
        self.failures: list[str] = []
        self.excused: list[tuple[int, int]] = []
        self._screen = screen
        self._steady_ms = 0
        self._observer: Observer | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def observer(self) -> Observer:
        """Raises ChildError before the start."""
        if self._observer is None:
            raise ChildError("the run has not begun")
        return self._observer

    async def start(self) -> None:
        """Returns when everything runs and the first request was answered. Raises ChildError, StackError or
        TopicError."""
        await self.fleet.start(len(trace.read()))
        topics = Topics(NAMESPACE)
        bootstrap = self.fleet.servers.kafka_bootstrap
        # The controllers create them as well, and whoever is first.
        await ensure_topics(bootstrap, topics, replication=self.fleet.replication)
        self._observer = Observer(self.picture, bootstrap, topics)
        self._observer.watch_files(
            [standin.log_path for standin in self.fleet.standins.values()],
            [self.fleet.directory / f"{caller.name}.jsonl" for caller in self.fleet.callers],
        )
        self._observer.start()
        await self.wait(lambda: self.picture.record is not None, TABLE_WITHIN_S, "the first table")
        await self.wait(lambda: self.picture.outcomes["ok"] > 0, TABLE_WITHIN_S, "the first answer")
        self._tasks = [asyncio.create_task(keep_refreshing(self._screen, self.picture))]

    async def play(self, phases: Sequence[Phase], drill: Drill | None = None) -> None:
        """Plays the phases in order. ``drill`` runs beside them, and the play ends when both have ended."""
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
            elapsed_s = asyncio.get_running_loop().time() - began_s
            if elapsed_s >= phase.least_s and phase.until(self.picture, clock.now_ms()):
                self._steady_ms = self._steady_ms or clock.now_ms()
                break
            if elapsed_s >= phase.deadline_s:
                self.notes.append(f"{phase.name}: not reached within {phase.deadline_s:g} s: {phase.goal}")
                break
            await asyncio.sleep(LOOK_EVERY_S)
        if phase.acts:
            for line in await self.fleet.status_head():
                self.say("status", line)

    async def act(self, act: Act) -> None:
        """Does the deed, and remembers when."""
        region, standin = act.region, self.fleet.standins[act.region]
        at_ms = clock.now_ms()
        match act.deed:
            case "freeze":
                standin.pause()
            case "thaw":
                standin.resume()
            case "kill":
                await standin.kill()
            case "revive":
                await self.fleet.revive(region)
            case "halve":
                await standin.capacity(factor=0.5)
            case "restore":
                await standin.capacity(factor=1.0)
        if act.deed in _TAKES_BACK:
            self._take_back(region, _TAKES_BACK[act.deed], at_ms)
            return
        pools = pools_of(self.picture.policy, region)
        words = _FAULT_WORDS[act.deed]
        self.faults.append(Fault(f"{region} {words}", pools, at_ms, empties=act.deed != "halve"))
        self.picture.faults[region] = words

    def _take_back(self, region: str, deed: str, at_ms: int) -> None:
        self.picture.faults.pop(region, None)
        name = f"{region} {_FAULT_WORDS[deed]}"
        self.end_faults(lambda fault: fault.name == name, at_ms)

    def end_faults(self, which: Callable[[Fault], bool], at_ms: int) -> None:
        """Marks these faults as over."""
        self.faults = [
            replace(fault, until_ms=at_ms) if fault.until_ms is None and which(fault) else fault
            for fault in self.faults
        ]

    async def kill_controller(self) -> None:
        """SIGKILL. Returns when everything that it had published has arrived here."""
        await self.fleet.kill_controller()
        count = -1
        while count != len(self.observer.records):
            count = len(self.observer.records)
            await asyncio.sleep(SETTLE_S)

    async def wait(self, condition: Callable[[], bool], within_s: float, what: str) -> None:
        """Returns when ``condition`` holds.

        Raises ChildError if it doesn't in time, or if a part has ended.
        """
        deadline_s = asyncio.get_running_loop().time() + within_s
        while not condition():
            self.check()
            if asyncio.get_running_loop().time() > deadline_s:
                words = self.fleet.controller.last_words()
                raise ChildError(
                    f"{what} did not come within {within_s:g} s; the controller wrote last: {words}"
                )
            await asyncio.sleep(LOOK_EVERY_S)

    def check(self) -> None:
        """Raises ChildError when a part of the run has ended by itself."""
        self.fleet.require_running()
        if self._observer is not None and (error := self._observer.failure()) is not None:
            raise ChildError(f"the observer has ended: {error!r}")

    def say(self, kind: str, text: str) -> None:
        """Adds a line to the timeline."""
        self.picture.note(clock.now_ms(), kind, text)

    async def finish(self) -> Facts:
        """Stops the callers, lets their requests end, and counts."""
        self.say("phase", "the applications stop sending; requests under way may end")
        await self.fleet.stop_callers()
        await self.observer.stop()
        await self._stop_showing()
        if self._through:
            self.notes.append(NOT_MEASURED)
        result = self._facts()
        self.notes += await asyncio.to_thread(self.fleet.proxy_lines, result.lost[:LOST_SHOWN_MAX])
        return result

    def _facts(self) -> Facts:
        return facts(
            self.picture.policy,
            self.observer.calls,
            self.observer.log_lines,
            faults=() if self._through else self.faults,
            events_ms=self.observer.events_ms,
            generations=self.picture.generations,
            probes=PROBE_IDS,
            stale_allowed=self.excused,
            since_ms=self._steady_ms,
        )

    async def close(self) -> None:
        """Ends every process, whatever happened before."""
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
