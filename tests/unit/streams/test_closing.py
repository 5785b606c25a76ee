"""Connections to Kafka are closed as a whole, however often the task that closes them is cancelled."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaError

from streams.every_record import close_reader
from streams.producers import stop_producer
from tieline.cancelling import end_all


class SlowToClose:
    """Stands in for a client of Kafka that takes its time to close."""

    def __init__(self) -> None:
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()
        self.is_closed = self.connections_are_closed = False
        self._client = self

    async def stop(self) -> None:
        """Returns once it may."""
        self.begun.set()
        await self.may_end.wait()
        self.is_closed = True

    async def close(self) -> None:
        """Closes the connections below it."""
        self.connections_are_closed = True


@pytest.mark.parametrize("close", [stop_producer, close_reader])
async def test_a_client_is_closed_to_the_end_by_a_task_that_is_ended(
    close: Callable[[Any], Awaitable[None]],
) -> None:
    """A task is cancelled again and again until it has ended, also while it cleans up."""
    client = SlowToClose()

    async def follow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await close(cast(Any, client))

    task = asyncio.create_task(follow())
    await asyncio.sleep(0)
    ending = asyncio.create_task(end_all([task]))
    await client.begun.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    client.may_end.set()
    await asyncio.wait_for(ending, 60)
    assert client.is_closed
    assert task.cancelled()


class FailedFetch:
    """Stands in for a consumer whose ``stop`` ends with an error before it has closed the connections."""

    def __init__(self, error: BaseException) -> None:
        self._error = error
        self._client = SlowToClose()
        self._client.may_end.set()

    async def stop(self) -> None:
        """Raises, as aiokafka's does when a fetch failed, or was cancelled while it waited."""
        raise self._error

    @property
    def is_closed(self) -> bool:
        """Whether its connections are."""
        return self._client.connections_are_closed


@pytest.mark.parametrize("error", [KafkaError("a fetch failed"), asyncio.CancelledError()])
async def test_connections_are_closed_also_when_a_fetch_has_failed(error: BaseException) -> None:
    """Whoever closes the consumer takes neither for an error or a cancellation of its own."""
    consumer = FailedFetch(error)
    await close_reader(cast(Any, consumer))
    assert consumer.is_closed
