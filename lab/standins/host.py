"""Everything that one stand-in process serves: its pools and their ports, faults, log and admin port."""

import asyncio
import os
import secrets
from collections.abc import Callable
from typing import Any, Protocol

import structlog

from controller.process import clock
from lab.standins.admin import ADMIN_REQUEST_MAX_BYTES, Admin, CapacityOrder
from lab.standins.answers import Answerer, HostState
from lab.standins.config import ReadyInfo, StandinConfig
from lab.standins.faults import ActiveFault, FaultBook, FaultOrder, require_served
from lab.standins.journal import Journal
from lab.standins.pool import Pool
from lab.standins.ports import LOOPBACK, Port

_log = structlog.get_logger("tieline.standins")


class CapacityPublisher(Protocol):
    """Publishes capacity from time to time; ``changed`` asks it to do so at once."""

    def changed(self) -> None: ...
    async def close(self) -> None: ...


class Host:
    """Everything that one process serves."""

    def __init__(self, config: StandinConfig) -> None:
        self.config = config
        self.journal = Journal(
            config.log_path, secrets.token_hex(4), clock.now_ms, keep_bytes=config.log_keep_bytes
        )
        self.faults = FaultBook(config.seed)
        self._state = HostState(self.journal, self.faults, clock.now_ms, time_scale=config.time_scale)
        now_ms = self.monotonic_ms()
        self.pools = {config.pool_id(pool): Pool(config.pool_id(pool), pool, now_ms) for pool in config.pools}
        self.ports: dict[str, Port] = {}
        self._admin: Port | None = None
        self.publisher: CapacityPublisher | None = None

    def monotonic_ms(self) -> float:
        """The event loop's clock in milliseconds."""
        return asyncio.get_running_loop().time() * 1_000

    async def open(self) -> ReadyInfo:
        """Listens on every port. Raises OSError when one is taken."""
        self.journal.started()
        for pool in self.pools.values():
            port = Port(pool.config.port, Answerer(pool, self._state).handle, host=self.config.host)
            self.ports[pool.id] = port
            self._note_capacity(pool)
            await port.listen()
        self._admin = Port(
            self.config.admin_port, Admin(self).handle, ADMIN_REQUEST_MAX_BYTES, host=self.config.host
        )
        await self._admin.listen()
        return ReadyInfo(
            pid=os.getpid(),
            provider=self.config.provider,
            region=self.config.region,
            admin_url=f"http://{LOOPBACK}:{self._admin.number}",
            ports={pool_id: port.number for pool_id, port in self.ports.items()},
            log_path=str(self.journal.path),
        )

    async def close(self) -> None:
        """Gives answers under way about a second, then cuts them. The log names those that were cut."""
        if self.publisher is not None:
            await self.publisher.close()
        self._state.stopping = True
        ports = [*self.ports.values(), *([self._admin] if self._admin else [])]
        await asyncio.gather(*(port.close() for port in ports))
        self.journal.note("stopped")
        self.journal.close()

    async def order_fault(self, order: FaultOrder) -> ActiveFault:
        """Switches a fault on. Raises FaultError if too many are on."""
        fault = self.faults.add(order)
        self.journal.note("fault_on", fault=fault)
        _log.info("fault on", fault=fault.id, kind=order.kind, pools=order.pools, share=order.share)
        await self._set_listening()
        return fault

    async def clear_faults(self, *, fault_id: int | None, kind: str | None) -> tuple[ActiveFault, ...]:
        """Switches off the faults that fit; returns them."""
        matches = self.faults.clear(fault_id=fault_id, kind=kind)
        for fault in matches:
            self.journal.note("fault_off", fault=fault)
            _log.info("fault off", fault=fault.id, kind=fault.order.kind)
        await self._set_listening()
        return matches

    def change_capacity(self, order: CapacityOrder) -> dict[str, float]:
        """Changes capacities and publishes them at once; returns tokens/s by pool.

        Raises FaultError for a pool that is not served here.
        """
        require_served(order.pools, self.pools)
        pools = [pool for pool in self.pools.values() if order.pools is None or pool.id in order.pools]
        for pool in pools:
            tokens_per_s = order.capacity(pool.config.tokens_per_s, pool.bucket.tokens_per_s)
            pool.bucket.change(tokens_per_s, self.monotonic_ms())
            if order.concurrency_max is not None:
                pool.concurrency_max = order.concurrency_max
            self._note_capacity(pool)
            _log.info("capacity changed", pool=pool.id, tokens_per_s=tokens_per_s)
        if self.publisher is not None:
            self.publisher.changed()
        return {pool.id: pool.bucket.tokens_per_s for pool in pools}

    def state(self) -> dict[str, Any]:
        """The answer to ``GET /state``."""
        return {
            "pid": os.getpid(),
            "provider": self.config.provider,
            "region": self.config.region,
            "log_path": str(self.journal.path),
            "pools": [self._pool_state(pool) for pool in self.pools.values()],
            "faults": self.faults.active,
        }

    def _pool_state(self, pool: Pool) -> dict[str, Any]:
        port, now_ms = self.ports[pool.id], self.monotonic_ms()
        return {
            "pool": pool.id,
            "url": f"http://{LOOPBACK}:{port.number}/v1",
            "port": port.number,
            "listening": port.listening,
            "models": pool.config.models,
            "tokens_per_s": pool.bucket.tokens_per_s,
            "configured_tokens_per_s": pool.config.tokens_per_s,
            "concurrency_max": pool.concurrency_max,
            "admitted_tokens_per_s": round(pool.meter.tokens_per_s(now_ms), 1),
            "in_flight": pool.in_flight,
            "arrived": pool.arrived,
            "outcomes": dict(pool.outcomes),
        }

    async def _set_listening(self) -> None:
        refused = self.faults.refused_pools(self.ports)
        for pool_id, port in self.ports.items():
            await (port.refuse() if pool_id in refused else port.listen())

    def _note_capacity(self, pool: Pool) -> None:
        self.journal.note("capacity", pool=pool.id, tokens_per_s=pool.bucket.tokens_per_s)


async def run(config: StandinConfig, ready: Callable[[ReadyInfo], None], stop: asyncio.Event) -> None:
    """Serves until ``stop`` is set; calls ``ready`` once all ports listen.

    Raises OSError when a port is taken or the log can't be written.
    """
    host = Host(config)
    try:
        ready(await host.open())
        if config.kafka is not None:
            from lab.standins.capacity import (
                KafkaCapacityPublisher,
            )  # loads aiokafka, which would delay the start

            host.publisher = KafkaCapacityPublisher(
                config, config.kafka, host.pools, wall_ms=clock.now_ms, monotonic_ms=host.monotonic_ms
            )
        await stop.wait()
    finally:
        await host.close()
