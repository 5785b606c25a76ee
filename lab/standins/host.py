"""One stand-in process: its pools and their ports, its faults, its log, its admin port."""

import asyncio
import os
import secrets
from collections.abc import Callable
from typing import Any, Protocol

import structlog

from controller.process import clock
from lab.standins.admin import ADMIN_REQUEST_MAX_BYTES, Admin, CapacityOrder
from lab.standins.answers import Answerer, Surroundings
from lab.standins.config import ReadyInfo, StandinConfig
from lab.standins.faults import ActiveFault, FaultBook, FaultOrder, require_served
from lab.standins.journal import Journal
from lab.standins.pool import Pool
from lab.standins.ports import LOOPBACK, Port

_log = structlog.get_logger("tieline.standins")


class CapacityPublisher(Protocol):
    """Tells the world about capacity; ``changed`` asks for it to be told at once."""

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
        around = Surroundings(self.journal, self.faults, clock.now_ms, config.time_scale)
        self._around = around
        now_ms = self.monotonic_ms()
        self.pools = {config.pool_id(pool): Pool(config.pool_id(pool), pool, now_ms) for pool in config.pools}
        self.ports: dict[str, Port] = {}
        self._admin: Port | None = None
        self.publisher: CapacityPublisher | None = None

    def monotonic_ms(self) -> float:
        return asyncio.get_running_loop().time() * 1_000

    async def open(self) -> ReadyInfo:
        """Listen on every port. Raises OSError when one is taken."""
        self.journal.started()
        for pool in self.pools.values():
            port = Port(pool.config.port, Answerer(pool, self._around).handle, host=self.config.host)
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
        """Let answers under way end for about a second, then cut them; the log says which."""
        if self.publisher is not None:
            await self.publisher.close()
        self._around.stopping = True
        ports = [*self.ports.values(), *([self._admin] if self._admin else [])]
        await asyncio.gather(*(port.close() for port in ports))
        self.journal.note("stopped")
        self.journal.close()

    async def order_fault(self, order: FaultOrder) -> ActiveFault:
        """Switch a fault on. Raises FaultError."""
        fault = self.faults.add(order)
        self.journal.note("fault_on", fault=fault)
        _log.info("fault on", fault=fault.id, kind=order.kind, pools=order.pools, share=order.share)
        await self._set_listening()
        return fault

    async def clear_faults(self, *, fault_id: int | None, kind: str | None) -> tuple[ActiveFault, ...]:
        """Switch faults off; gives those that were on."""
        gone = self.faults.clear(fault_id=fault_id, kind=kind)
        for fault in gone:
            self.journal.note("fault_off", fault=fault)
            _log.info("fault off", fault=fault.id, kind=fault.order.kind)
        await self._set_listening()
        return gone

    def change_capacity(self, order: CapacityOrder) -> dict[str, float]:
        """Another capacity from now on, told to the world at once. Raises FaultError for an unknown pool."""
        require_served(order.pools, self.pools)
        chosen = [pool for pool in self.pools.values() if order.pools is None or pool.id in order.pools]
        for pool in chosen:
            tokens_per_s = order.capacity(pool.config.tokens_per_s, pool.bucket.tokens_per_s)
            pool.bucket.change(tokens_per_s, self.monotonic_ms())
            if order.concurrency_max is not None:
                pool.concurrency_max = order.concurrency_max
            self._note_capacity(pool)
            _log.info("capacity changed", pool=pool.id, tokens_per_s=tokens_per_s)
        if self.publisher is not None:
            self.publisher.changed()
        return {pool.id: pool.bucket.tokens_per_s for pool in chosen}

    def state(self) -> dict[str, Any]:
        """What ``GET /state`` answers."""
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
    """Serve until ``stop`` is set; ``ready`` is called once all ports listen.

    Raises OSError when a port is taken or the log can't be written.
    """
    host = Host(config)
    try:
        ready(await host.open())
        if config.kafka is not None:
            from lab.standins.capacity import KafkaCapacityPublisher  # aiokafka: not before ready

            host.publisher = KafkaCapacityPublisher(
                config, config.kafka, host.pools, wall_ms=clock.now_ms, monotonic_ms=host.monotonic_ms
            )
        await stop.wait()
    finally:
        await host.close()
