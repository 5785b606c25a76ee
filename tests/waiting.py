"""How tests wait: for a condition, with a deadline that measures nothing.

The deadline only ends a test that is broken. It is long, because a machine may be slow and busy: what takes a
second here takes half a minute there.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

Value = TypeVar("Value")
LOOK_OFTEN_S, LOOK_SELDOM_S = 0.01, 0.2
SAFETY_NET_S = 120.0


@overload
async def until(
    condition: Callable[[], Awaitable[Value | None]],
    within_s: float = SAFETY_NET_S,
    what: str = "the condition",
) -> Value: ...


@overload
async def until(
    condition: Callable[[], Value | None], within_s: float = SAFETY_NET_S, what: str = "the condition"
) -> Value: ...


async def until(
    condition: Callable[[], object], within_s: float = SAFETY_NET_S, what: str = "the condition"
) -> object:
    """Looks at `condition` until it gives something true, and returns that; fails after `within_s`."""
    began_s = time.monotonic()
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        await asyncio.sleep(_pause_s(time.monotonic() - began_s, within_s, what, value))


def until_sync(
    condition: Callable[[], Value], within_s: float = SAFETY_NET_S, what: str = "the condition"
) -> Value:
    """The same for tests without a loop."""
    began_s = time.monotonic()
    while not (value := condition()):
        time.sleep(_pause_s(time.monotonic() - began_s, within_s, what, value))
    return value


def _pause_s(waited_s: float, within_s: float, what: str, value: object) -> float:
    """Until the next look: a twentieth of the time waited, so that a look that costs something does not keep
    the processor from what is waited for. Fails after ``within_s``."""
    if waited_s > within_s:
        raise AssertionError(f"{what} did not come true within {within_s} s, last seen: {value!r}")
    return min(LOOK_SELDOM_S, max(LOOK_OFTEN_S, waited_s / 20))
