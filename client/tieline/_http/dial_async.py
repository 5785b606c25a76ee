"""How an asynchronous client reaches a place: the addresses of its name side by side (RFC 8305), in every
event loop alike."""

import asyncio
import socket
from collections.abc import Sequence

from tieline._http.names import NEXT_ADDRESS_S, Address, Names, literal, new_socket
from tieline._http.proxies import Tunnel


async def dial(names: Names, host: str, port: int) -> socket.socket:
    """A connected socket. Raises OSError. There is no limit but that of the name's resolution: the caller
    sets one."""
    addresses = literal(host, port) or await _addresses(names, host, port)
    if len(addresses) == 1:
        return await _connected(addresses[0])
    return await first_connected(addresses)


async def first_connected(addresses: Sequence[Address]) -> socket.socket:
    """The first socket that connects; the next address is tried when one has failed, or gives nothing for
    250 ms. Raises the error of the first one that failed if none connects."""
    left = list(addresses)
    pending: set[asyncio.Task[socket.socket]] = set()
    errors: list[OSError] = []
    try:
        while True:
            if left:
                pending.add(asyncio.create_task(_connected(left.pop(0))))
            elif not pending:
                raise errors[0]
            done, _ = await asyncio.wait(
                pending,
                timeout=NEXT_ADDRESS_S if left else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                pending.discard(task)
                error = task.exception()
                if error is None:
                    pending |= done - {task}
                    return task.result()
                if not isinstance(error, OSError):
                    raise error
                errors.append(error)
    finally:
        for task in pending:
            task.cancel()
            task.add_done_callback(_close)


async def lead_through(sock: socket.socket, tunnel: Tunnel) -> None:
    """Make the proxy at the other end connect to the pool. Raises OSError, or ``WireError`` when it does
    not."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, tunnel.request)
    while not tunnel.receive(await loop.sock_recv(sock, 4_096)):
        pass


async def _addresses(names: Names, host: str, port: int) -> list[Address]:
    question = names.ask(host, port)
    waiting = asyncio.wrap_future(question)
    try:
        await asyncio.wait({waiting}, timeout=names.limit_s(host, port))
    finally:
        waiting.cancel()
    return names.addresses(host, port, question)


async def _connected(address: Address) -> socket.socket:
    sock = new_socket(address)
    try:
        await asyncio.get_running_loop().sock_connect(sock, address[1])
    except BaseException:
        sock.close()
        raise
    return sock


def _close(task: asyncio.Task[socket.socket]) -> None:
    """One that came too late."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()
