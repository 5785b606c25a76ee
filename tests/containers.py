"""Kafka and Valkey as containers, through testcontainers: what `--stack containers` gives the tests.

Images are those that compose uses, by the same variables; `script/containers test` builds them where they
can't be pulled.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Self

from testcontainers.core.container import DockerContainer

from lab.stack.kafka import RECORD_BYTES_MAX, kafka_answers
from lab.stack.server import LOOPBACK, free_ports
from lab.stack.valkey import valkey_answers
from tests.waiting import until

KAFKA_IMAGE, VALKEY_IMAGE = "apache/kafka:4.1.1", "valkey/valkey:9.1"
ANSWERS_WITHIN_S = 180.0
STOP_WITHIN_S = 15
INSIDE, OUTSIDE = 9092, 9094
KAFKA_SETTINGS = {
    "NODE_ID": "1",
    "PROCESS_ROLES": "broker,controller",
    "CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
    "LISTENERS": f"INSIDE://localhost:{INSIDE},OUTSIDE://:{OUTSIDE},CONTROLLER://localhost:9093",
    "LISTENER_SECURITY_PROTOCOL_MAP": "INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "INTER_BROKER_LISTENER_NAME": "INSIDE",
    "CONTROLLER_LISTENER_NAMES": "CONTROLLER",
    "LOG_DIRS": "/var/lib/kafka/data",
    "AUTO_CREATE_TOPICS_ENABLE": "false",
    "MESSAGE_MAX_BYTES": str(RECORD_BYTES_MAX),
    "REPLICA_FETCH_MAX_BYTES": str(RECORD_BYTES_MAX),
    "GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    "OFFSETS_TOPIC_NUM_PARTITIONS": "4",
    "OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
    "TRANSACTION_STATE_LOG_NUM_PARTITIONS": "2",
    "TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "TRANSACTION_STATE_LOG_MIN_ISR": "1",
    "BROKER_SESSION_TIMEOUT_MS": "3000",
    "BROKER_HEARTBEAT_INTERVAL_MS": "500",
    "HEAP_OPTS": "-Xmx512m",
}
VALKEY_COMMAND = [
    *("valkey-server", "--save", "", "--appendonly", "no", "--protected-mode", "no"),
    *("--maxmemory", "512mb", "--maxmemory-policy", "noeviction"),
]


class Contained:
    """One server in a container with a port of its own on loopback, the same in every life."""

    def __init__(
        self, container: DockerContainer, inside: int, port: int, answers: Callable[[int], Awaitable[bool]]
    ) -> None:
        container.ports[f"{inside}/tcp"] = (LOOPBACK, port)  # type: ignore[assignment]
        self._container = container
        self._answers = answers
        self._made = False
        self.port = port

    async def start(self) -> None:
        """Starts it, and returns once it answers."""
        if not self._made:
            self._made = True
            await asyncio.to_thread(self._container.start)
        else:
            await asyncio.to_thread(self._container.get_wrapped_container().start)
        await until(lambda: self._answers(self.port), ANSWERS_WITHIN_S, f"{self._container.image} answers")

    async def stop(self) -> None:
        """SIGTERM; gone when this returns."""
        wrapped = self._container.get_wrapped_container()
        await asyncio.to_thread(wrapped.stop, timeout=STOP_WITHIN_S)

    async def kill(self) -> None:
        """SIGKILL; gone when this returns."""
        wrapped = self._container.get_wrapped_container()
        await asyncio.to_thread(wrapped.kill)
        await asyncio.to_thread(wrapped.wait)

    def pause(self) -> None:
        """Connections stay open and nothing answers."""
        self._container.get_wrapped_container().pause()

    def resume(self) -> None:
        """It goes on."""
        self._container.get_wrapped_container().unpause()

    async def remove(self) -> None:
        """The container with its data, whatever state it is in."""
        await asyncio.to_thread(self._container.stop)


class ContainerStack:
    """A Kafka and a Valkey for tests; see `tests.stacks.RealStack`."""

    def __init__(self) -> None:
        kafka_port, valkey_port = free_ports(2)
        kafka = DockerContainer(os.environ.get("KAFKA_IMAGE", KAFKA_IMAGE))
        for name, value in KAFKA_SETTINGS.items():
            kafka.with_env(f"KAFKA_{name}", value)
        kafka.with_env(
            "KAFKA_ADVERTISED_LISTENERS", f"INSIDE://localhost:{INSIDE},OUTSIDE://{LOOPBACK}:{kafka_port}"
        )
        valkey = DockerContainer(os.environ.get("VALKEY_IMAGE", VALKEY_IMAGE)).with_command(VALKEY_COMMAND)
        self.kafka = Contained(kafka, OUTSIDE, kafka_port, kafka_answers)
        self.valkey = Contained(valkey, 6379, valkey_port, valkey_answers)

    @classmethod
    async def start(cls) -> Self:
        """Both, once both answer."""
        stack = cls()
        async with AsyncExitStack() as undo:
            undo.push_async_callback(stack.stop)
            await asyncio.gather(stack.kafka.start(), stack.valkey.start())
            undo.pop_all()
        return stack

    @property
    def kafka_bootstrap(self) -> str:
        """`host:port`."""
        return f"{LOOPBACK}:{self.kafka.port}"

    @property
    def redis_url(self) -> str:
        """Of Valkey."""
        return f"redis://{LOOPBACK}:{self.valkey.port}/0"

    async def stop(self) -> None:
        """Removes both."""
        await asyncio.gather(self.kafka.remove(), self.valkey.remove())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
