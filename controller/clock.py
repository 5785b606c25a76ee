"""The only wall clock of the controller; everything pure takes its time as an argument."""

import time


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    """Milliseconds that never go back; only differences mean anything."""
    return time.monotonic_ns() // 1_000_000
