"""The solver process: `python -m controller.dispatch` reads requests on standard input and writes replies.

A controller starts it, and it ends with the controller: its input ends, and Linux kills it with its parent.
Replies go to the original standard output. Whatever a library might print there is dropped.
"""

import ctypes
import os
import signal
import sys
from typing import BinaryIO

import msgspec
from msgspec.structs import replace

from controller.core.lp.problem import grown
from controller.core.lp.solve import NoAnswerError, solve
from controller.core.model.dispatch_plan import Plan, Shortfall
from controller.core.offers.shortages import shed_now
from controller.core.policy.compiled import CompiledPolicy, compile_policy
from controller.core.policy.policy import Policy
from controller.dispatch.frames import SolveReply, SolveRequest, framed, read_request
from controller.process.clock import monotonic_ms

PR_SET_PDEATHSIG = 1
GROWTH_LIMIT_MIN_S = 0.5  # of the second solve, if the first has taken all of its time
NICENESS = 5  # the controller's heartbeats go first on a shared core

_policy_decoder = msgspec.msgpack.Decoder(Policy)


def reply_to(request: SolveRequest, compiled: CompiledPolicy) -> SolveReply:
    """Solves one problem. A solver that finds no plan is a reply as well, with the reason."""
    began_ms = monotonic_ms()
    try:
        solution = solve(compiled, request.problem, limit_s=request.limit_s)
    except (NoAnswerError, ValueError) as error:
        return SolveReply(request.number, why=str(error), solve_ms=monotonic_ms() - began_ms)
    spent_s = (monotonic_ms() - began_ms) / 1_000
    short = short_after_growth(request, compiled, max(request.limit_s - spent_s, GROWTH_LIMIT_MIN_S))
    return SolveReply(
        request.number,
        replace(solution.plan, grown=short) if short else solution.plan,
        solve_ms=monotonic_ms() - began_ms,
        rows=solution.rows,
        columns=solution.columns,
    )


def short_after_growth(
    request: SolveRequest, compiled: CompiledPolicy, limit_s: float
) -> tuple[Shortfall, ...]:
    """What would be short if demand grew as the policy's ``offers`` say; empty if they name no growth, or if
    there is no answer within ``limit_s``."""
    rules = compiled.policy.offers
    if rules is None or not rules.growth:
        return ()
    problem = grown(request.problem, rules.growth)
    try:
        plan: Plan = solve(compiled, problem, limit_s=limit_s).plan
    except (NoAnswerError, ValueError):
        return ()
    return (*shed_now(compiled, plan, problem.demand, rules), *plan.shortfalls)


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answers each request in turn, until there are no more. Raises ``FrameError``."""
    compiled: CompiledPolicy | None = None
    while (request := read_request(requests)) is not None:
        if request.policy:
            compiled = compile_policy(_policy_decoder.decode(request.policy))
        if compiled is None:
            reply = SolveReply(request.number, why="the first request has no policy")
        else:
            reply = reply_to(request, compiled)
        replies.write(framed(reply))
        replies.flush()


def main() -> int:
    """Serves the controller that started this process. Returns 0."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C is for the controller, which ends this process
    os.nice(NICENESS)
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    try:
        serve(sys.stdin.buffer, replies)
    except BrokenPipeError:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
