"""What the kernel says of processes, for tests of their lives and deaths. Linux only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def runs(pid: int) -> bool:
    """Whether a process runs. A zombie, which only waits for its parent to note its end, doesn't."""
    return (_fields(pid) or ["X"])[0] not in {"Z", "X"}


def parent_of(pid: int) -> int:
    """The process that started a running one."""
    return int(_fields(pid)[1])


def descendants(pid: int) -> Iterator[int]:
    """Every process below this one."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield int(child)
        yield from descendants(int(child))


def _fields(pid: int) -> list[str]:
    """State, parent and more, as proc(5) lists them; empty if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
