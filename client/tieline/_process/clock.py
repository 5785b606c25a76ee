"""The only clock of the library; everything pure takes its time as an argument."""

import time


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    """This process's own time in milliseconds, which never jumps."""
    return time.monotonic_ns() // 1_000_000


def monotonic_s() -> float:
    """The same in seconds, as finely as the system gives it."""
    return time.monotonic()
