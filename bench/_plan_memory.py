"""The cases of `script/bench plan` that say how much memory a decision takes.

Each runs in a process of its own that does nothing else; its peak includes the interpreter and all modules.
`memory of steps`: a settled installation with all rows, one loss, and one step without news.
`memory of dispatch`: three solves from scratch.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench._frame import Case
from bench._plan_world import Size

WITHIN_S = 600
KIB_PER_MB = 1_000_000 / 1_024


def memory_cases(work: str, name: str, size: Size) -> Iterator[Case]:
    """``work`` is `steps` or `dispatch`; ``name`` says the size, e.g. `400 pools`."""
    command = [sys.executable, "-m", "bench._plan_memory", work, *map(str, size)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, timeout=WITHIN_S)
    yield Case(f"memory of {work} {name}", "MB", [float(ended.stdout.split()[-1])])


def _work(work: str, size: Size) -> None:
    # Each module is imported here, because the planner's process never loads the solver.
    if work == "dispatch":
        from bench._plan_dispatch import solved_from_merit_order

        solved_from_merit_order(size)
        return
    from bench._plan_reflex import reflex_cases

    list(reflex_cases("", size, 1, {}, {}))


def _peak_mb() -> float:
    """The peak of this program alone. What getrusage says includes the process that forked it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (kib,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(kib) / KIB_PER_MB


if __name__ == "__main__":
    _work(sys.argv[1], Size(*map(int, sys.argv[2:5])))
    print(round(_peak_mb(), 1))
