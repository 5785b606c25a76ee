"""What is left of a connection to Kafka that is given up."""

import asyncio
import gc
from typing import Any

from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator, MessageBatch
from aiokafka.structs import TopicPartition

from tieline._sending.connection import give_up


async def test_batches_that_are_given_up_log_no_error() -> None:
    """asyncio logs the error of a future that nobody has looked at. aiokafka has two for each batch."""
    logged: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: logged.append(context))
    accumulator = MessageAccumulator(None, 1_000, 0, 10)
    batch = MessageBatch(TopicPartition("topic", 0), BatchBuilder(1_000, 0), 10, 0)
    accumulator._batches[TopicPartition("topic", 0)].append(batch)
    futures = (batch.future, batch._drain_waiter)
    give_up(accumulator)
    await asyncio.sleep(0)
    assert all(future.done() for future in futures)
    del accumulator, batch, futures
    gc.collect()
    assert logged == []
