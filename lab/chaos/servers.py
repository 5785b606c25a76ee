"""The servers of the world: Kafka with a door for each part, Valkey with a saved copy, and the clock shim."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID, uuid4

from lab.chaos.links import Link
from lab.errors import StackError
from lab.stack.kafka import Kafka
from lab.stack.kafka_cluster import KafkaCluster
from lab.stack.server import LOOPBACK
from lab.stack.valkey import Valkey

SHIM_SOURCE = Path(__file__).with_name("clock_shim.c")
CLOCK_FILE = "TIELINE_CHAOS_CLOCK"
SNAPSHOT = "dump.rdb"


class ChaosKafka(Kafka):
    """Kafka with one listener more for each part. It tells a part to come back by the part's own link."""

    def __init__(
        self,
        place: Path,
        jars: list[Path],
        doors: Sequence[Link],
        *,
        environment: dict[str, str],
        number: int = 1,
        nodes: Sequence[Kafka] | None = None,
        cluster: UUID | None = None,
    ) -> None:
        self.ports_needed = 2 + len(doors)
        self._doors = doors
        self._shim = environment
        super().__init__(place, jars, number=number, nodes=nodes, cluster=cluster)

    def become_another_cluster(self) -> None:
        """The next start finds no data, and forms a cluster with another id. Kafka must not run."""
        shutil.rmtree(self.place / "data")
        self._cluster = uuid4()

    def command(self) -> list[str]:
        """Later settings win over earlier ones. The plain listener is the recorder's own."""
        plain, controller, *ports = self.ports
        for door, port in zip(self._doors, ports, strict=True):
            door.target_port = port
        names = [f"DOOR{number}" for number in range(len(ports))]
        inside = [f"{name}://{LOOPBACK}:{port}" for name, port in zip(names, ports, strict=True)]
        outside = [f"{name}://{LOOPBACK}:{door.port}" for name, door in zip(names, self._doors, strict=True)]
        protocols = [f"{name}:PLAINTEXT" for name in (*names, "PLAINTEXT", "CONTROLLER")]
        settings = {
            "listeners": ",".join(
                (f"PLAINTEXT://{LOOPBACK}:{plain}", f"CONTROLLER://{LOOPBACK}:{controller}", *inside)
            ),
            "advertised.listeners": ",".join((f"PLAINTEXT://{LOOPBACK}:{plain}", *outside)),
            "listener.security.protocol.map": ",".join(protocols),
            "log.retention.check.interval.ms": "1000",
            "log.segment.delete.delay.ms": "100",
        }
        if len(self._nodes) == 1:  # several could not vote before they have read the rules of access
            settings["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
            settings["allow.everyone.if.no.acl.found"] = "true"
        with (self.place / "server.properties").open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in settings.items())
        return [*_with_environment(self._shim), *super().command()]


class ChaosCluster(KafkaCluster):
    """Several brokers without doors, each with a clock of its own if there are ``shims``."""

    def __init__(self, place: Path, jars: list[Path], count: int, *, shims: Sequence[dict[str, str]]) -> None:
        """``shims``: the environment of each broker, in their order; empty for none."""
        self._shims = shims
        super().__init__(place, jars, count)

    def node(self, place: Path, jars: list[Path], number: int, *, cluster: UUID) -> Kafka:
        """A broker with its own clock."""
        shim = self._shims[number - 1] if self._shims else {}
        return ChaosKafka(place, jars, (), environment=shim, number=number, nodes=self.nodes, cluster=cluster)


class ChaosValkey(Valkey):
    """Valkey that can be brought back with an older copy of its data, or kept from saving it."""

    def command(self) -> list[str]:
        """With the settings that Valkey protects from being changed while it runs."""
        return [*super().command(), "--enable-protected-configs", "local"]

    def keep_copy(self) -> None:
        """Sets aside what SAVE has just written."""
        shutil.copy(self.place / SNAPSHOT, self.place / "kept.rdb")

    def put_copy_back(self) -> None:
        """The next start finds that copy. Valkey must not run."""
        shutil.copy(self.place / "kept.rdb", self.place / SNAPSHOT)

    def drop_copy(self) -> None:
        """The next start finds nothing."""
        (self.place / SNAPSHOT).unlink(missing_ok=True)


class ShimClock:
    """A wall clock of some processes that can be set while they run. Steady clocks go on as they are.

    The processes load a small library (LD_PRELOAD) that adds what a file says to the time of day.
    """

    def __init__(self, library: Path, file: Path) -> None:
        """``file`` holds the offset as eight bytes; it is created with 0."""
        self.environment = {"LD_PRELOAD": str(library), CLOCK_FILE: str(file)}
        file.write_bytes(struct.pack("=q", 0))
        with file.open("r+b") as opened:
            self._map = mmap.mmap(opened.fileno(), 8)

    def set_ahead(self, ahead_ms: int) -> None:
        """From now on the processes' clock is ahead of the machine's by so much; negative is behind."""
        self._map[:8] = struct.pack("=q", ahead_ms * 1_000_000)


def build_shim(directory: Path) -> Path:
    """Compiles the shim. Raises StackError without a C compiler."""
    compiler = next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)
    if compiler is None:
        raise StackError("the faults of clocks need a C compiler for their shim: install gcc or clang")
    library = directory / "clock_shim.so"
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SHIM_SOURCE), "-ldl"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode:
        raise StackError(f"the clock shim can't be compiled: {built.stderr.strip()}")
    return library


def _with_environment(environment: dict[str, str]) -> list[str]:
    """The words before a command that give it more environment."""
    return ["env", *(f"{name}={value}" for name, value in environment.items())] if environment else []
