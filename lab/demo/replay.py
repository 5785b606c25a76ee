"""Replays an incident on a run: its happenings in order, each shown until nothing changes any more."""

from __future__ import annotations

import asyncio

from controller.core.model.reasons import State
from controller.process import clock
from lab.demo.direct import Run
from lab.demo.facts import Fault
from lab.demo.fleet import NAMESPACE
from lab.demo.incident import Happening, Incident, Said, claim, covered
from tieline.events import Statement, in_scope
from tieline.producer import Producer

LEAST_S = 15.0
MOST_S = 400.0
QUIET_S = 12.0
LOOK_EVERY_S = 0.2
CLAIM_EXPIRES_AFTER_MS = 3_600_000
MINUTE_S = 60.0


class Replay:
    """One incident. ``faults`` that are on are known by their scope, so that they can be taken back."""

    def __init__(self, incident: Incident) -> None:
        self._incident = incident
        self._on: dict[str, list[tuple[str, int]]] = {}
        self._accused: set[str] = set()
        self._sequence = 0

    async def play(self, run: Run) -> None:
        """Wait for a steady start, then every happening. Adds what was shortened to the run's notes."""
        run.say("phase", f"{self._incident.title}, {self._incident.date}")
        await self._until_quiet(run, MOST_S)
        happenings = self._incident.happenings
        real_s, shown_s = 0.0, 0.0
        async with Producer(run.fleet.stack.kafka_bootstrap, prefix=NAMESPACE) as producer:
            for index, happening in enumerate(happenings):
                await self._do(run, happening, producer)
                last = index + 1 == len(happenings)
                gap_s = MOST_S if last else (happenings[index + 1].minute - happening.minute) * MINUTE_S
                shown_s += await self._until_quiet(run, gap_s)
                real_s += 0 if last else gap_s
        run.notes.append(f"{real_s / MINUTE_S:.0f} min of the incident shown in {shown_s / MINUTE_S:.1f} min")

    async def _do(self, run: Run, happening: Happening, producer: Producer) -> None:
        run.say("fault", f"{happening.at} UTC  {happening.what}")
        at_ms = clock.now_ms()
        for scope in happening.clear:
            await self._clear(run, scope, at_ms)
        for scope, factor in sorted(happening.capacity.items()):
            for region, pools in _by_region(run, scope).items():
                await run.fleet.standins[region].capacity(pools=pools, factor=factor)
        for fault in happening.faults:
            for scope in fault.on:
                for region, pools in _by_region(run, scope).items():
                    fields = {
                        name: getattr(fault, name)
                        for name in ("model", "delay_ms", "retry_after_ms")
                        if getattr(fault, name) is not None
                    }
                    standin = run.fleet.standins[region]
                    number = await standin.fault(fault.kind, pools=pools, share=fault.share, **fields)
                    self._on.setdefault(scope, []).append((region, number))
                    share = "" if fault.share == 1 else f" {100 * fault.share:.0f} %"
                    run.picture.faults[region] = f"{fault.kind}{share}"
                name = f"{scope} {fault.kind}{'' if fault.share == 1 else f' {100 * fault.share:.0f} %'}"
                empties = fault.share == 1 and fault.model is None
                run.faults.append(Fault(name, covered(run.picture.policy, scope), at_ms, empties=empties))
        for said in happening.said:
            await self._say(said, producer)

    async def _clear(self, run: Run, scope: str, at_ms: int) -> None:
        for region, number in self._on.pop(scope, []):
            await run.fleet.standins[region].clear(fault_id=number)
            run.picture.faults.pop(region, None)
        run.end_faults(lambda fault: fault.name.startswith(f"{scope} "), at_ms)

    async def _say(self, said: Said, producer: Producer) -> None:
        self._sequence += 1
        now_ms = clock.now_ms()
        scope = said.provider if said.region == "*" else f"{said.provider}/{said.region}"
        (self._accused.discard if said.state == "operational" else self._accused.add)(scope)
        await producer.send(
            Statement(
                said.source,
                said.provider,
                said.region,
                "status",
                producer.incarnation,
                self._sequence,
                now_ms,
                claim(said, now_ms, CLAIM_EXPIRES_AFTER_MS),
            )
        )

    async def _until_quiet(self, run: Run, gap_s: float) -> float:
        """Shows a stretch of ``gap_s`` until it is over or nothing changes in it; gives the seconds shown."""
        loop = asyncio.get_running_loop()
        began_s = changed_s = loop.time()
        count = len(run.picture.moments)
        while True:
            run.check()
            now_s = loop.time()
            if len(run.picture.moments) != count:
                count, changed_s = len(run.picture.moments), now_s
            passed_s = now_s - began_s
            quiet = now_s - changed_s >= QUIET_S and not self._recovering(run)
            if passed_s >= min(gap_s, MOST_S) or (passed_s >= LEAST_S and quiet):
                return passed_s
            await asyncio.sleep(LOOK_EVERY_S)

    def _recovering(self, run: Run) -> bool:
        """A pool that ramps up, or is held down although nothing speaks against it any more, will change."""
        for pool in run.picture.policy.pools:
            state = run.picture.state(pool.id)
            faulty = "/".join(pool.id.split("/")[:2]) in run.picture.faults
            accused = any(in_scope(pool.id, scope) for scope in self._accused)
            if state == State.RECOVERING or (state == State.DOWN and not faulty and not accused):
                return True
        return False


def _by_region(run: Run, scope: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pool in covered(run.picture.policy, scope):
        found.setdefault("/".join(pool.split("/")[:2]), []).append(pool)
    return found
