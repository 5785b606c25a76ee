"""The only clock of the library. Code without I/O takes the time as an argument instead."""

import time


def now_ms() -> int:
    """Unix time in milliseconds. It may jump when the system's clock is set."""
    return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    """Milliseconds since some fixed moment of this machine. It never jumps."""
    return time.monotonic_ns() // 1_000_000


def monotonic_s() -> float:
    """The same in seconds, as finely as the system measures it."""
    return time.monotonic()
