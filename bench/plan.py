"""What a decision costs: `script/bench plan`.

`reflex N pools`: one step in which a loaded pool is lost. `dispatch N pools`: the linear programme of the
whole table with N-1. Both are promised for 400 pools x 20 workloads x 8 origins and for 4,000 x 50 x 8, and
reported for other sizes. `32 contexts`: so many that hardly any two routes are alike, so that a large
programme merges pools. `first table N pools`: the step that begins a lineage. `memory of ...`: the peak
memory of a process that does only that.

How both grow is drawn from the JSON: `script/bench plan --json | .venv/bin/python -m bench._plan_plot
dispatch docs/pictures/dispatch.svg`, and with `reflex` docs/pictures/reflex.svg.
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
    "1000 pools": Size(1_000, 30, 8),
    "2000 pools": Size(2_000, 40, 8),
    "4000 pools": Size(4_000, 50, 8),
}
SAMPLES = {"40 pools": 200, "400 pools": 200, "1000 pools": 50, "2000 pools": 50, "4000 pools": 200}
REFLEX = {"400 pools": {"p50": 5.0}, "4000 pools": {"p50": 20.0, "p99": 60.0}}
FIRST_TABLE = {"4000 pools": {"p50": 1_000.0}}
CONTEXTS = 32  # that workloads need and pools offer, so that hardly any two routes are alike
DISPATCH = {"400 pools": {"p50": 100.0}, "4000 pools": {"p50": 5_000.0}}


def measure() -> Iterator[Case]:
    """Every case that is promised, and those that are only reported."""
    for name, samples in SAMPLES.items():
        targets = REFLEX.get(name, {}), FIRST_TABLE.get(name, {})
        yield from reflex_cases(name, SIZES[name], samples, *targets)
    for name, size in SIZES.items():
        yield from dispatch_cases(name, size, DISPATCH.get(name, {}))
    for name in ("400 pools", "4000 pools"):
        yield from dispatch_cases(f"{name}, {CONTEXTS} contexts", SIZES[name], {}, CONTEXTS)
    for name in ("400 pools", "4000 pools"):
        yield from memory_cases("steps", name, SIZES[name])
    for name, size in SIZES.items():
        yield from memory_cases("dispatch", name, size)


if __name__ == "__main__":
    sys.exit(run("plan", measure))
