"""Publishes the capacity of a stand-in's pools to Kafka: one record for all, regularly and at every change.

Stand-ins publish nothing about health: probers and clients report that, as they do of real providers.
"""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from lab.standins.config import KafkaConfig, StandinConfig
from lab.standins.pool import Pool
from tieline.events import Capacity, PoolCapacity
from tieline.producer import Producer

EXPIRES_AFTER_INTERVALS = 3
EXPIRES_AFTER_MIN_MS = 15_000
CLOSE_TIMEOUT_S = 1.0
_log = structlog.get_logger("tieline.standins")


def capacity_event(
    config: StandinConfig,
    kafka: KafkaConfig,
    pools: Mapping[str, Pool],
    *,
    incarnation: str,
    sequence: int,
    issued_ms: int,
    monotonic_ms: float,
) -> Capacity:
    """All pools of the process as one event. It expires after three intervals, but not before 15 s."""
    expires_after_ms = max(EXPIRES_AFTER_MIN_MS, round(EXPIRES_AFTER_INTERVALS * kafka.interval_s * 1_000))
    return Capacity(
        source=kafka.source,
        provider=config.provider,
        region=config.region,
        incarnation=incarnation,
        sequence=sequence,
        issued_ms=issued_ms,
        expires_ms=issued_ms + expires_after_ms,
        pools=tuple(
            PoolCapacity(
                pool=pool.id,
                limit_units_per_s=pool.bucket.tokens_per_s,
                in_use_units_per_s=round(pool.meter.tokens_per_s(monotonic_ms), 1),
                concurrency=pool.concurrency_max,
            )
            for pool in pools.values()
        ),
    )


class KafkaCapacityPublisher:
    """Publishes until closed. While Kafka is away, events that expire are dropped and a warning is logged."""

    def __init__(
        self,
        config: StandinConfig,
        kafka: KafkaConfig,
        pools: Mapping[str, Pool],
        *,
        wall_ms: Callable[[], int],
        monotonic_ms: Callable[[], float],
    ) -> None:
        self._config = config
        self._kafka = kafka
        self._pools = pools
        self._wall_ms = wall_ms
        self._monotonic_ms = monotonic_ms
        self._sequence = 0
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._publish(), name="publish capacity")

    def changed(self) -> None:
        """Publishes at once."""
        self._changed.set()

    async def close(self) -> None:
        """Stops publishing, within about a second."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _publish(self) -> None:
        kafka = self._kafka
        producer = Producer(
            kafka.bootstrap_servers, source=kafka.source, prefix=kafka.topic_prefix, now_ms=self._wall_ms
        )
        await producer.start()
        last_error = ""
        try:
            while True:
                producer.post(self._event(producer.incarnation))
                error = producer.status.error
                if error and error != last_error:
                    _log.warning("capacity is not published", error=error)
                last_error = error
                await self._pause()
        finally:
            await producer.stop(drain_timeout_s=CLOSE_TIMEOUT_S)

    def _event(self, incarnation: str) -> Capacity:
        self._sequence += 1
        return capacity_event(
            self._config,
            self._kafka,
            self._pools,
            incarnation=incarnation,
            sequence=self._sequence,
            issued_ms=self._wall_ms(),
            monotonic_ms=self._monotonic_ms(),
        )

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._kafka.interval_s):
                await self._changed.wait()
        except TimeoutError:
            pass
        self._changed.clear()
