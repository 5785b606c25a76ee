"""How an asynchronous client reaches a place: the addresses of its name side by side (RFC 8305), in every
event loop alike."""

import asyncio
import socket
import ssl
from collections.abc import Sequence

from tieline._http.messages import WireError
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


class _ProxyTls(asyncio.Protocol):
    """The connection to a proxy that is encrypted itself, until its tunnel stands."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self.stands: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """A part of the proxy's answer."""
        if self.stands.done():
            return
        try:
            if self._tunnel.receive(data):
                self.stands.set_result(None)
        except WireError as error:
            self.stands.set_exception(error)

    def connection_lost(self, error: Exception | None) -> None:
        """Closed before the tunnel stands, or after it is not needed any more."""
        if not self.stands.done() and error is not None:
            self.stands.set_exception(error)
        self.data_received(b"")


async def tls_through(sock: socket.socket, tunnel: Tunnel, context: ssl.SSLContext) -> asyncio.Transport:
    """Speaks TLS with the proxy at the other end and makes it connect to the pool; gives the transport in
    which TLS with the pool can start. Raises OSError, ``ssl.SSLError`` where TLS with the proxy fails, or
    ``WireError`` when it does not connect."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(
        lambda: _ProxyTls(tunnel), sock=sock, ssl=context, server_hostname=tunnel.proxy.host
    )
    try:
        transport.write(tunnel.request)
        await protocol.stands
    except BaseException:
        transport.abort()
        raise
    return transport


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
