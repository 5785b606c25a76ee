"""Addresses of pools: those that the file names, else those that the host of the pool's URL has.

Of several replicas the one with the fewest requests on their way is taken, and of equal ones each in turn.
A name that can't be looked up keeps the addresses that it had.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import TypeAlias
from urllib.parse import urlsplit

import structlog

from tieline.table import PoolInfo

Place: TypeAlias = tuple[str, int]  # host, port
_PORTS = {"https": 443, "http": 80}


class Endpoints:
    """``named``: pool -> addresses that take the place of its URL's."""

    def __init__(self, named: Mapping[str, tuple[str, ...]]) -> None:
        self._named = dict(named)
        self._places: dict[str, dict[str, Place]] = {}  # owner of a table -> pool -> place of its URL
        self._addresses: dict[Place, tuple[str, ...]] = {}
        self._in_flight: dict[str, int] = {}
        self._turn = 0
        self._changed = asyncio.Event()

    def follow(self, owner: str, infos: Iterable[PoolInfo]) -> None:
        """The pools of the table that this owner has in force; those of its last table are forgotten."""
        places = {info.pool: place for info in infos if (place := place_of(info.url)) is not None}
        self._places[owner] = places
        for place in places.values():
            if place not in self._addresses and (literal := _literal(place)) is not None:
                self._addresses[place] = (literal,)
        self._changed.set()

    def of(self, pool: str) -> tuple[str, ...]:
        """Addresses of the pool's replicas; empty while none is known."""
        if (named := self._named.get(pool)) is not None:
            return named
        for places in self._places.values():
            if (place := places.get(pool)) is not None:
                return self._addresses.get(place, ())
        return ()

    def choose(self, pool: str, allowed: Collection[str] | None = None) -> str | None:
        """The replica that the next request goes to; ``allowed``: one of these only. None without any."""
        addresses = self.of(pool)
        if allowed is not None:
            addresses = tuple(address for address in addresses if address in allowed)
        if len(addresses) < 2:
            return addresses[0] if addresses else None
        self._turn += 1
        start, busy = self._turn % len(addresses), self._in_flight
        return min((*addresses[start:], *addresses[:start]), key=lambda address: busy.get(address, 0))

    def began(self, address: str) -> None:
        """A request is on its way there."""
        self._in_flight[address] = self._in_flight.get(address, 0) + 1

    def ended(self, address: str) -> None:
        """It is over."""
        left = self._in_flight.get(address, 0) - 1
        if left > 0:
            self._in_flight[address] = left
        else:
            self._in_flight.pop(address, None)

    def unknown(self) -> list[str]:
        """Pools of the tables in force that have no address."""
        pools = {pool for places in self._places.values() for pool in places}
        return sorted(pool for pool in pools if not self.of(pool))

    async def run(
        self, every_s: float, look_up: Callable[[Place], Awaitable[tuple[str, ...]]] | None = None
    ) -> None:
        """Look names up until cancelled: at once when a table names a new one, and all of them again and
        again."""
        log = structlog.get_logger("picker")
        while True:
            self._changed.clear()
            places = {place for owned in self._places.values() for place in owned.values()}
            for place in sorted(places):
                if _literal(place) is not None:
                    continue
                try:
                    self._addresses[place] = await (look_up or addresses_of)(place)
                except OSError as error:
                    log.warning("a host of the table can't be looked up", host=place[0], error=str(error))
            for place in self._addresses.keys() - places:
                del self._addresses[place]
            try:
                async with asyncio.timeout(every_s):
                    await self._changed.wait()
            except TimeoutError:
                pass


def place_of(url: str) -> Place | None:
    """Host and port of a pool's URL; None for one without a host."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname and port else None


async def addresses_of(place: Place) -> tuple[str, ...]:
    """The addresses that a name has now, sorted. Raises OSError."""
    host, port = place
    rows = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(sorted({_joined(str(row[4][0]), port) for row in rows}))


def _literal(place: Place) -> str | None:
    """The address itself where the host is one."""
    try:
        ipaddress.ip_address(place[0])
    except ValueError:
        return None
    return _joined(*place)


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
