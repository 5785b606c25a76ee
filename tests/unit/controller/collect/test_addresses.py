"""Which addresses a collector may reach."""

import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from controller.collect.addresses import (
    AddressRefusedError,
    CheckedResolver,
    check_address,
    literal,
    networks,
)


class Answers(AbstractResolver):
    """A resolver that gives these addresses for every name."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self._addresses
        ]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",  # metadata of most clouds
        "168.63.129.16",  # Azure's, in a public range
        "100.100.100.200",  # shared address space
        "192.0.0.192",  # Oracle's
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fd20:ce::254",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",  # NAT64 of 169.254.169.254
        "64:ff9b:1::1",
        "2002:a9fe:a9fe::1",  # 6to4 of 169.254.169.254
    ],
)
def test_addresses_inside_a_network_are_refused(address: str) -> None:
    """Loopback, private, link-local, multicast and metadata addresses, also inside an IPv6 address."""
    with pytest.raises(AddressRefusedError, match="name it under addresses"):
        check_address(address, ())


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::6810:84e5", "64:ff9b::808:808"])
def test_public_addresses_are_reached(address: str) -> None:
    """Also by way of NAT64."""
    check_address(address, ())


def test_what_the_settings_name_is_reached() -> None:
    """An address or a network, and nothing beside it."""
    allowed = networks(["10.1.2.0/24", "127.0.0.1", "fd00::/8"])
    for address in ("10.1.2.200", "127.0.0.1", "fd12::1"):
        check_address(address, allowed)
    for address in ("10.1.3.1", "127.0.0.2", "fe80::1"):
        with pytest.raises(AddressRefusedError):
            check_address(address, allowed)


@pytest.mark.parametrize(("host", "is_literal"), [("10.0.0.1", True), ("[::1]", True), ("10.1", False)])
def test_spelled_out_addresses_are_told_from_names(host: str, is_literal: bool) -> None:
    """What Python does not read as an address is resolved like a name, and checked then."""
    assert (literal(host) is not None) is is_literal


async def test_one_private_address_refuses_the_name() -> None:
    """A name with a public and a private address is refused as a whole."""
    assert len(await CheckedResolver((), Answers("8.8.8.8", "8.8.4.4")).resolve("a.example")) == 2
    with pytest.raises(AddressRefusedError, match=r"10\.0\.0\.1"):
        await CheckedResolver((), Answers("8.8.8.8", "10.0.0.1")).resolve("a.example")
