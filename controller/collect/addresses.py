"""Which addresses a collector may reach: public ones, and those that its settings name.

Addresses that only exist inside a network, above all those at which clouds give instances their credentials,
must not be reachable by way of a name, a redirect or a changed DNS record. So every address of a name is
checked, and the connection is made to exactly these addresses: nothing resolves the name a second time.
"""

import ipaddress
import socket
from collections.abc import Iterable
from typing import TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

# Networks that count as public in some or all versions of Python and are not.
_NOT_PUBLIC = (
    ipaddress.IPv4Network("168.63.129.16/32"),  # where Azure gives its instances metadata and credentials
    ipaddress.IPv4Network("192.0.0.0/24"),  # RFC 6890: of protocols; Oracle's instances have metadata there
    ipaddress.IPv6Network("64:ff9b:1::/48"),  # RFC 8215: NAT64 of one's own network
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address


class AddressRefusedError(OSError):
    """An address that a collector may not reach. ``str()`` names it and the remedy."""


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """The networks of the settings. Raises ValueError for what is neither an address nor a network."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def literal(host: str) -> IpAddress | None:
    """The address that a URL's host spells out; None for a name."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def check_address(text: str, allowed: tuple[Network, ...]) -> None:
    """Raises ``AddressRefusedError`` unless the address is public or lies in one of the ``allowed``
    networks."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if _is_in(address, allowed):
        return
    for meant in (address, *_within(address)):
        if not meant.is_global or meant.is_multicast or _is_in(meant, _NOT_PUBLIC):
            raise AddressRefusedError(
                f"{address} is not a public address: name it under addresses if it is meant"
            )


def _is_in(address: IpAddress, allowed: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in allowed)


def _within(address: IpAddress) -> list[IpAddress]:
    """IPv4 addresses that an IPv6 address stands for: a router or the kernel may lead there."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return [entry for entry in inner if entry is not None]


class CheckedResolver(AbstractResolver):
    """Gives only addresses that may be reached; one that may not refuses the name as a whole."""

    def __init__(self, allowed: tuple[Network, ...], resolver: AbstractResolver | None = None) -> None:
        self._allowed = allowed
        self._resolver = resolver or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """See aiohttp. Raises ``AddressRefusedError``."""
        results = await self._resolver.resolve(host, port, family)
        for result in results:
            check_address(result["host"], self._allowed)
        return results

    async def close(self) -> None:
        """See aiohttp."""
        await self._resolver.close()
