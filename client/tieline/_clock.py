"""The only wall clock of the library; everything pure takes its time as an argument."""

import time


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000
