"""A link forwards bytes, and breaks the way between two parts as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from lab.chaos.links import Link
from lab.stack.server import LOOPBACK
from tests.waiting import until


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while block := await reader.read(1_024):
        writer.write(block)
    writer.close()


@asynccontextmanager
async def echoing() -> AsyncIterator[Link]:
    """A link to a server that answers with what it was sent."""
    server = await asyncio.start_server(_echo, LOOPBACK, 0)
    link = Link("test")
    link.target_port = server.sockets[0].getsockname()[1]
    await link.start()
    try:
        yield link
    finally:
        await link.stop()
        server.close()


@asynccontextmanager
async def connected(link: Link) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection through the link."""
    reader, writer = await asyncio.open_connection(LOOPBACK, link.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def test_a_whole_link_forwards_both_ways() -> None:
    """What was sent comes back, and is counted."""
    async with echoing() as link, connected(link) as (reader, writer):
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"
        assert link.blocks == 2


async def test_a_cut_link_resets_and_refuses() -> None:
    """An open connection ends, the next one is turned away, and a mended link forwards again."""
    async with echoing() as link:
        async with connected(link) as (reader, writer):
            writer.write(b"ping")
            await reader.readexactly(4)
            link.cut()
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
        async with connected(link) as (reader, _):
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
        assert link.refused == 1
        link.mend()
        async with connected(link) as (reader, writer):
            writer.write(b"pong")
            assert await reader.readexactly(4) == b"pong"


async def test_a_held_link_keeps_what_it_has_until_it_is_mended() -> None:
    """Nothing arrives meanwhile, and nothing is lost."""
    async with echoing() as link, connected(link) as (reader, writer):
        link.hold()
        writer.write(b"ping")
        await until(lambda: link.waiting == 1)
        link.mend()
        assert await reader.readexactly(4) == b"ping"


async def test_a_link_holds_still_at_the_moment_that_it_was_told() -> None:
    """Blocks before it pass; it and all behind it wait."""
    async with echoing() as link, connected(link) as (reader, writer):
        link.hold_when(lambda block: block == b"stop")
        writer.write(b"pass")
        assert await reader.readexactly(4) == b"pass"
        writer.write(b"stop")
        await until(lambda: link.waiting == 1)


async def test_a_slow_link_counts_what_it_slowed_down() -> None:
    """Every block comes later, and some of them as late as a packet that was sent again."""
    async with echoing() as link, connected(link) as (reader, writer):
        link.slow(0.001, loss=1.0)
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"
        assert link.slowed == 2
