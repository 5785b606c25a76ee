"""How a synchronous client reaches a place: as ``dial_async``, in the caller's own thread."""

import contextlib
import os
import select
import socket
from collections.abc import Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from errno import EINPROGRESS

from tieline._http.names import NEXT_ADDRESS_S, Address, Names, literal, new_socket
from tieline._http.proxies import Tunnel
from tieline._process import clock as _clock


def dial(names: Names, host: str, port: int, *, until_s: float) -> socket.socket:
    """A connected socket that does not block. Raises OSError, also TimeoutError at ``until_s``
    (monotonic)."""
    addresses = literal(host, port) or _addresses(names, host, port, until_s)
    return first_connected(addresses, until_s)


def first_connected(addresses: Sequence[Address], until_s: float) -> socket.socket:
    """The first socket that connects; the next address is tried when one has failed, or gives nothing for
    250 ms. Raises the error of the first one that failed if none connects."""
    left, errors = list(addresses), list[OSError]()
    pending: dict[int, socket.socket] = {}
    poll = select.poll()
    try:
        while left or pending:
            if left:
                sock = new_socket(address := left.pop(0))
                pending[sock.fileno()] = sock
                number = sock.connect_ex(address[1])
                if number not in (0, EINPROGRESS):
                    errors.append(OSError(number, os.strerror(number)))
                    pending.pop(sock.fileno()).close()
                    continue
                poll.register(sock, select.POLLOUT)
            left_s = until_s - _clock.monotonic_s()
            if left_s <= 0:
                raise TimeoutError
            for fd, _ in poll.poll((min(left_s, NEXT_ADDRESS_S) if left else left_s) * 1_000):
                sock = pending.pop(fd)
                poll.unregister(fd)
                number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if number == 0:
                    return sock
                errors.append(OSError(number, os.strerror(number)))
                sock.close()
        raise errors[0]
    finally:
        for sock in pending.values():
            sock.close()


def lead_through(sock: socket.socket, tunnel: Tunnel, until_s: float) -> None:
    """Make the proxy at the other end connect to the pool. Raises OSError, or ``WireError`` when it does
    not."""
    sock.settimeout(max(0.001, until_s - _clock.monotonic_s()))
    sock.sendall(tunnel.request)
    while not tunnel.receive(sock.recv(4_096)):
        sock.settimeout(max(0.001, until_s - _clock.monotonic_s()))


def _addresses(names: Names, host: str, port: int, until_s: float) -> list[Address]:
    question = names.ask(host, port)
    left_s = max(0.0, until_s - _clock.monotonic_s())
    limit_s = names.limit_s(host, port)
    with contextlib.suppress(FutureTimeoutError):
        question.result(left_s if limit_s is None else min(left_s, limit_s))
    return names.addresses(host, port, question)
