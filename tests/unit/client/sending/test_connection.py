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


async def test_a_batch_that_waits_to_be_sent_again_is_given_up_like_the_others() -> None:
    """aiokafka took it out and put it back, and takes it for one that is on its way."""
    logged: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: logged.append(context))
    accumulator = MessageAccumulator(None, 1_000, 0, 10)
    place = TopicPartition("topic", 0)
    accumulator._batches[place].append(MessageBatch(place, BatchBuilder(1_000, 0), 10, 0))
    batch = accumulator._pop_batch(place)
    accumulator.reenqueue(batch)
    give_up(accumulator)
    await asyncio.sleep(0)
    assert batch.future.done()
    assert logged == []
