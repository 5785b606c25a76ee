"""The end of tasks that take a cancellation for something else."""

import asyncio

from tieline.cancelling import end_all


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
