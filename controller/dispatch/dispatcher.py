"""The controller's side of the dispatch: asks the solver process now and then, and keeps the last plan.

A solver that is late, fails or dies costs nothing but the next plan: the last one is kept and that is said.
A late one is killed; a dead one is followed by another, after a pause that grows while they keep dying.
"""

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable

import structlog

from controller.core.model.dispatch_plan import Plan, Problem
from controller.dispatch.frames import LENGTH, Answer, Ask, FrameError, answer_in, framed, length_of

EVERY_MS = 5_000
SOLVE_WITHIN_S = 5.0
ANSWER_WITHIN_S = 10.0
RESPAWN_AFTER_S = 0.2
RESPAWN_AFTER_MAX_S = 30.0
SHORTFALLS_SAID_MAX = 8
COMMAND = (sys.executable, "-m", "controller.dispatch")


class SolverLostError(RuntimeError):
    """The solver process is of no use any more."""


class Dispatcher:
    """``plan`` is the last plan, of whatever age. ``answer_within_s`` bounds one solve from end to end."""

    def __init__(
        self,
        on_plan: Callable[[], None],
        *,
        command: tuple[str, ...] = COMMAND,
        answer_within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        self.plan: Plan | None = None
        self.pid: int | None = None
        self._on_plan = on_plan
        self._command = command
        self._answer_within_s = answer_within_s
        self._waiting: tuple[Problem, bytes] | None = None
        self._due = asyncio.Event()
        self._asked_ms = -EVERY_MS
        self._number = 0
        self._policy_sent = ""
        self._pause_s = RESPAWN_AFTER_S
        self._said: tuple[object, ...] = ()
        self._log = structlog.get_logger("dispatch")

    def is_due(self, now_ms: int) -> bool:
        """Whether it is time to ask: every few seconds, and never while an answer is owed."""
        return self._waiting is None and now_ms - self._asked_ms >= EVERY_MS

    def ask(self, problem: Problem, policy: bytes) -> None:
        """Queues one problem (only one can wait) under the packed policy; returns at once."""
        self._asked_ms = problem.at_ms
        self._waiting = (problem, policy)
        self._due.set()

    async def run(self) -> None:
        """Until cancelled; the solver process starts with the first question and ends with this."""
        await self._due.wait()
        while True:
            try:
                await self._live()
            except (SolverLostError, OSError) as reason:
                self._log.warning("no plan: the last one is kept", why=str(reason), has_plan=bool(self.plan))
            self._waiting = None
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(self._pause_s * 2, RESPAWN_AFTER_MAX_S)

    async def _live(self) -> None:
        """The life of one solver process. Raises ``SolverLostError`` at its end."""
        process = await asyncio.create_subprocess_exec(*self._command, stdin=PIPE, stdout=PIPE)
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
                    raise SolverLostError(f"the solver process ended with {process.returncode}")
                self._due.clear()
                if self._waiting is not None:
                    await self._one(process, *self._waiting)
                    self._waiting = None
        finally:
            self.pid = None
            await self._end(process, ended)

    async def _one(self, process: Process, problem: Problem, policy: bytes) -> None:
        """One question and its answer."""
        self._number += 1
        is_new = problem.policy_version != self._policy_sent
        ask = Ask(self._number, problem, policy if is_new else b"", SOLVE_WITHIN_S)
        try:
            async with asyncio.timeout(self._answer_within_s):
                answer = await self._exchange(process, framed(ask))
        except TimeoutError:
            raise SolverLostError(f"the solver was not done after {self._answer_within_s:g} s") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            raise SolverLostError("the solver process ended while it was solving") from None
        except FrameError as error:
            raise SolverLostError(str(error)) from None
        if answer.number != ask.number:
            raise SolverLostError(f"the solver answered {answer.number}, not {ask.number}")
        self._policy_sent = problem.policy_version
        self._pause_s = RESPAWN_AFTER_S
        if answer.plan is None:
            self._log.warning("no plan: the last one is kept", why=answer.why, has_plan=bool(self.plan))
            return
        self.plan = answer.plan
        self._say(answer, answer.plan)
        self._on_plan()

    async def _exchange(self, process: Process, frame: bytes) -> Answer:
        if process.stdin is None or process.stdout is None:
            raise SolverLostError("the solver process has no pipes")
        process.stdin.write(frame)
        await process.stdin.drain()
        head = await process.stdout.readexactly(LENGTH.size)
        return answer_in(await process.stdout.readexactly(length_of(head)))

    async def _end(self, process: Process, ended: "asyncio.Task[int]") -> None:
        """Killed, not asked: it holds nothing that could be lost."""
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await asyncio.shield(ended)
        if process.stdin is not None:
            process.stdin.close()

    def _say(self, answer: Answer, plan: Plan) -> None:
        """What the plan secures and what it can't, whenever that changes."""
        said = (plan.policy_version, plan.unmet, tuple((s.lost, s.routes) for s in plan.shortfalls))
        if said == self._said:
            return
        self._said = said
        self._log.info(
            "plan",
            solve_ms=answer.solve_ms,
            rows=answer.rows,
            columns=answer.columns,
            survives=len(plan.met),
            unmet=list(plan.unmet),
            short=[
                f"{short.lost} lost: {short.units_per_s:g} units/s of {', '.join(short.routes[:4])} have no "
                f"room in {', '.join(short.geographies)}"
                for short in plan.shortfalls[:SHORTFALLS_SAID_MAX]
            ],
            screened=plan.screened,
            added=list(plan.added),
        )
