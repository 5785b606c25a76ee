"""The functions of ``time`` on a virtual loop, and randomness that comes from a seed.

Everything in Tieline reads the clock late, as ``time.time_ns()``, so replacing the functions is enough. While
``simulated`` holds, the whole interpreter lives in virtual time: use it in processes of their own.
"""

import os
import platform
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from lab.simulated.loop import CURRENT, VirtualLoop

PROCESS_ID = 1_000  # of every simulated process
START_MS = 1_800_000_000_000  # Unix time at which every simulated world begins


@contextmanager
def simulated(loop: VirtualLoop, seed: str) -> Iterator[None]:
    """Virtual time and seeded randomness for everything in this interpreter."""
    chance = random.Random(f"entropy {seed}")

    def steady_ns() -> int:
        return round(loop.time() * 1_000_000_000)

    def wall_ns() -> int:
        process = CURRENT.get()
        ahead_ms = process.clock_ahead_ms if process is not None else 0
        return (START_MS + ahead_ms) * 1_000_000 + round(loop.time() * 1_000_000_000)

    replaced: dict[tuple[Any, str], Callable[..., Any]] = {
        (time, "time_ns"): wall_ns,
        (time, "time"): lambda: wall_ns() / 1_000_000_000,
        (time, "monotonic_ns"): steady_ns,
        (time, "monotonic"): loop.time,
        (time, "perf_counter"): loop.time,
        (time, "clock_gettime_ns"): lambda _clock: steady_ns(),
        (os, "urandom"): chance.randbytes,
        (os, "getpid"): lambda: PROCESS_ID,
        (platform, "node"): lambda: "simulated",
        (random, "_urandom"): chance.randbytes,
    }
    state = random.getstate()
    with ExitStack() as restoring:
        for (module, name), function in replaced.items():
            restoring.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, function)
        random.seed(f"chance {seed}")
        restoring.callback(random.setstate, state)
        yield
