"""What else is done to a running demo: its own controller killed, its own Kafka and Valkey stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from controller.core.model.reasons import State
from controller.core.policy.policy import Policy
from controller.process import clock
from controller.routes.record import RoutesRecord
from lab.demo.child import ChildError
from lab.demo.continuity import course_faults, take_over_faults
from lab.demo.direct import Run
from lab.demo.records import StatusLine
from lab.demo.scenario import Act, Phase, Roles, emptied, pools_of, regions, serving

Moment: TypeAlias = Literal["ramp", "holddown"]
SEEN_WITHIN_S = 60.0
TAKE_OVER_WITHIN_S = 30.0
OUTAGE_S = 6.0
EXCUSED_AFTER_MS = 8_000
DRILL_THRESHOLDS = {"hold_down_min_ms": 15_000, "ramp_step_min_ms": 5_000}


def kill_phases(policy: Policy, roles: Roles) -> tuple[Phase, ...]:
    """A provider fails and comes back: time enough for a hold-down and a ramp."""
    failed = regions(policy, roles.fails)
    kill = tuple(Act("kill", region) for region in failed)
    revive = tuple(Act("revive", region) for region in failed)
    return (
        Phase("steady", (), serving, 3, 20, "every pool healthy"),
        Phase(f"{roles.fails} fails (SIGKILL)", kill, emptied(roles.fails), 3, 20, "its traffic gone"),
        Phase("all recovers", revive, serving, 3, 90, "every pool healthy again"),
    )


class KillController:
    """SIGKILLs the controller once, in a ramp or a hold-down, and watches its next life."""

    def __init__(self, moment: Moment, roles: Roles) -> None:
        self._moment = moment
        self._roles = roles

    async def __call__(self, run: Run) -> None:
        """Adds to the run's notes and failures."""
        pool = pools_of(run.picture.policy, self._roles.fails)[0]
        await run.wait(lambda: self._is_the_moment(run, pool), SEEN_WITHIN_S, f"{self._moment} of {pool}")
        run.say("fault", f"the controller is killed (SIGKILL), {pool} in its {self._moment}")
        killed_ms = clock.now_ms()
        await run.kill_controller()
        before = run.observer.records[-1]
        await run.fleet.start_controller()
        await run.wait(
            lambda: _first_of_next(run.observer.records, before) is not None,
            TAKE_OVER_WITHIN_S,
            "a table of a higher epoch",
        )
        after = _first_of_next(run.observer.records, before)
        if after is None:
            raise ChildError("the table of the higher epoch is gone")
        took_s = (after.published_ms - killed_ms) / 1_000
        run.say("state", f"epoch {after.generation.epoch} follows {before.generation.epoch}")
        run.failures += take_over_faults(before, after)
        run.notes.append(
            f"controller killed in a {self._moment}: epoch {before.generation.epoch} -> "
            f"{after.generation.epoch}, its first table after {took_s:.1f} s"
        )
        await run.wait(
            lambda: run.picture.state(pool) == State.HEALTHY, SEEN_WITHIN_S, f"{pool} healthy again"
        )
        faults = course_faults(pool, run.observer.records, run.picture.policy.thresholds)
        run.failures += faults
        if not faults:
            run.notes.append(f"the {self._moment} of {pool} went on: neither restarted nor skipped")

    def _is_the_moment(self, run: Run, pool: str) -> bool:
        record = run.picture.record
        memory = record.memory.pools.get(pool) if record is not None and record.memory is not None else None
        if memory is None:
            return False
        if self._moment == "holddown":
            return memory.state is State.DOWN and memory.hold_until_ms > clock.now_ms()
        return memory.state is State.RECOVERING and memory.ramp_step >= 1


def _first_of_next(records: list[RoutesRecord], before: RoutesRecord) -> RoutesRecord | None:
    return next(
        (
            record
            for record in records
            if record.generation.epoch > before.generation.epoch and record.table is not None
        ),
        None,
    )


def stop_phases(_policy: Policy, _roles: Roles) -> tuple[Phase, ...]:
    """Nothing else happens."""
    return (Phase("steady", (), serving, 4, 20, "every pool healthy"),)


class StopStack:
    """Stops Kafka, then Valkey, then both, under load; the clients have to go on and to say so."""

    async def __call__(self, run: Run) -> None:
        """Adds to the run's notes and failures."""
        await run.wait(lambda: serving(run.picture, clock.now_ms()), SEEN_WITHIN_S, "every pool healthy")
        stack = run.fleet.stack
        await self._without(run, "Kafka", kafka=True, valkey=False)
        await self._without(run, "Valkey", kafka=False, valkey=True)
        await self._without(run, "Kafka and Valkey", kafka=True, valkey=True)
        if not (stack.kafka.running and stack.valkey.running):
            raise ChildError("the stack did not come back")

    async def _without(self, run: Run, name: str, *, kafka: bool, valkey: bool) -> None:
        stack = run.fleet.stack
        servers = [*([stack.kafka] if kafka else []), *([stack.valkey] if valkey else [])]
        answered = run.picture.outcomes["ok"]
        from_ms = clock.now_ms()
        run.say("fault", f"{name} stopped")
        for server in servers:
            await server.kill()
        gone_ms = clock.now_ms()
        await run.wait(_later(OUTAGE_S), OUTAGE_S + 5, "the end of the outage")
        served = run.picture.outcomes["ok"] - answered
        until_ms = clock.now_ms()
        for server in servers:
            await server.start()
        run.say("state", f"{name} back")
        run.excused.append((from_ms, clock.now_ms() + EXCUSED_AFTER_MS))
        if valkey:
            said = [line for line in statuses(run) if gone_ms <= line.at_ms <= until_ms and line.error]
            if not said:
                run.failures.append(f"{name} stopped, and no client said so in its status")
            else:
                run.notes.append(f"{name} stopped: clients' status said: {said[0].state}, {said[0].error}")
        outage_s = (until_ms - from_ms) / 1_000
        run.notes.append(f"{name} stopped for {outage_s:.1f} s: {served} requests answered meanwhile")
        if served == 0:
            run.failures.append(f"no request was answered while {name} was stopped")
        await run.wait(lambda: _all_live(run), SEEN_WITHIN_S, "every client live again")


def statuses(run: Run) -> list[StatusLine]:
    """What clients said of themselves so far."""
    return [line for line in run.observer.caller_lines if isinstance(line, StatusLine)]


def _all_live(run: Run) -> bool:
    """The last word of each client is that it is live, and it was said just now."""
    now_ms = clock.now_ms()
    fresh = [line for line in statuses(run) if line.at_ms > now_ms - 2_500]
    return bool(fresh) and all(line.state == "live" and not line.error for line in fresh[-6:])


def _later(seconds: float) -> Callable[[], bool]:
    due_ms = clock.monotonic_ms() + seconds * 1_000
    return lambda: clock.monotonic_ms() >= due_ms
