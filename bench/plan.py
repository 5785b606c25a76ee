"""What a decision costs: `script/bench plan`.

`reflex N pools`: one step in which a loaded pool is lost. `dispatch N pools`: the linear programme of the
whole table with N-1. Both are promised for 400 pools x 20 workloads x 8 origins and reported for 40 pools,
the reflex also for 4,000. `memory of ...`: the peak memory of a process that does only that.
"""

import sys
from collections.abc import Iterator

from bench._frame import Case, run
from bench._plan_dispatch import dispatch_cases
from bench._plan_memory import memory_cases
from bench._plan_reflex import reflex_cases
from bench._plan_world import Size

SIZES = {
    "40 pools": Size(40, 4, 4),
    "400 pools": Size(400, 20, 8),
    "4000 pools": Size(4_000, 50, 8),
}
SAMPLES = {"40 pools": 200, "400 pools": 100, "4000 pools": 8}
REFLEX = {"400 pools": {"p50": 5.0}}
DISPATCH: dict[str, dict[str, float]] = {"40 pools": {}, "400 pools": {"p50": 500.0}}


def measure() -> Iterator[Case]:
    """Every case that is promised, and those that are only reported."""
    for name, size in SIZES.items():
        yield from reflex_cases(name, size, SAMPLES[name], REFLEX.get(name, {}))
    for name, target in DISPATCH.items():
        yield from dispatch_cases(name, SIZES[name], target)
    for name in ("400 pools", "4000 pools"):
        yield from memory_cases("steps", name, SIZES[name])
    yield from memory_cases("dispatch", "400 pools", SIZES["400 pools"])


if __name__ == "__main__":
    sys.exit(run("plan", measure))
