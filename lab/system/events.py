"""What is said in a world, as events that producers send to simulated Kafka.

The events are those of the planner's own simulation (``lab.sim.reports``). Here they are not folded at once:
a producer of its own for each speaker sends them, and a speaker that is silent is one whose link to Kafka is
cut. So what it says meanwhile arrives late, as a producer keeps it, or never.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from lab.sim.reports import LIAR, Reports
from lab.sim.weather import Weather
from lab.simulated.clocks import START_MS
from lab.simulated.kafka import SERVER
from lab.system.installation import Installation
from lab.system.spec import SystemWorld
from tieline import Producer
from tieline.events import Capacity, Claim, Command, Demand, Report, Statement, StatementKind

NEVER_S = 1e9
OPERATORS = "operators"
STATUS_PAGE = "status"  # as the policies of ``lab.sim.generate`` name it


class Events(Reports):
    """All speakers of a world. ``said``: how many events were handed to producers."""

    def __init__(self, world: SystemWorld, installation: Installation) -> None:
        super().__init__(world.fuzz)
        self._installation = installation
        self._producers: dict[str, Producer] = {}
        self._awaited: set[str] = set()
        self._all_there = asyncio.Event()
        self._claims: dict[tuple[str, str, StatementKind], tuple[Claim, ...]] = {}
        self.said = 0

    async def start(self, names: Iterable[str]) -> None:
        """Starts a process with a producer for each speaker."""
        self._awaited = {*names, LIAR, OPERATORS, STATUS_PAGE}
        for name in sorted(self._awaited):
            self._installation.start(name, lambda name=name: self._speak(name))  # type: ignore[misc]
        await self._all_there.wait()

    def hush(self, silent: frozenset[str]) -> None:
        """Cuts these speakers off, and lets the others speak again."""
        network = self._installation.network
        for name in self._producers:
            is_cut = network.link(name, SERVER).cut
            if name in silent and not is_cut:
                network.cut(name, SERVER)
            elif name not in silent and is_cut:
                network.heal(name, SERVER)

    def claims_and_orders(self, weather: Weather, now_ms: int) -> None:
        """What a status page and operators say: claims that have changed, and orders that are new."""
        claims: dict[tuple[str, str, StatementKind], tuple[Claim, ...]] = dict.fromkeys(self._claims, ())
        for row in weather.statements:
            event = row.event
            if isinstance(event, Statement):
                place = (event.provider, event.region, event.kind)
                claims[place] = (*claims.get(place, ()), *event.claims)
        for (provider, region, kind), stated in claims.items():
            if self._claims.get((provider, region, kind)) != stated:
                statement = Statement(
                    STATUS_PAGE, provider, region, kind=kind, incarnation="one", sequence=now_ms // 1_000,
                    issued_ms=now_ms, claims=stated,
                )  # fmt: skip
                self._post(STATUS_PAGE, statement)
        self._claims = claims
        for order in weather.commands:
            if order.issued_ms == START_MS + weather.second * 1_000:
                self._post(OPERATORS, order)

    async def _speak(self, name: str) -> None:
        async with Producer(self._installation.brokers, source=name, feedback=False) as producer:
            self._producers[name] = producer
            if self._awaited == set(self._producers):
                self._all_there.set()
            await asyncio.sleep(NEVER_S)

    def _send(self, producer: str, event: Demand | Report | Capacity, _now_ms: int) -> None:
        self._post(producer.split(" ")[0], event)

    def _post(self, name: str, event: Demand | Report | Capacity | Statement | Command) -> None:
        self.said += 1
        self._producers[name].post(event)
