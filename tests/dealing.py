"""The order of tests for parallel workers: what takes long begins at once, so that none is waited for last.

pytest-xdist gives each worker an equal part of the list. A worker that is done takes half of what is left at
the end of another's part, but it can't help with a long test that has begun late.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")

# Files whose tests take half a minute and more. Those of a row share a worker: their processes are many.
LONG = (
    ("test_runbooks.py", "test_demo.py", "test_offers.py"),
    (
        "test_clusters.py",
        "test_client_sdk.py",
        "test_streams_crash.py",
        "test_policies.py",
        "test_client_costly.py",
    ),
    ("test_chaos.py", "test_fitness.py", "test_agent.py"),
    ("test_redis_failover.py", "test_clusters.py"),
)


def dealt(
    items: Sequence[tuple[str, Item]], workers: int, rows: Sequence[Sequence[str]] = LONG
) -> list[Item]:
    """The items, each given with the name of its file, in an order in which the part of each worker begins
    with a row of long files. The others keep their order."""
    parts: list[list[Item]] = [[] for _ in range(workers)]
    for number, row in enumerate(rows):
        parts[number % workers] += [item for name in row for file, item in items if file == name]
    long = {name for row in rows for name in row}
    rest = [item for file, item in items if file not in long]
    left = len(items)
    for number, part in enumerate(parts):
        room = max(0, left // (workers - number) - len(part))
        part += rest[:room]
        del rest[:room]
        left -= len(part)
    return [item for part in parts for item in part]
