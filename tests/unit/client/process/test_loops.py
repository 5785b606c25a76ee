"""Waking waiters, and an event loop in a thread of its own."""

import asyncio
import threading

import pytest

from tieline._process.loops import LoopThread, Notifier, current_caller
from tieline.errors import ClosedError


async def test_all_who_wait_are_woken_and_nobody_who_comes_later() -> None:
    """A notification is for the moment: whoever waits afterwards waits for the next one."""
    notifier = Notifier()
    early = [asyncio.create_task(notifier.wait()) for _ in range(2)]
    await asyncio.sleep(0)
    notifier.notify_all()
    late = asyncio.create_task(notifier.wait())
    await asyncio.gather(*early)
    assert not late.done()
    notifier.notify_all()
    await late


def test_coroutines_run_in_the_thread_of_the_loop() -> None:
    """And their results and errors come back to the caller; before the start and after the end they are
    refused."""

    async def thread() -> threading.Thread:
        return threading.current_thread()

    async def fails() -> None:
        raise ValueError("from the loop")

    loop = LoopThread()
    with pytest.raises(ClosedError, match="not running"):
        loop.run(thread())
    loop.start()
    assert loop.run(thread()) is not threading.current_thread()
    with pytest.raises(ValueError, match="from the loop"):
        loop.run(fails())
    loop.stop()
    with pytest.raises(ClosedError, match="not running"):
        loop.run(thread())


async def test_each_task_and_each_thread_is_a_caller_of_its_own() -> None:
    """As long as it runs it has the same number, in whatever it calls."""

    async def ask() -> int:
        return current_caller()

    tasks = [asyncio.create_task(ask()) for _ in range(2)]
    threads = [asyncio.to_thread(current_caller)]
    callers = [current_caller(), *await asyncio.gather(*tasks, *threads)]
    assert len(set(callers)) == 4
    assert await ask() == callers[0]


def test_a_beginning_that_fails_leaves_no_thread() -> None:
    """Nothing runs in it, and nobody would end it. A thread that ran before stays."""

    async def fails() -> None:
        raise ValueError("from the loop")

    async def thread() -> threading.Thread:
        return threading.current_thread()

    loop = LoopThread()
    with pytest.raises(ValueError, match="from the loop"):
        loop.begin(fails())
    assert not loop.running
    own = loop.begin(thread())
    with pytest.raises(ValueError, match="from the loop"):
        loop.begin(fails())
    assert loop.run(thread()) is own
    loop.stop()
    assert not own.is_alive()
