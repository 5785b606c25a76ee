"""The end of a worker: what is under way, who is told, and who is cut off."""

import asyncio

from gateway.draining import MUTE_MAX_MS, Drain
from gateway.visit import Visit


def visit_of(*, writing_since_ms: int = 0) -> Visit:
    return Visit(0.0, "POST", "/v1/chat/completions", peer="", writing_since_ms=writing_since_ms)


async def test_it_is_empty_when_the_last_request_has_ended() -> None:
    """And at once where there is none."""
    drain, may_end = Drain(), asyncio.Event()
    assert await drain.emptied(0)

    async def request() -> None:
        with drain.under_way(visit_of(), lambda: None):
            await may_end.wait()

    running = asyncio.create_task(request())
    await asyncio.sleep(0)
    assert len(drain) == 1
    assert not await drain.emptied(0)
    may_end.set()
    assert await drain.emptied(60)
    await running


async def test_what_is_still_under_way_is_interrupted_and_may_tell() -> None:
    """It finds the stage to be the last, so that it knows why."""
    drain, stages = Drain(), []

    async def request() -> None:
        with drain.under_way(visit_of(), lambda: None):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                stages.append(drain.is_over)

    running = asyncio.create_task(request())
    await asyncio.sleep(0)
    assert drain.tell() == 1
    await running
    assert stages == [True]


async def test_who_takes_nothing_is_cut_off() -> None:
    """After a minute; who reads slowly, or waits for the provider, is not."""
    drain, aborted, may_end = Drain(), [], asyncio.Event()

    async def request(name: str, since_ms: int) -> None:
        with drain.under_way(visit_of(writing_since_ms=since_ms), lambda: aborted.append(name)):
            await may_end.wait()

    requests = [
        asyncio.create_task(request(name, since_ms))
        for name, since_ms in (("mute", 1_000), ("slow", 2_000), ("waits", 0))
    ]
    await asyncio.sleep(0)
    assert drain.end_untaken(1_001 + MUTE_MAX_MS) == 1
    assert aborted == ["mute"]
    may_end.set()
    await asyncio.gather(*requests)
