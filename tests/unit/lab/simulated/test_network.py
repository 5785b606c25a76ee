"""Links: order, delays, cuts, and servers that are down."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest

from lab.simulated.loop import Process, VirtualLoop, passes
from lab.simulated.network import Network, ServerDownError


def run(world: Callable[[VirtualLoop, Network], Coroutine[Any, Any, None]]) -> None:
    """Runs one world."""
    loop = VirtualLoop()
    loop.run_until_complete(world(loop, Network(loop, "seed")))
    loop.bury()


def test_requests_of_one_link_arrive_in_their_order() -> None:
    """Whatever the delay of each."""

    async def world(_loop: VirtualLoop, network: Network) -> None:
        network.link("a", "s").delay_ms = (0.0, 500.0)
        arrivals: list[int] = []
        requests = (network.ask("s", partial(arrivals.append, number), "a") for number in range(20))
        await asyncio.gather(*requests)
        assert arrivals == list(range(20))

    run(world)


def test_what_a_cut_link_holds_arrives_once_it_is_healed() -> None:
    """The asker gives up before; the request is done all the same."""

    async def world(_loop: VirtualLoop, network: Network) -> None:
        arrivals: list[str] = []
        network.cut("a", "s")
        with pytest.raises(TimeoutError):
            await network.ask("s", lambda: arrivals.append("late"), "a", within_s=2)
        assert arrivals == []
        network.heal("a", "s")
        assert await network.ask("s", lambda: "now", "a", within_s=2) == "now"
        assert arrivals == ["late"]

    run(world)


def test_a_slow_link_times_out() -> None:
    """The answer comes too late for its asker."""

    async def world(_loop: VirtualLoop, network: Network) -> None:
        network.link("a", "s").delay_ms = (3_000.0, 3_000.0)
        with pytest.raises(TimeoutError):
            await network.ask("s", lambda: None, "a", within_s=4)
        network.link("a", "s").delay_ms = (1.0, 1.0)
        await network.ask("s", lambda: None, "a", within_s=10)

    run(world)


def test_what_was_sent_arrives_after_its_sender_was_killed() -> None:
    """As on a real network; nobody hears the answer."""

    async def world(loop: VirtualLoop, network: Network) -> None:
        network.link("a", "s").delay_ms = (1_000.0, 1_000.0)
        arrivals: list[str] = []

        async def main() -> None:
            await network.ask("s", lambda: arrivals.append("asked"))
            arrivals.append("answered")

        process = Process(loop, "a")
        process.start(main)
        await passes(0.5)
        process.kill()
        await passes(10)
        assert arrivals == ["asked"]

    run(world)


def test_a_server_that_is_down_refuses() -> None:
    """At once, and only while it is down."""

    async def world(_loop: VirtualLoop, network: Network) -> None:
        network.down.add("s")
        with pytest.raises(ServerDownError, match="s refuses connections"):
            await network.ask("s", lambda: None, "a")
        network.down.discard("s")
        assert await network.ask("s", lambda: 7, "a") == 7

    run(world)
