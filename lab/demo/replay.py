"""Replays an incident on a run: its happenings in order, each shown until nothing changes any more."""

from __future__ import annotations

import asyncio

from controller.core.model.reasons import State
from controller.process import clock
from lab.demo.facts import Fault
from lab.demo.fleet import NAMESPACE
from lab.demo.incident import Happening, Incident, ScopedFault, StatusClaim, claims_in_force, pools_in
from lab.demo.picture import region_of
from lab.demo.run import Run
from tieline.events import Statement, in_scope
from tieline.producer import Producer

LEAST_S = 15.0
MOST_S = 400.0
QUIET_S = 12.0
LOOK_EVERY_S = 0.2
CLAIM_EXPIRES_AFTER_MS = 3_600_000
SECONDS_PER_MINUTE = 60.0


class Replay:
    """One incident. Remembers by scope which faults are on, and which scopes a status page accuses."""

    def __init__(self, incident: Incident) -> None:
        self._incident = incident
        self._faults_on: dict[str, list[tuple[str, int]]] = {}
        self._accused: set[str] = set()
        self._sequence = 0

    async def play(self, run: Run) -> None:
        """Waits for a steady start, then plays every happening. Notes how much time was left out."""
        run.say("phase", f"{self._incident.title}, {self._incident.date}")
        await self._until_quiet(run, MOST_S)
        happenings = self._incident.happenings
        real_s, shown_s = 0.0, 0.0
        async with Producer(run.fleet.stack.kafka_bootstrap, prefix=NAMESPACE) as producer:
            for index, happening in enumerate(happenings):
                await self._do(run, happening, producer)
                if index + 1 == len(happenings):
                    shown_s += await self._until_quiet(run, MOST_S)
                else:
                    gap_s = (happenings[index + 1].minute - happening.minute) * SECONDS_PER_MINUTE
                    shown_s += await self._until_quiet(run, gap_s)
                    real_s += gap_s
        real_min, shown_min = real_s / SECONDS_PER_MINUTE, shown_s / SECONDS_PER_MINUTE
        run.notes.append(f"{real_min:.0f} min of the incident were shown in {shown_min:.1f} min")

    async def _do(self, run: Run, happening: Happening, producer: Producer) -> None:
        run.say("fault", f"{happening.at} UTC  {happening.what}")
        at_ms = clock.now_ms()
        for scope in happening.clear:
            await self._clear(run, scope, at_ms)
        for scope, factor in sorted(happening.capacity.items()):
            for region, pools in _pools_by_region(run, scope).items():
                await run.fleet.standins[region].capacity(pools=pools, factor=factor)
        for fault in happening.faults:
            for scope in fault.on:
                await self._switch_on(run, fault, scope, at_ms)
        for status in happening.claims:
            await self._publish(status, producer)

    async def _switch_on(self, run: Run, fault: ScopedFault, scope: str, at_ms: int) -> None:
        words = fault.kind if fault.share == 1 else f"{fault.kind} {100 * fault.share:.0f} %"
        options = {name: getattr(fault, name) for name in ("model", "delay_ms", "retry_after_ms")}
        fields = {name: value for name, value in options.items() if value is not None}
        for region, pools in _pools_by_region(run, scope).items():
            standin = run.fleet.standins[region]
            fault_id = await standin.fault(fault.kind, pools=pools, share=fault.share, **fields)
            self._faults_on.setdefault(scope, []).append((region, fault_id))
            run.picture.faults[region] = words
        empties = fault.share == 1 and fault.model is None
        run.faults.append(
            Fault(f"{scope} {words}", pools_in(run.picture.policy, scope), at_ms, empties=empties)
        )

    async def _clear(self, run: Run, scope: str, at_ms: int) -> None:
        for region, fault_id in self._faults_on.pop(scope, []):
            await run.fleet.standins[region].clear(fault_id=fault_id)
            run.picture.faults.pop(region, None)
        run.end_faults(lambda fault: fault.name.startswith(f"{scope} "), at_ms)

    async def _publish(self, status: StatusClaim, producer: Producer) -> None:
        """Publishes a status page's claim as a statement."""
        self._sequence += 1
        now_ms = clock.now_ms()
        scope = status.provider if status.region == "*" else f"{status.provider}/{status.region}"
        if status.state == "operational":
            self._accused.discard(scope)
        else:
            self._accused.add(scope)
        await producer.send(
            Statement(
                source=status.source,
                provider=status.provider,
                region=status.region,
                kind="status",
                incarnation=producer.incarnation,
                sequence=self._sequence,
                issued_ms=now_ms,
                claims=claims_in_force(status, now_ms, CLAIM_EXPIRES_AFTER_MS),
            )
        )

    async def _until_quiet(self, run: Run, gap_s: float) -> float:
        """Shows a stretch of ``gap_s`` until it is over or nothing changes; returns the seconds shown."""
        loop = asyncio.get_running_loop()
        began_s = changed_s = loop.time()
        count = len(run.picture.moments)
        while True:
            run.check()
            now_s = loop.time()
            if len(run.picture.moments) != count:
                count, changed_s = len(run.picture.moments), now_s
            elapsed_s = now_s - began_s
            is_quiet = now_s - changed_s >= QUIET_S and not self._is_recovering(run)
            if elapsed_s >= min(gap_s, MOST_S) or (elapsed_s >= LEAST_S and is_quiet):
                return elapsed_s
            await asyncio.sleep(LOOK_EVERY_S)

    def _is_recovering(self, run: Run) -> bool:
        """Whether a pool will change soon: it ramps up, or it is down although nothing speaks against it."""
        for pool in run.picture.policy.pools:
            state = run.picture.state(pool.id)
            is_faulty = region_of(pool.id) in run.picture.faults
            is_accused = any(in_scope(pool.id, scope) for scope in self._accused)
            if state == State.RECOVERING or (state == State.DOWN and not is_faulty and not is_accused):
                return True
        return False


def _pools_by_region(run: Run, scope: str) -> dict[str, list[str]]:
    """provider/region -> its pools in the scope."""
    pools: dict[str, list[str]] = {}
    for pool in pools_in(run.picture.policy, scope):
        pools.setdefault(region_of(pool), []).append(pool)
    return pools
