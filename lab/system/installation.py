"""The servers and processes of one installation, on simulated surroundings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from aiokafka.errors import KafkaError

from controller.bootstrap import Controller
from controller.core.policy.policy import Policy
from controller.core.policy.registry import registry_of
from controller.ports import Ports
from controller.process.errors import UserError
from controller.process.resources import Shortages
from controller.process.seal import NO_SEAL
from controller.process.settings import Settings
from lab.simulated.kafka import SimKafka
from lab.simulated.kafka_clients import SimBrokers
from lab.simulated.loop import Life, Process, VirtualLoop
from lab.simulated.network import Network
from lab.simulated.reader import open_reader
from lab.simulated.redis import SimRedis
from lab.simulated.redis_client import SimRedisClient
from lab.simulated.solver import spawn_solver
from streams.contract_check import Judge
from streams.memory import MemoryTables
from streams.rebuild import rebuild
from streams.settings import IngestSettings
from streams.store import Contents
from streams.tables import RedisTables
from streams.topic_ids import topic_facts
from tieline.keys import Keys
from tieline.topics import Topics

REDIS_URL = "redis://simulated"
RESTARTED_AFTER_S = 1.0


class Installation:
    """Kafka, Redis, and whoever was started on them. ``restarts``: how often a supervisor did so again.
    ``endings``: why processes ended by themselves, beside errors that are said to an operator."""

    def __init__(self, loop: VirtualLoop, policy: Policy, seed: str, *, partitions: int) -> None:
        self._loop = loop
        self._policy = policy
        self.network = Network(loop, seed)
        self.kafka = SimKafka(self.network, seed)
        self.redis = SimRedis(self.network)
        self.topics = Topics(partitions=partitions)
        self.keys = Keys()
        for topic in self.topics.all():
            self.kafka.create(topic.name, topic.partitions)
        self.brokers = SimBrokers("simulated:9092", kafka=self.kafka)
        self.processes: dict[str, Process] = {}
        self.controllers: dict[str, Controller] = {}
        self.restarts = 0
        self.endings: list[str] = []

    def start(self, name: str, main: Callable[[], Coroutine[Any, Any, None]]) -> Process:
        """Starts a process of this name."""
        process = self.processes[name] = Process(self._loop, name)
        process.start(main)
        return process

    async def keep(self, name: str) -> None:
        """Keeps one controller running, as a supervisor does: what has ended or was killed starts again."""
        while True:
            process = self.start(name, lambda: self._controller(name))
            await process.over.wait()
            if process.ended:
                if not isinstance(process.ended[0], KafkaError | UserError):  # those are said to an operator
                    self.endings.append(f"{name}: {process.ended[0]!r}")
                process.kill()
            await asyncio.sleep(RESTARTED_AFTER_S)
            self.restarts += 1

    def end(self) -> None:
        """Nothing of it runs any more."""
        for process in self.processes.values():
            process.kill()

    def leader(self) -> str:
        """The controller that leads in its own eyes under the highest epoch; empty if none does."""
        leading = [
            (epoch, name)
            for name, controller in self.controllers.items()
            if (epoch := controller.leader.epoch) is not None and self.processes[name].life is not Life.DEAD
        ]
        return max(leading)[1] if leading else ""

    async def contents(self) -> Contents:
        """The tables in Redis."""
        return await RedisTables(SimRedisClient(self.redis), self.keys).read()  # type: ignore[arg-type]

    async def rebuilt(self, now_ms: int) -> Contents:
        """The tables as they are made from Kafka alone."""
        settings = IngestSettings(self.brokers)
        facts = await topic_facts(self.brokers, settings.consumed)
        tables, judge = MemoryTables(), Judge(self.topics, registry_of(self._policy))
        await rebuild(settings, tables, judge, facts=facts, now_ms=now_ms)
        return await tables.read()

    def keys_on(self, *topics: str, until_ms: int) -> list[bytes | None]:
        """The keys of all records that these topics hold since before that time."""
        partitions = [part for name in topics for part in self.kafka.topics[name].partitions]
        return [record.key for part in partitions for record in part.records if record.timestamp <= until_ms]

    async def _controller(self, name: str) -> None:
        settings = Settings(kafka=self.brokers, redis=REDIS_URL, unsigned=True)
        ports = Ports(
            redis=lambda _url, _keys: SimRedisClient(self.redis),
            open_reader=open_reader(self.kafka),
            spawn_solver=spawn_solver,
            shortages=Shortages,
        )
        async with Controller(settings, self._policy, NO_SEAL, ports=ports).connected() as controller:
            self.controllers[name] = controller
            await controller.run()
