"""Where an endpoint may listen, and which connections may stay, by what they have done. The same over real
sockets: test_monitor.py."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from controller.process.errors import SettingError
from controller.process.listening import NO_REQUEST, REFUSED, ConnectionGate, read_listen


@dataclass
class Handler:
    """A connection as the server has it, which can be aborted. It is its own transport."""

    aborted: bool = False

    @property
    def transport(self) -> Handler:
        return self

    def abort(self) -> None:
        self.aborted = True


@dataclass
class Server:
    """Makes handlers, as aiohttp's server does."""

    connections: list[Handler] = field(default_factory=list)

    def __call__(self) -> Handler:
        self.connections.append(Handler())
        return self.connections[-1]


@dataclass
class Request:
    """A request that came over this connection."""

    protocol: Any


def gate_of(server: Any, counts: list[str]) -> ConnectionGate:
    """Two connections at most, and no time for the first request."""
    return ConnectionGate(server, connections_max=2, first_request_within_s=0, count=counts.append)


async def timers_due() -> None:
    """Returns when every timer without a delay has run."""
    due = asyncio.Event()
    asyncio.get_running_loop().call_later(0, due.set)
    await due.wait()


async def test_only_who_has_asked_may_stay() -> None:
    """A scraper keeps its connection between two scrapes; one that never asked is ended."""
    counts: list[str] = []
    gate = gate_of(Server(), counts)
    asked: Any = gate.connect()
    mute: Any = gate.connect()
    request: Any = Request(asked)
    gate.note_request(request)
    await timers_due()
    assert (asked.aborted, mute.aborted) == (False, True)
    assert counts == [NO_REQUEST]


async def test_beyond_the_most_nobody_is_let_in() -> None:
    """Mute connections count among those that are open."""
    counts: list[str] = []
    gate = gate_of(Server(), counts)
    first, second, third = gate.connect(), gate.connect(), gate.connect()
    assert isinstance(first, Handler)
    assert isinstance(second, Handler)
    assert not isinstance(third, Handler)
    assert counts == [REFUSED]


async def test_after_the_end_nobody_is_let_in() -> None:
    """A connection may have been taken just before, and the server would not know it when it ends."""
    server = Server()
    gate = gate_of(server, [])
    gate.close()
    assert not isinstance(gate.connect(), Handler)
    assert server.connections == []


@pytest.mark.parametrize(
    ("text", "loopback"),
    [("127.0.0.1:8440", True), ("localhost:0", True), ("[::1]:1", True), ("0.0.0.0:80", False)],
)
def test_addresses_to_listen_on(text: str, loopback: bool) -> None:
    """Addresses, not names: what is bound is what was said."""
    assert read_listen(text).is_loopback is loopback
    for wrong in ("8440", "controller.example:80", f"{text}99999"):
        with pytest.raises(SettingError, match="--listen"):
            read_listen(wrong)
