"""The solver process: ``python -m controller.dispatch`` reads questions on standard input and answers.

Started by a controller and gone with it: its input ends, and Linux ends it if that alone would take too long.
Answers go to the original standard output; everything that libraries print goes to standard error.
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
from controller.dispatch.frames import Answer, Ask, framed, read_ask
from controller.process.clock import monotonic_ms

PR_SET_PDEATHSIG = 1
NICENESS = 5  # a heartbeat on the same core goes first

_policies = msgspec.msgpack.Decoder(Policy)


def answer(compiled: CompiledPolicy, ask: Ask) -> Answer:
    """Solves one problem; a solver without an answer is an answer too."""
    began_ms = monotonic_ms()
    try:
        found = solve(compiled, ask.problem, limit_s=ask.limit_s)
    except (NoAnswerError, ValueError) as error:
        return Answer(ask.number, None, str(error), monotonic_ms() - began_ms)
    return Answer(ask.number, found.plan, "", monotonic_ms() - began_ms, found.rows, found.columns)


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Until the questions end."""
    compiled: CompiledPolicy | None = None
    while (ask := read_ask(questions)) is not None:
        if ask.policy:
            compiled = compile_policy(_policies.decode(ask.policy))
        said = Answer(ask.number, None, "no policy was sent") if compiled is None else answer(compiled, ask)
        answers.write(framed(said))
        answers.flush()


def main() -> int:
    """Serves its starter, and no other."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C is for the controller, which then ends this
    os.nice(NICENESS)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        serve(sys.stdin.buffer, answers)
    except BrokenPipeError:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
