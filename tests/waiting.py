"""How tests wait: for a condition, with a deadline."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

Value = TypeVar("Value")
LOOK_EVERY_S = 0.01


@overload
async def until(
    condition: Callable[[], Awaitable[Value | None]], within_s: float = 10.0, what: str = "the condition"
) -> Value: ...


@overload
async def until(
    condition: Callable[[], Value | None], within_s: float = 10.0, what: str = "the condition"
) -> Value: ...


async def until(
    condition: Callable[[], object], within_s: float = 10.0, what: str = "the condition"
) -> object:
    """Looks at `condition` until it gives something true, and returns that; fails after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {within_s} s, last seen: {value!r}")
        await asyncio.sleep(LOOK_EVERY_S)


def until_sync(condition: Callable[[], Value], within_s: float = 10.0, what: str = "the condition") -> Value:
    """The same for tests without a loop."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {within_s} s, last seen: {value!r}")
        time.sleep(LOOK_EVERY_S)
    return value
