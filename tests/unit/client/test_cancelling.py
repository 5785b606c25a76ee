"""The end of tasks that take a cancellation for something else."""

import asyncio

import pytest

from tieline.cancelling import end_all, run_all, whole


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
    await asyncio.wait_for(end_all([task]), 60)
    assert task.cancelled()
    assert attempts == 2


async def test_the_tasks_end_also_when_the_caller_is_cancelled_meanwhile() -> None:
    """Whoever ends a part that ends others may be cancelled again while it waits for them."""
    refused = asyncio.Event()

    async def follow() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if refused.is_set():
                    raise
                refused.set()

    task = asyncio.create_task(follow())
    await asyncio.sleep(0)
    ending = asyncio.create_task(end_all([task]))
    await refused.wait()
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(ending, 60)
    assert task.cancelled()


async def test_a_step_is_whole_before_its_cancellation_counts() -> None:
    """However often the caller is cancelled; without a cancellation its result comes back."""
    begun, may_end, steps = asyncio.Event(), asyncio.Event(), []

    async def step() -> int:
        begun.set()
        await may_end.wait()
        steps.append("ended")
        return 7

    caller = asyncio.create_task(whole(step()))
    await begun.wait()
    for _ in range(3):
        caller.cancel()
        await asyncio.sleep(0)
        assert not caller.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert steps == ["ended"]
    assert await whole(step()) == 7


async def test_a_step_with_a_grace_is_cancelled_when_it_has_passed() -> None:
    """So that whoever is cancelled ends in bounded time; a step that ends in time is whole."""
    ends, steps = asyncio.Event(), []

    async def step(event: asyncio.Event) -> None:
        try:
            await event.wait()
            steps.append("ended")
        except asyncio.CancelledError:
            steps.append("cut")
            raise

    for event, grace_s in ((ends, 30.0), (asyncio.Event(), 0.01)):
        caller = asyncio.create_task(whole(step(event), grace_s=grace_s))
        await asyncio.sleep(0)
        caller.cancel()
        await asyncio.sleep(0)
        ends.set()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(caller, 60)
    assert steps == ["ended", "cut"]


async def test_parts_that_run_together_end_together() -> None:
    """The error of the part that failed is raised after the others have ended, also where one of them takes a
    cancellation for a failure."""
    refusals, going_on = 0, asyncio.Event()

    async def goes_on() -> None:
        nonlocal refusals
        while True:
            try:
                going_on.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                refusals += 1
                if refusals > 1:
                    raise

    async def fails() -> None:
        await going_on.wait()
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await asyncio.wait_for(run_all(goes_on(), fails()), 60)
    assert refusals == 2
