"""Answers and the connections behind them, over a real pair of sockets."""

import socket
from collections.abc import Iterator
from threading import Event, Thread

import pytest

from tests.waiting import until_sync
from tieline._http.connections import WireAnswer
from tieline._http.flights import Flight
from tieline._http.http1 import place_of
from tieline._http.messages import WireError
from tieline._http.wire_sync import SyncConnection, SyncWire
from tieline._process import clock as _clock
from tieline.events import ResultClass

PLACE = place_of("http://pool.example/v1")
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


@pytest.fixture
def pair() -> Iterator[tuple[SyncConnection, socket.socket]]:
    """A connection of a wire, and the server's end of it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield SyncConnection(SyncWire(), PLACE.key, ours), theirs


def flight(limit_ms: int = 5_000) -> Flight:
    """A flight that may take so long."""
    made = Flight("a/r/x", _clock.monotonic_ms())
    made.due_ms += limit_ms
    return made


def answered(connection: SyncConnection, body: bytes, server: socket.socket) -> WireAnswer:
    """The answer to the next request over the connection, of which the server has sent this body."""
    server.sendall(HEAD + body)
    status, headers = connection.ask(flight(), connection.http.request("POST", PLACE, [], b""))
    return connection.answer(status, headers)


def test_a_closed_answer_touches_nothing(pair: tuple[SyncConnection, socket.socket]) -> None:
    """Its connection carries the next request: closing or reading the old answer again takes nothing from
    that one."""
    connection, server = pair
    old = answered(connection, b"ab", server)
    assert (old.read(), old.read()) == (b"ab", b"")
    old.close()
    new = answered(connection, b"cd", server)
    old.close()
    with pytest.raises(WireError):
        old.read()
    assert (new.read(), new.read()) == (b"cd", b"")


def test_silence_is_a_time_out(pair: tuple[SyncConnection, socket.socket]) -> None:
    """The wait ends with the class of a time-out when the time of the flight is over."""
    connection, server = pair
    with pytest.raises(WireError) as caught:
        connection.ask(flight(20), connection.http.request("POST", PLACE, [], b""))
    assert caught.value.result is ResultClass.TIMEOUT
    server.close()


@pytest.mark.parametrize("latest_ms", [5_000, 300])
def test_a_slow_upload_lives_while_the_server_takes_some_of_it(
    pair: tuple[SyncConnection, socket.socket], latest_ms: int
) -> None:
    """Its wait begins anew with each piece, however long the whole takes, up to the caller's deadline."""
    connection, server = pair
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    request = connection.http.request("POST", PLACE, [], b"x" * 12 * 256 * 1024)
    sending = flight(200)
    sending.sending_ms, sending.latest_ms = 200, sending.began_ms + latest_ms

    def take_slowly() -> None:
        left = len(request[0]) + len(request[1])
        while left > 0 and (data := server.recv(64 * 1024)):
            left -= len(data)
            Event().wait(0.01)
        if not left:
            server.sendall(HEAD + b"ok")

    other = Thread(target=take_slowly)
    other.start()
    try:
        if latest_ms > 1_000:
            assert connection.ask(sending, request)[0] == 200
            assert _clock.monotonic_ms() - sending.began_ms > 200
        else:
            with pytest.raises(WireError):
                connection.ask(sending, request)
    finally:
        connection.discard()
        server.shutdown(socket.SHUT_RDWR)
        other.join()


def test_a_flight_is_called_back(pair: tuple[SyncConnection, socket.socket]) -> None:
    """Another thread wakes the request that waits, long before its time is over."""
    connection, _ = pair
    waiting = flight(60_000)

    def call_back() -> None:
        until_sync(lambda: waiting.abandon is not None)
        waiting.abandoned = True
        if waiting.abandon is not None:
            waiting.abandon()

    other = Thread(target=call_back)
    other.start()
    with pytest.raises(WireError):
        connection.ask(waiting, connection.http.request("POST", PLACE, [], b""))
    other.join()
    assert waiting.due_ms - _clock.monotonic_ms() > 30_000


def test_a_server_that_hangs_up(pair: tuple[SyncConnection, socket.socket]) -> None:
    """Before the head it is a failed connection, after it a cut; an idle connection shows it."""
    connection, server = pair
    assert connection.usable()
    answer = answered(connection, b"a", server)
    server.close()
    assert answer.read() == b"a"
    with pytest.raises(WireError) as caught:
        answer.read()
    assert caught.value.result is ResultClass.CUT
    assert not connection.usable()
