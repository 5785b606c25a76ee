"""A process runs until somebody asks it to end, or until a task of it ends."""

import asyncio

import pytest

from controller.process.supervise import TaskEndedError, together, until_asked


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
