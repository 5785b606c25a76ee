"""Producers for the ordered logs: idempotent, acks=all, no lingering."""

import asyncio

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from tieline.kafka import Brokers, connecting
from tieline.topics import MIB

REQUEST_TIMEOUT_MS = 5_000
STOP_WITHIN_S = 1.0


async def start_producer(bootstrap: str | Brokers, *, record_max_bytes: int = MIB) -> AIOKafkaProducer:
    """A connected producer. Raises KafkaConnectionError.

    Idempotence keeps its records in order and single; while the broker is away a send waits.
    """
    producer: AIOKafkaProducer = AIOKafkaProducer(
        **connecting(bootstrap),
        acks="all",
        enable_idempotence=True,
        linger_ms=0,
        max_request_size=record_max_bytes + 64 * 1024,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        retry_backoff_ms=50,
    )
    try:
        await producer.start()
    except BaseException:
        await producer.client.close()
        raise
    return producer


async def stop_producer(producer: AIOKafkaProducer, within_s: float = STOP_WITHIN_S) -> None:
    """Closes it; what is still unsent after ``within_s`` is given up.

    A record that was sent may yet land: every log here is read by rules that allow for that.
    """
    try:
        await asyncio.wait_for(producer.stop(), within_s)
    except (TimeoutError, KafkaError):
        # stop() waits for unsent records for ever while the broker is away, and offers no other way out.
        sender = producer._sender.sender_task
        await producer.client.close()
        if sender is not None and not sender.done():
            sender.cancel()
            await asyncio.wait({sender}, timeout=within_s)
