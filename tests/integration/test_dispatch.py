"""The solver process, real: asked, killed, late, orphaned."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import structlog
from msgspec.structs import replace

from controller.core.model.dispatch_plan import Problem
from controller.core.policy.policy import encode_policy
from controller.dispatch.dispatcher import EVERY_MS, Dispatcher, spawn_solver
from tests.integration.controllers import FORCED, Fleet, settings_of, tieline
from tests.processes import runs
from tests.unit.controller.core.lp.test_solve import problem
from tests.unit.controller.core.made import policy, pool
from tests.waiting import until

GIVEN = policy(tuple(pool(f"{name}/x") for name in "abc"))
PACKED = encode_policy(GIVEN)
ASKED = problem(GIVEN, {"chat/eu": 150})
STARTER = """
import asyncio, sys
from controller.dispatch.dispatcher import Dispatcher
from tests.integration.test_dispatch import ASKED, PACKED

async def main():
    dispatcher = Dispatcher(lambda: print(f"solver={dispatcher.pid}", file=sys.stderr, flush=True))
    dispatcher.ask(ASKED, PACKED)
    await dispatcher.run()

asyncio.run(main())
"""


@asynccontextmanager
async def running(dispatcher: Dispatcher) -> AsyncIterator[Dispatcher]:
    """The dispatcher at work; cancelled at the end."""
    task = asyncio.create_task(dispatcher.run())
    try:
        yield dispatcher
    finally:
        task.cancel()
        await asyncio.wait({task})


def later(at_ms: int) -> Problem:
    """The same question, asked at another time."""
    return replace(ASKED, at_ms=at_ms)


async def test_answers_and_wakes_the_agent() -> None:
    """A question becomes a plan of the same inputs, and says that there is one."""
    woken = asyncio.Event()
    async with running(Dispatcher(woken.set)) as dispatcher:
        assert dispatcher.is_due(ASKED.at_ms)
        dispatcher.ask(ASKED, PACKED)
        assert not dispatcher.is_due(ASKED.at_ms + EVERY_MS)
        await asyncio.wait_for(woken.wait(), 60)
        assert dispatcher.plan is not None
        assert dispatcher.plan.made_ms == ASKED.at_ms
        assert dispatcher.plan.met == ("a", "b", "c")
        assert dispatcher.is_due(ASKED.at_ms + EVERY_MS)
        assert not dispatcher.is_due(ASKED.at_ms + EVERY_MS - 1)


async def test_a_killed_solver_leaves_the_last_plan_and_is_followed_by_another() -> None:
    """SIGKILL: the plan stays, it is said, a new process answers the next question."""
    async with running(Dispatcher(lambda: None)) as dispatcher:
        dispatcher.ask(ASKED, PACKED)
        held = await until(lambda: dispatcher.plan, what="the first plan")
        first = dispatcher.pid
        assert first is not None
        with structlog.testing.capture_logs() as said:
            os.kill(first, signal.SIGKILL)
            await until(lambda: dispatcher.pid not in (None, first), what="another solver")
        assert dispatcher.plan is held
        kept = [line for line in said if line["event"] == "no new plan: the last one stays"]
        assert [(line["why"], line["has_plan"]) for line in kept] == [
            ("the solver process ended with status -9", True)
        ]
        dispatcher.ask(later(ASKED.at_ms + EVERY_MS), PACKED)
        newer = await until(
            lambda: dispatcher.plan if dispatcher.plan is not held else None, what="a plan of the new solver"
        )
        assert newer.made_ms == ASKED.at_ms + EVERY_MS
        assert newer.targets == held.targets


async def test_a_late_solver_is_killed_and_said() -> None:
    """One that never answers is gone after its time, and nothing waits for it."""
    silent = (sys.executable, "-c", "import sys; sys.stdin.buffer.read()")
    with structlog.testing.capture_logs() as said:
        async with running(
            Dispatcher(lambda: None, spawn=partial(spawn_solver, silent), reply_within_s=0.2)
        ) as dispatcher:
            dispatcher.ask(ASKED, PACKED)
            pid = await until(lambda: dispatcher.pid, what="the solver")
            await until(lambda: not runs(pid), what="its end")
            await until(lambda: dispatcher.pid not in (None, pid), what="another")
    assert dispatcher.plan is None
    assert "the solver was not done after 0.2 s" in [line.get("why") for line in said]


async def test_an_unsolvable_question_keeps_the_plan_and_the_process() -> None:
    """A problem of a policy that the solver does not have is answered with the reason."""
    async with running(Dispatcher(lambda: None)) as dispatcher:
        dispatcher.ask(ASKED, PACKED)
        held = await until(lambda: dispatcher.plan, what="the first plan")
        pid = dispatcher.pid
        with structlog.testing.capture_logs() as said:
            dispatcher.ask(replace(ASKED, policy_version="another"), PACKED)
            await until(lambda: said, what="the answer")
        assert "is of policy another" in said[0]["why"]
        assert (dispatcher.plan, dispatcher.pid) == (held, pid)


async def test_the_solver_ends_with_the_controller_however_that_ends() -> None:
    """SIGKILL to the starter leaves no process behind; neither does a plain stop."""
    async with running(Dispatcher(lambda: None)) as dispatcher:
        dispatcher.ask(ASKED, PACKED)
        own = await until(lambda: dispatcher.pid, what="the solver")
    assert not runs(own)
    starter = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STARTER, stderr=asyncio.subprocess.PIPE
    )
    try:
        assert starter.stderr is not None
        pid = int(await asyncio.wait_for(_line_of(starter.stderr), 60))
        assert runs(pid)
    finally:
        starter.kill()
        await starter.wait()
    await until(lambda: not runs(pid), what="the end of the orphan")


async def test_a_controller_goes_on_without_its_solver(
    kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path
) -> None:
    """The controller plans by itself; its solver killed, it says so, takes commands, and has another; both
    are gone with the controller."""
    settings = settings_of(kafka_bootstrap, redis_url, prefix)
    async with Fleet(settings, tmp_path) as fleet:
        controller = await fleet.add()
        plan = await controller.until_said("plan")
        assert plan["rows"] > 0
        first = (await controller.until_said("solver started"))["pid"]
        os.kill(first, signal.SIGKILL)
        kept = await controller.until_said("no new plan: the last one stays")
        assert kept["has_plan"] is True
        drained = await tieline(settings, "drain", "oci", *FORCED, "--reason", "test", "--for", "1h")
        assert drained.status == 0, drained.err
        second = (await controller.until_said("solver started", 2))["pid"]
        assert runs(second)
        await controller.kill()
        await until(lambda: not runs(second), what="the end of the solver")


async def _line_of(stream: asyncio.StreamReader) -> str:
    """The number that the starter prints after its solver's first answer."""
    while line := (await stream.readline()).decode():
        if line.startswith("solver="):
            return line.removeprefix("solver=")
    raise AssertionError("the starter ended early")
