"""Drills beside a running demo: its controller is killed, or its Kafka and Valkey are stopped, under load."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from controller.core.model.reasons import State
from controller.core.policy.policy import Policy
from controller.process import clock
from controller.routes.record import RoutesRecord
from lab.demo.continuity import course_faults, take_over_faults
from lab.demo.records import ClientStatus
from lab.demo.run import Run
from lab.demo.scenario import (
    POOLS_HEALTHY,
    Act,
    Phase,
    Roles,
    all_healthy,
    calm_start,
    emptied,
    pools_of,
    regions,
)
from lab.errors import ChildError
from lab.stack.server import Server

KillMoment: TypeAlias = Literal["ramp", "holddown"]
SEEN_WITHIN_S = 60.0
TAKE_OVER_WITHIN_S = 30.0
OUTAGE_S = 6.0
EXCUSED_AFTER_MS = 8_000
STATUS_FRESH_MS = 2_500
STATUSES_CHECKED = 6  # the workloads of both callers
DRILL_THRESHOLDS = {"hold_down_min_ms": 15_000, "ramp_step_min_ms": 5_000}


def kill_phases(policy: Policy, roles: Roles, *, patience: int = 1) -> tuple[Phase, ...]:
    """A provider fails and comes back, with time enough for a hold-down and a ramp. ``patience`` multiplies
    the deadlines."""
    region_names = regions(policy, roles.fails)
    return (
        calm_start(3),
        Phase(
            f"{roles.fails} fails (SIGKILL)",
            tuple(Act("kill", region) for region in region_names),
            emptied(roles.fails),
            least_s=3,
            deadline_s=20 * patience,
            goal="its traffic moved elsewhere",
        ),
        Phase(
            "everything recovers",
            tuple(Act("revive", region) for region in region_names),
            all_healthy,
            least_s=3,
            deadline_s=90 * patience,
            goal=POOLS_HEALTHY,
        ),
    )


class KillController:
    """Kills the controller once, in a ramp or a hold-down, and checks what the next one does."""

    def __init__(self, moment: KillMoment, roles: Roles) -> None:
        self._moment = moment
        self._roles = roles

    async def __call__(self, run: Run) -> None:
        """Adds to the run's notes and failures."""
        pool = pools_of(run.picture.policy, self._roles.fails)[0]
        await run.wait(lambda: self._has_come(run, pool), SEEN_WITHIN_S, f"the {self._moment} of {pool}")
        run.say("fault", f"the controller is killed (SIGKILL) during the {self._moment} of {pool}")
        killed_ms = clock.now_ms()
        await run.kill_controller()
        before = run.observer.records[-1]
        await run.fleet.start_controller()
        after = await self._next_table(run, before)
        took_s = (after.published_ms - killed_ms) / 1_000
        run.say("state", f"epoch {after.generation.epoch} follows epoch {before.generation.epoch}")
        run.failures += take_over_faults(before, after)
        run.notes.append(
            f"controller killed during a {self._moment}: epoch {before.generation.epoch} -> "
            f"{after.generation.epoch}, first table of the next controller after {took_s:.1f} s"
        )
        await run.wait(
            lambda: run.picture.state(pool) == State.HEALTHY, SEEN_WITHIN_S, f"the recovery of {pool}"
        )
        faults = course_faults(pool, run.observer.records, run.picture.policy.thresholds)
        run.failures += faults
        if not faults:
            run.notes.append(f"the {self._moment} of {pool} went on: it was neither restarted nor skipped")

    def _has_come(self, run: Run, pool: str) -> bool:
        record = run.picture.record
        memory = record.memory.pools.get(pool) if record is not None and record.memory is not None else None
        if memory is None:
            return False
        if self._moment == "holddown":
            return memory.state is State.DOWN and memory.hold_until_ms > clock.now_ms()
        return memory.state is State.RECOVERING and memory.ramp_step >= 1

    async def _next_table(self, run: Run, before: RoutesRecord) -> RoutesRecord:
        """The first table of a higher epoch. Raises ChildError if there is none in time."""

        def tables() -> list[RoutesRecord]:
            return [
                record
                for record in run.observer.records
                if record.generation.epoch > before.generation.epoch and record.table is not None
            ]

        await run.wait(lambda: bool(tables()), TAKE_OVER_WITHIN_S, "a table of a higher epoch")
        return tables()[0]


def stop_phases(_policy: Policy, _roles: Roles) -> tuple[Phase, ...]:
    """No fault but the drill's own."""
    return (calm_start(4),)


class StopStack:
    """Stops Kafka, then Valkey, then both, under load. The clients have to go on, and to report it."""

    async def __call__(self, run: Run) -> None:
        """Adds to the run's notes and failures."""
        await run.wait(lambda: all_healthy(run.picture, clock.now_ms()), SEEN_WITHIN_S, POOLS_HEALTHY)
        kafka, valkey = run.fleet.stack.kafka, run.fleet.stack.valkey
        for name, servers in (
            ("Kafka", [kafka]),
            ("Valkey", [valkey]),
            ("Kafka and Valkey", [kafka, valkey]),
        ):
            await self._without(run, name, servers)
        if not (kafka.running and valkey.running):
            raise ChildError("Kafka or Valkey did not come back")

    async def _without(self, run: Run, name: str, servers: Sequence[Server]) -> None:
        answered_before = run.picture.outcomes["ok"]
        from_ms = clock.now_ms()
        run.say("fault", f"{name} stopped")
        for server in servers:
            await server.kill()
        gone_ms = clock.now_ms()
        await run.wait(_later(OUTAGE_S), OUTAGE_S + 5, "the end of the outage")
        answered = run.picture.outcomes["ok"] - answered_before
        until_ms = clock.now_ms()
        for server in servers:
            await server.start()
        run.say("state", f"{name} back")
        run.excused.append((from_ms, clock.now_ms() + EXCUSED_AFTER_MS))
        if run.fleet.stack.valkey in servers:
            _require_complaint(run, name, gone_ms, until_ms)
        outage_s = (until_ms - from_ms) / 1_000
        run.notes.append(f"{name} stopped for {outage_s:.1f} s: {answered} requests answered meanwhile")
        if answered == 0:
            run.failures.append(f"no request was answered while {name} was stopped")
        await run.wait(lambda: _all_live(run), SEEN_WITHIN_S, "the status live of every client")


def _require_complaint(run: Run, name: str, from_ms: int, until_ms: int) -> None:
    """A client whose Redis is gone has to report it in its status."""
    complaints = [status for status in _statuses(run) if from_ms <= status.at_ms <= until_ms and status.error]
    if complaints:
        first = complaints[0]
        run.notes.append(f"{name} stopped: the clients' status was: {first.state}, {first.error}")
    else:
        run.failures.append(f"{name} stopped, and no client reported it in its status")


def _statuses(run: Run) -> list[ClientStatus]:
    return [note for note in run.observer.caller_notes if isinstance(note, ClientStatus)]


def _all_live(run: Run) -> bool:
    """Whether the last status of every client is live, without an error, and only seconds old."""
    now_ms = clock.now_ms()
    fresh = [status for status in _statuses(run) if status.at_ms > now_ms - STATUS_FRESH_MS]
    return bool(fresh) and all(
        status.state == "live" and not status.error for status in fresh[-STATUSES_CHECKED:]
    )


def _later(seconds: float) -> Callable[[], bool]:
    """A condition that holds that many seconds from now."""
    due_ms = clock.monotonic_ms() + seconds * 1_000
    return lambda: clock.monotonic_ms() >= due_ms
