"""A process of `scale` with many clients: python -m bench._scale_clients ADDRESS COUNT ROUTE...

Each is a `tieline.AsyncClient` with connections of its own, as an application has one; the routes are dealt
out in turns. No application has that many in one process, which is therefore set up as a controller's is.
When the last of them has applied a generation a line says so, in JSON: which one it was, and at what time of
the steady clock each client had it.
"""

import asyncio
import json
import os
import sys

import uvloop

from controller.process.supervise import collect_seldom
from controller.web.admission import TOKENS
from tieline import Applied, AsyncClient
from tieline.events import Demand

STARTED_AT_ONCE = 25


class Crowd:
    """The clients, and which of them have applied what."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._at_ms: dict[str, list[float]] = {}

    def note(self, applied: Applied) -> None:
        """One client has a table in force."""
        times = self._at_ms.setdefault(applied.generation, [])
        times.append(applied.at_monotonic_ms)
        if len(times) == self._count:
            del self._at_ms[applied.generation]
            sys.stdout.write(json.dumps({"generation": applied.generation, "at_ms": times}) + "\n")
            sys.stdout.flush()


class NoReports:
    """Takes clients' reports and drops them."""

    def post(self, _event: Demand) -> bool:
        """Drops the report."""
        return True


async def main(address: str, count: int, routes: list[str]) -> None:
    """Until killed."""
    crowd = Crowd(count)
    clients = []
    for number in range(count):
        workload, origin = routes[number % len(routes)].split("/")
        client = AsyncClient(
            address, workload=workload, origin=origin, kafka=NoReports(), token=os.environ.get(TOKENS)
        )
        client.on_table(crowd.note)
        clients.append(client)
    for first in range(0, count, STARTED_AT_ONCE):
        batch = clients[first : first + STARTED_AT_ONCE]
        await asyncio.gather(*[client.__aenter__() for client in batch])
        await asyncio.gather(*[client.ready(60) for client in batch])
    await asyncio.Event().wait()


if __name__ == "__main__":
    collect_seldom()
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
