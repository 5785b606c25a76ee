"""The controller's side of the dispatch: asks the solver process now and then, and keeps the last plan.

A solver that is late, fails or dies costs nothing but the next plan. The log then says why there is none.
"""

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import structlog

from controller.core.model.dispatch_plan import Plan, Problem, Shortfall
from controller.dispatch.frames import (
    LENGTH,
    FrameError,
    SolveReply,
    SolveRequest,
    decode_reply,
    framed,
    length_of,
)
from tieline.backoff import Backoff
from tieline.cancelling import whole

EVERY_MS = 5_000
SOLVE_WITHIN_S = 5.0
REPLY_WITHIN_S = 10.0
RESPAWN_FIRST_S = 0.2
RESPAWN_LONGEST_S = 30.0
SHORTFALLS_LOGGED_MAX = 8
ROUTES_LOGGED_MAX = 4
COMMAND = (sys.executable, "-m", "controller.dispatch")
Spawn: TypeAlias = Callable[[], Awaitable[Process]]


async def spawn_solver(command: tuple[str, ...] = COMMAND) -> Process:
    """Starts a solver process. Raises ``OSError``."""
    return await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)


class SolverLostError(RuntimeError):
    """The solver process is of no use any more; the message says why."""


class Dispatcher:
    """Keeps ``plan``, the last plan of whatever age. ``pid`` is the solver process, None if there is none.

    ``on_plan`` is called at each new plan. ``spawn`` starts a solver process. ``reply_within_s`` bounds one
    solve from the request to the reply.
    """

    def __init__(
        self,
        on_plan: Callable[[], None],
        *,
        spawn: Spawn = spawn_solver,
        reply_within_s: float = REPLY_WITHIN_S,
    ) -> None:
        self.plan: Plan | None = None
        self.pid: int | None = None
        self._on_plan = on_plan
        self._spawn = spawn
        self._reply_within_s = reply_within_s
        self._waiting: tuple[Problem, bytes] | None = None
        self._due = asyncio.Event()
        self._asked_ms = -EVERY_MS
        self._number = 0
        self._policy_sent = ""
        self._backoff = Backoff(RESPAWN_FIRST_S, RESPAWN_LONGEST_S)
        self._logged: tuple[object, ...] = ()
        self._log = structlog.get_logger("dispatch")

    def is_due(self, now_ms: int) -> bool:
        """Whether it is time to ask: every ``EVERY_MS`` milliseconds, and never while a reply is awaited."""
        return self._waiting is None and now_ms - self._asked_ms >= EVERY_MS

    def ask(self, problem: Problem, policy: bytes) -> None:
        """Queues one problem with its packed policy, and returns at once. Call it only when one is due."""
        self._asked_ms = problem.at_ms
        self._waiting = (problem, policy)
        self._due.set()

    async def run(self) -> None:
        """Works until cancelled. The solver process starts with the first question and ends with this."""
        await self._due.wait()
        while True:
            try:
                await self._serve_with_one_process()
            except (SolverLostError, OSError) as reason:
                self._log_no_plan(str(reason))
            self._waiting = None
            await asyncio.sleep(self._backoff.next_s())

    async def _serve_with_one_process(self) -> None:
        """The life of one solver process. Raises ``SolverLostError`` at its end, and ``OSError``."""
        process = await self._spawn()
        self.pid, self._policy_sent = process.pid, ""
        self._log.info("solver started", pid=process.pid)
        ended = asyncio.create_task(process.wait())
        try:
            while True:
                due = asyncio.create_task(self._due.wait())
                try:
                    await asyncio.wait({due, ended}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    due.cancel()
                if ended.done():
                    raise SolverLostError(f"the solver process ended with status {process.returncode}")
                self._due.clear()
                if self._waiting is not None:
                    await self._solve(process, *self._waiting)
                    self._waiting = None
        finally:
            self.pid = None
            await whole(self._end(process, ended))

    async def _solve(self, process: Process, problem: Problem, policy: bytes) -> None:
        """One request and its reply. Raises ``SolverLostError``."""
        self._number += 1
        is_new_policy = problem.policy_version != self._policy_sent
        request = SolveRequest(
            self._number, problem, policy if is_new_policy else b"", limit_s=SOLVE_WITHIN_S
        )
        try:
            async with asyncio.timeout(self._reply_within_s):
                reply = await self._exchange(process, framed(request))
        except TimeoutError:
            raise SolverLostError(f"the solver was not done after {self._reply_within_s:g} s") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            raise SolverLostError("the solver process ended while it was solving") from None
        except FrameError as error:
            raise SolverLostError(str(error)) from None
        if reply.number != request.number:
            raise SolverLostError(f"the solver replied to request {reply.number}, not to {request.number}")
        self._policy_sent = problem.policy_version
        self._backoff.reset()
        if reply.plan is None:
            self._log_no_plan(reply.why)
            return
        self.plan = reply.plan
        self._log_plan(reply, reply.plan)
        self._on_plan()

    async def _exchange(self, process: Process, frame: bytes) -> SolveReply:
        if process.stdin is None or process.stdout is None:
            raise SolverLostError("the solver process has no pipes")
        process.stdin.write(frame)
        await process.stdin.drain()
        head = await process.stdout.readexactly(LENGTH.size)
        return decode_reply(await process.stdout.readexactly(length_of(head)))

    async def _end(self, process: Process, ended: "asyncio.Task[int]") -> None:
        """Kills the process, which holds nothing that could be lost, and waits for its end."""
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await ended
        if process.stdin is not None:
            process.stdin.close()

    def _log_no_plan(self, why: str) -> None:
        self._log.warning("no new plan: the last one stays", why=why, has_plan=self.plan is not None)

    def _log_plan(self, reply: SolveReply, plan: Plan) -> None:
        """Logs what the plan secures and what it can't, whenever that changes."""
        summary = (plan.policy_version, plan.unmet, tuple((s.lost, s.routes) for s in plan.shortfalls))
        if summary == self._logged:
            return
        self._logged = summary
        self._log.info(
            "plan",
            solve_ms=reply.solve_ms,
            rows=reply.rows,
            columns=reply.columns,
            survives=len(plan.met),
            unmet=list(plan.unmet),
            short=[_words(shortfall) for shortfall in plan.shortfalls[:SHORTFALLS_LOGGED_MAX]],
            screened=plan.screened,
            added=list(plan.added),
        )


def _words(shortfall: Shortfall) -> str:
    routes = ", ".join(shortfall.routes[:ROUTES_LOGGED_MAX])
    geographies = ", ".join(shortfall.geographies)
    units = f"{shortfall.units_per_s:g} units/s"
    return f"if {shortfall.lost} is lost, {units} of {routes} have no room in {geographies}"
