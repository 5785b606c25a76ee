"""Reading a topic beside sending: a consumer without a group, which leaves nothing behind on Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tieline.kafka import REQUEST_TIMEOUT_MS, Brokers, brokers_of, close_consumer, connect


@asynccontextmanager
async def reader(bootstrap: str | Brokers, record_max_bytes: int) -> AsyncIterator[Any]:
    """A connected aiokafka consumer, closed at the end. Raises KafkaError and OSError."""

    consumer = brokers_of(bootstrap).consumer(
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        max_partition_fetch_bytes=record_max_bytes,
    )
    try:
        await connect(consumer)
        yield consumer
    finally:
        await close_consumer(consumer)
