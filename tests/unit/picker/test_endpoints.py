"""Addresses of pools: named, written in the URL, or looked up; and which replica is next."""

from __future__ import annotations

import asyncio

import pytest

from picker.endpoints import Endpoints, Place, place_of
from tests.waiting import until
from tieline.table import PoolInfo

A, B = "a/r/d", "b/r/d"


def info(pool: str, url: str) -> PoolInfo:
    """A pool at this URL."""
    return PoolInfo(pool, "eu", url)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://10.0.0.1:8000/v1", ("10.0.0.1", 8_000)),
        ("https://llm.example/v1", ("llm.example", 443)),
        ("http://llm.example/v1", ("llm.example", 80)),
        ("http://[fd00::1]:8000/v1", ("fd00::1", 8_000)),
        ("http://llm.example:x/v1", None),
        ("", None),
    ],
)
def test_the_place_is_that_of_the_url(url: str, place: Place | None) -> None:
    """With the scheme's own port where none is written."""
    assert place_of(url) == place


async def test_an_address_in_the_url_needs_no_look_up() -> None:
    """It is there with the table, in Envoy's form."""
    endpoints = Endpoints({})
    endpoints.follow("chat", [info(A, "http://10.0.0.1:8000/v1"), info(B, "http://[fd00::1]:8000/v1")])
    assert (endpoints.of(A), endpoints.of(B)) == (("10.0.0.1:8000",), ("[fd00::1]:8000",))


async def test_named_addresses_come_first() -> None:
    """What the file says takes the place of the URL."""
    endpoints = Endpoints({A: ("10.0.0.9:1",)})
    endpoints.follow("chat", [info(A, "http://10.0.0.1:8000/v1")])
    assert endpoints.of(A) == ("10.0.0.9:1",)


async def test_names_are_looked_up_and_keep_their_addresses() -> None:
    """Again and again, so replicas come and go; while the look-up fails the last addresses stay."""
    known: list[tuple[str, ...] | None] = [("10.0.0.1:80", "10.0.0.2:80")]
    failures = []

    async def look_up(_place: Place) -> tuple[str, ...]:
        if (addresses := known[0]) is None:
            failures.append(1)
            raise OSError("no such name")
        return addresses

    endpoints = Endpoints({})
    endpoints.follow("chat", [info(A, "http://pool.svc/v1")])
    assert endpoints.unknown() == [A]
    task = asyncio.create_task(endpoints.run(0.01, look_up))
    await until(lambda: len(endpoints.of(A)) == 2)
    known[0] = None
    endpoints.follow("other", [info(B, "http://10.0.0.3:80/v1")])
    await until(lambda: len(failures) > 1)
    assert endpoints.of(B) == ("10.0.0.3:80",)
    assert endpoints.of(A) == ("10.0.0.1:80", "10.0.0.2:80")
    known[0] = ("10.0.0.2:80",)
    await until(lambda: endpoints.of(A) == ("10.0.0.2:80",))
    task.cancel()


async def test_the_least_busy_replica_is_next() -> None:
    """Equal ones take turns; one with fewer requests on their way comes first; a subset is kept to."""
    endpoints = Endpoints({A: ("x:1", "y:1", "z:1")})
    assert {endpoints.choose(A) for _ in range(3)} == {"x:1", "y:1", "z:1"}
    for busy in ("x:1", "y:1"):
        endpoints.began(busy)
    assert {endpoints.choose(A) for _ in range(3)} == {"z:1"}
    assert endpoints.choose(A, {"x:1"}) == "x:1"
    assert endpoints.choose(A, set()) is None
    endpoints.ended("x:1")
    endpoints.ended("y:1")
    assert {endpoints.choose(A) for _ in range(3)} == {"x:1", "y:1", "z:1"}


async def test_pools_of_the_last_table_are_forgotten() -> None:
    """Of that workload only."""
    endpoints = Endpoints({})
    endpoints.follow("chat", [info(A, "http://10.0.0.1:80")])
    endpoints.follow("batch", [info(B, "http://10.0.0.2:80")])
    endpoints.follow("chat", [])
    assert (endpoints.of(A), endpoints.of(B)) == ((), ("10.0.0.2:80",))
