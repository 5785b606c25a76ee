"""The solver process: `python -m controller.dispatch` reads requests on standard input and writes replies.

A controller starts it, and it ends with the controller: its input ends, and Linux kills it with its parent.
Replies go to the original standard output. What libraries print there, such as the solver's banner, is
dropped.
"""

import ctypes
import os
import signal
import sys
from typing import BinaryIO

import msgspec

from controller.core.lp.solve import NoAnswerError, solve
from controller.core.policy.compiled import CompiledPolicy, compile_policy
from controller.core.policy.policy import Policy
from controller.dispatch.frames import SolveReply, SolveRequest, framed, read_request
from controller.process.clock import monotonic_ms

PR_SET_PDEATHSIG = 1
NICENESS = 5  # the controller's heartbeats go first on a shared core

_policy_decoder = msgspec.msgpack.Decoder(Policy)


def reply_to(request: SolveRequest, compiled: CompiledPolicy) -> SolveReply:
    """Solves one problem. A solver that finds no plan is a reply as well, with the reason."""
    began_ms = monotonic_ms()
    try:
        solution = solve(compiled, request.problem, limit_s=request.limit_s)
    except (NoAnswerError, ValueError) as error:
        return SolveReply(request.number, why=str(error), solve_ms=monotonic_ms() - began_ms)
    return SolveReply(
        request.number,
        solution.plan,
        solve_ms=monotonic_ms() - began_ms,
        rows=solution.rows,
        columns=solution.columns,
    )


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
