"""A process runs until somebody asks it to end, or until a task of it ends."""

import asyncio
import subprocess
import sys

import pytest

from controller.process.supervise import TaskEndedError, giving_back, together, until_asked


async def test_it_waits_until_it_is_asked_and_leaves_the_task_running() -> None:
    """The caller ends the task itself, after what has to be done before."""
    asked = asyncio.Event()
    task = asyncio.create_task(asyncio.Event().wait(), name="main")
    waiting = asyncio.create_task(until_asked(asked, task))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert not waiting.done()
    asked.set()
    await waiting
    assert not task.done()
    task.cancel()


async def test_the_error_of_a_task_that_ends_first_is_raised() -> None:
    """An error is not hidden by waiting for a signal that may never come."""

    async def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await until_asked(asyncio.Event(), asyncio.create_task(fails()))


async def test_a_task_that_returns_ends_all_others() -> None:
    """Tasks that should run for ever count as failed when they return, and the others are cancelled."""
    ended: list[str] = []

    async def returns() -> None:
        await asyncio.sleep(0)

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("waits")

    with pytest.raises(TaskEndedError, match="'short' ended"):
        await together({"short": returns(), "long": waits()})
    assert ended == ["waits"]


CYCLES = """
import collections, sys
from controller.collect import run  # as many objects as a collector has
from controller.process.supervise import collect_often

class Cycle:
    alive = most = 0
    def __init__(self):
        self.itself = self
        Cycle.alive += 1
        Cycle.most = max(Cycle.most, Cycle.alive)
    def __del__(self):
        Cycle.alive -= 1

if sys.argv[1] == "often":
    collect_often()
in_use = collections.deque(maxlen=500)
for _ in range(50_000):
    in_use.append(Cycle())
print(Cycle.most)
"""


def test_cycles_that_have_grown_old_do_not_wait_for_hours() -> None:
    """A connection lives longer than the young generations, so its cycle is garbage among old objects."""
    most = {
        how: int(subprocess.run([sys.executable, "-c", CYCLES, how], check=True, capture_output=True).stdout)
        for how in ("often", "as Python does")
    }
    assert most["often"] < 5_000 < most["as Python does"]


HOLES = """
import gc, sys
from controller.process.supervise import collect_often

def resident_mib():
    return int(open("/proc/self/statm").read().split()[1]) * 4_096 / 2**20

if sys.argv[1] == "often":
    collect_often()
before_mib = resident_mib()
pieces = [bytes(1_000) for _ in range(60_000)]
in_use = pieces[::1_000]
del pieces
gc.collect()
print(round(resident_mib() - before_mib))
"""


def test_free_memory_between_what_is_in_use_goes_back_to_the_system() -> None:
    """60 MB are freed but for a piece in a thousand. glibc alone would keep them, as the newest is in use."""
    kept_mib = {
        how: int(subprocess.run([sys.executable, "-c", HOLES, how], check=True, capture_output=True).stdout)
        for how in ("often", "as Python does")
    }
    assert kept_mib["often"] < 20 < kept_mib["as Python does"]


def test_memory_is_given_back_after_full_collections_and_once_a_minute() -> None:
    """A full collection may come many times a second, and giving back takes longer than it."""
    calls: list[int] = []
    now_ms = 1_000
    on_collection = giving_back(calls.append, lambda: now_ms)
    for generation in (0, 1, 2, 2):
        on_collection("start", {"generation": generation})
        on_collection("stop", {"generation": generation})
    assert calls == [0]
    now_ms += 59_999
    on_collection("stop", {"generation": 2})
    assert calls == [0]
    now_ms += 1
    on_collection("stop", {"generation": 2})
    assert calls == [0, 0]
