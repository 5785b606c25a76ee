"""Addresses of names: what is tried, in which order, and what is used while the resolver is away."""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from threading import Event, Thread
from typing import Any

import pytest
import uvloop

from tieline._http.flights import Flight
from tieline._http.messages import WireError
from tieline._http.names import NAMES_MAX, Names
from tieline._http.wire_async import AsyncWire
from tieline._http.wire_sync import SyncWire
from tieline._process import clock as _clock
from tieline.events import ResultClass

ANSWER = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
AWAY = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

Ask = Callable[[Names, str, int], list[int]]  # names, URL, how often -> the statuses


def flight() -> Flight:
    """One with time enough."""
    flight = Flight("a/r/x", _clock.monotonic_ms())
    flight.due_ms += 10_000
    return flight


def in_loop(factory: Callable[[], asyncio.AbstractEventLoop]) -> Ask:
    """Asks within an event loop."""

    async def ask_async(names: Names, url: str, count: int) -> list[int]:
        wire, statuses = AsyncWire(names=names), []
        try:
            for _ in range(count):
                answer = await wire.open("GET", url, [], b"", flight=flight(), connect_s=5.0)
                statuses.append(answer.status)
                answer.close()
        finally:
            wire.close()
            await asyncio.sleep(0)
        return statuses

    def ask(names: Names, url: str, count: int) -> list[int]:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(ask_async(names, url, count))

    return ask


def blocking(names: Names, url: str, count: int) -> list[int]:
    """Asks from this thread."""
    wire, statuses = SyncWire(names=names), []
    try:
        for _ in range(count):
            answer = wire.open("GET", url, [], b"", flight=flight(), connect_s=5.0)
            statuses.append(answer.status)
            answer.close()
    finally:
        wire.close()
    return statuses


WAYS: dict[str, Ask] = {
    "asyncio": in_loop(asyncio.new_event_loop),
    "uvloop": in_loop(uvloop.new_event_loop),
    "sync": blocking,
}
every_way = pytest.mark.parametrize("way", WAYS)


@contextmanager
def server() -> Iterator[int]:
    """The port of a server on 127.0.0.1 that closes each connection after its answer."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        over = Event()

        def serve() -> None:
            while not over.is_set():
                connection, _ = listening.accept()
                with connection:
                    if connection.recv(65_536):
                        connection.sendall(ANSWER)

        thread = Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            over.set()
            socket.create_connection(listening.getsockname()).close()
            thread.join()


@contextmanager
def silent() -> Iterator[tuple[str, int]]:
    """An address where no connection comes about and none is refused: its queue is full."""
    with ExitStack() as open_sockets:
        listening = open_sockets.enter_context(socket.socket())
        listening.bind(("127.0.0.2", 0))
        listening.listen(0)
        for _ in range(4):
            waiting = open_sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield listening.getsockname()


def row(address: tuple[str, int]) -> tuple[Any, ...]:
    """As the resolver gives it."""
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)


@every_way
def test_the_next_address_is_tried_beside_a_silent_one(way: str) -> None:
    """250 ms after it, in every event loop and in threads."""
    with silent() as first, server() as port:
        names = Names(lambda *_, **__: [row(first), row(("127.0.0.1", port))])
        began_s = _clock.monotonic_s()
        assert WAYS[way](names, "http://pool.example/", 1) == [200]
        assert _clock.monotonic_s() - began_s < 3


@every_way
def test_the_next_address_is_tried_after_one_that_refuses(way: str) -> None:
    """At once. If all refuse, the failure is that of a connection."""
    with server() as port, socket.socket() as bound:
        bound.bind(("127.0.0.2", 0))
        refusing = row(bound.getsockname())
        assert WAYS[way](Names(lambda *_, **__: [refusing, row(("127.0.0.1", port))]), "http://p/", 1) == [
            200
        ]
        with pytest.raises(WireError, match="refused the connection") as caught:
            WAYS[way](Names(lambda *_, **__: [refusing, refusing]), "http://p/", 1)
        assert caught.value.result is ResultClass.CONNECT


@every_way
def test_the_last_good_address_is_used_while_the_resolver_is_away(
    way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """That is logged once; a name that was never resolved fails as a connection does."""
    calls = 0
    with server() as port:

        def lookup(host: str, *_: Any, **__: Any) -> list[Any]:
            nonlocal calls
            calls += 1
            if calls > 1 or host != "pool.example":
                raise AWAY
            return [row(("127.0.0.1", port))]

        names = Names(lookup)
        with caplog.at_level(logging.WARNING, "tieline"):
            assert WAYS[way](names, "http://pool.example/", 3) == [200, 200, 200]
        assert calls == 3
        assert [record.message.partition(" (")[0] for record in caplog.records] == [
            "the name pool.example can't be resolved"
        ]
        with pytest.raises(WireError, match=r"other\.example has no address"):
            WAYS[way](names, "http://other.example/", 1)


def test_one_question_for_all_who_ask_and_families_by_turns() -> None:
    """A slow resolver is asked once at a time for a name."""
    go_on, calls = Event(), 0
    v6 = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 443, 0, 0))

    def lookup(*_: Any, **__: Any) -> list[Any]:
        nonlocal calls
        calls += 1
        go_on.wait(10)
        return [v6, v6, row(("127.0.0.1", 443))]

    names = Names(lookup)
    questions = {names.ask("pool.example", 443) for _ in range(5)}
    go_on.set()
    (question,) = questions
    question.result(10)
    families = [family for family, _ in names.addresses("pool.example", 443, question)]
    assert (calls, families) == (1, [socket.AF_INET6, socket.AF_INET, socket.AF_INET6])


@every_way
def test_a_resolver_that_hangs_is_not_waited_for(way: str) -> None:
    """After 2 s, here 0.2 s, the last good address is used."""
    over, calls = Event(), 0
    with server() as port:

        def lookup(*_: Any, **__: Any) -> list[Any]:
            nonlocal calls
            calls += 1
            if calls > 1:
                over.wait(20)
            return [row(("127.0.0.1", port))]

        names = Names(lookup, resolve_s=0.2)
        began_s = _clock.monotonic_s()
        assert WAYS[way](names, "http://pool.example/", 2) == [200, 200]
        assert _clock.monotonic_s() - began_s < 4
        over.set()


def test_names_of_long_ago_are_forgotten() -> None:
    """Tables may name other hosts every day for years: the one resolved longest ago goes first."""
    names = Names(lambda *_, **__: [row(("127.0.0.1", 80))])
    names.ask("first.example", 80).result()
    for number in range(NAMES_MAX - 1):
        names._resolve((f"h{number}.example", 80), Future())
    names.ask("first.example", 80).result()
    names.ask("one-more.example", 80).result()
    assert len(names._last_good) == NAMES_MAX
    assert names.limit_s("first.example", 80) is not None
    assert names.limit_s("h0.example", 80) is None
