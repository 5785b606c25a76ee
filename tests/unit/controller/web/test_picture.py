"""What each reader of the page is sent."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from controller.web.live import change_between
from controller.web.picture import Picture


def sections(**pools: float) -> dict[str, Any]:
    return {"head": {"generation": "l:1:1"}, "pools": {name: {"load": load} for name, load in pools.items()}}


def parsed(event: bytes) -> tuple[str, dict[str, Any]]:
    first, second = event.decode().strip().split("\n")
    return first.removeprefix("event: "), msgspec.json.decode(second.removeprefix("data: "))


async def following(events: AsyncGenerator[bytes, None]) -> tuple[str, dict[str, Any]]:
    return parsed(await anext(events))


async def test_everything_first_then_what_changed() -> None:
    """The first event is whole; later ones name only sections and rows that differ, and rows that went."""
    picture = Picture()
    picture.show(sections(a=1.0, b=2.0), 1_000, None)
    events = picture.events()
    kind, first = await following(events)
    assert (kind, first["sections"]) == ("state", sections(a=1.0, b=2.0))
    picture.show(sections(a=1.0, c=3.0), 2_000, None)
    kind, change = await following(events)
    assert kind == "change"
    assert change == {
        "at_ms": 2_000,
        "sections": {},
        "rows": {"pools": {"c": {"load": 3.0}}},
        "gone": {"pools": ["b"]},
    }
    await events.aclose()


async def test_a_slow_reader_misses_what_was_overtaken() -> None:
    """Between two of its events any number of pictures may pass; it gets the difference to the newest one."""
    picture = Picture()
    picture.show(sections(a=0.0), 1, None)
    slow, quick = picture.events(), picture.events()
    await following(slow), await following(quick)
    for number in range(1, 6):
        picture.show(sections(a=float(number)), number, None)
        await following(quick)
    _, change = await following(slow)
    assert (change["at_ms"], change["rows"]) == (5, {"pools": {"a": {"load": 5.0}}})
    await slow.aclose()
    await quick.aclose()


async def test_readers_get_the_bytes_that_their_own_picture_needs() -> None:
    """A reader that has nothing is sent everything, also when others are up to date."""
    picture = Picture()
    picture.show(sections(a=1.0), 1, None)
    early = picture.events()
    await following(early)
    picture.show(sections(a=2.0), 2, None)
    await following(early)
    late = picture.events()
    kind, first = await following(late)
    assert (kind, first["sections"]) == ("state", sections(a=2.0))
    await early.aclose()
    await late.aclose()


async def test_silence_is_broken_and_waiting_is_said() -> None:
    """Without a picture the reader hears why; without a change it still hears that the stream is alive."""
    picture = Picture()
    events = picture.events(repeat_every_s=0.01)
    assert (await following(events))[0] == "waiting"
    picture.show(sections(a=1.0), 1, None)
    assert (await following(events))[0] == "state"
    kind, change = await following(events)
    assert (kind, change["sections"], change["rows"]) == ("change", {}, {})
    await events.aclose()


async def test_a_picture_is_wanted_while_somebody_looks() -> None:
    """Who draws waits until the first reader comes, and sees when the last one has gone."""
    picture = Picture()
    waiting = asyncio.create_task(picture.wanted())
    events = picture.events()
    await following(events)
    await waiting
    assert picture.readers == 1
    await events.aclose()
    assert picture.readers == 0


def test_equal_pictures_have_no_difference() -> None:
    """What is equal is not sent, even if it was made anew."""
    assert change_between(sections(a=1.0), sections(a=1.0)).is_empty
