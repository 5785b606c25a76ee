"""Waking waiters, and an event loop in a thread of its own."""

import asyncio
import threading

import pytest

from tieline._process.loops import LoopThread, Notifier, current_caller, end_all
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


async def test_a_task_that_takes_a_cancellation_for_a_failure_is_ended_all_the_same() -> None:
    """A library that is cancelled while it connects may call that a failure, and the task tries again."""
    attempts = 0

    async def follow() -> None:
        nonlocal attempts
        while True:
            attempts += 1
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if attempts > 1:
                    raise

    task = asyncio.create_task(follow())
    await asyncio.sleep(0)
    await asyncio.wait_for(end_all([task]), 10)
    assert task.cancelled()
    assert attempts == 2
