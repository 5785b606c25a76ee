"""The only wall clock of the controller; everything pure takes its time as an argument."""

import time

_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # BOOTTIME also counts a suspended machine


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    """Milliseconds that never go back, and go on while the process or the machine is suspended.

    Only differences mean anything. A leader measures its lease by this clock.
    """
    return time.clock_gettime_ns(_STEADY) // 1_000_000
