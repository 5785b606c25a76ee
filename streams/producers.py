"""How a producer is closed while its broker may be away."""

import asyncio

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from tieline.cancelling import whole

STOP_WITHIN_S = 1.0


async def stop_producer(producer: AIOKafkaProducer, within_s: float = STOP_WITHIN_S) -> None:
    """Closes it, also when the caller is cancelled meanwhile; what is unsent after ``within_s`` is given up.

    A record that was sent may still be appended later. Every log here is read by a rule that allows for that.
    """
    await whole(_stop(producer, within_s))


async def _stop(producer: AIOKafkaProducer, within_s: float) -> None:
    try:
        await asyncio.wait_for(producer.stop(), within_s)
    except (TimeoutError, KafkaError):
        # stop() waits for unsent records without end while the broker is away, and offers no other way out.
        sender = producer._sender.sender_task
        await producer.client.close()
        if sender is not None and not sender.done():
            sender.cancel()
            await asyncio.wait({sender}, timeout=within_s)
