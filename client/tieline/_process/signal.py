"""Waking several waiters at once in one event loop."""

import asyncio


class Signal:
    """Wakes everybody who waits at the moment of ``announce``, and nobody who comes later."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def announce(self) -> None:
        """Wake all who wait now."""
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self) -> None:
        """Until the next ``announce``."""
        await self._event.wait()
