"""Where a controller process touches the world around it, beside Kafka and the clock.

``bootstrap`` builds a process with ``REAL``. The simulator (``lab.system``) builds the same process with
ports of its own: Redis, the reader of the event topics, the solver process and the machine's room are then
simulated, and everything else is the code that runs in production. Kafka has its port in
``tieline.kafka.Brokers``, which a simulated installation replaces by a value of its own, and clocks are those
of ``process.clock``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from controller.dispatch.dispatcher import Spawn, spawn_solver
from controller.process.clock import now_ms
from controller.process.connections import connect_redis
from controller.process.resources import Shortages, shortages
from streams.agents import FaustReader
from streams.app import Ingest, IngestSettings
from streams.readers import OpenReader
from streams.store import Tables
from tieline.keys import Keys
from tieline.registration import Registry


@dataclass(frozen=True, slots=True)
class Ports:
    """``redis`` makes a client from an address and the keys of the installation, ``open_reader`` a member of
    the consumer group, ``spawn_solver`` a process that answers on its standard output. ``shortages`` says
    what the machine lacks."""

    redis: Callable[[str, Keys], Any] = connect_redis
    open_reader: OpenReader = FaustReader
    spawn_solver: Spawn = spawn_solver
    shortages: Callable[[], Shortages] = shortages

    def ingest(
        self,
        settings: IngestSettings,
        registry: Registry,
        tables: Tables,
        *,
        on_material: Callable[[int], None],
    ) -> Ingest:
        """The ingesting part, over the port's reader; see ``Ingest``."""
        return Ingest(
            settings,
            registry,
            tables,
            now_ms=now_ms,
            on_material=on_material,
            open_reader=self.open_reader,
        )


REAL = Ports()
