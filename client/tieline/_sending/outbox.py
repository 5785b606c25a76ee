"""What waits to be sent: in order, bounded, and dropped once it is of no more use to anybody."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from tieline._process.loops import Notifier

_T = TypeVar("_T")


class Entry(NamedTuple, Generic[_T]):
    """One item. ``expires_ms``: when it is of no more use (Unix time), None if that never happens."""

    item: _T
    expires_ms: int | None


class Outbox(Generic[_T]):
    """A queue of perishable items for one sender and any number of callers that never wait.

    The sender takes an entry with ``take`` and afterwards calls ``finish``, or ``put_back`` to try again. An
    entry is unfinished from ``put`` until then, or until it is dropped; ``drain`` waits until none is.
    ``entries_max`` bounds the entries that wait; what the sender has taken comes on top. ``now_ms``: Unix
    time. Used within one event loop.
    """

    def __init__(self, entries_max: int, now_ms: Callable[[], int]) -> None:
        self.dropped_expired = 0
        self.dropped_full = 0
        self._entries_max = entries_max
        self._now_ms = now_ms
        self._entries: deque[Entry[_T]] = deque()
        self._unfinished = 0
        self._filled = Notifier()
        self._finished = Notifier()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, item: _T, expires_ms: int | None) -> bool:
        """Add an item; in a full outbox the oldest perishable one makes way. False: none could, so the new
        item was dropped."""
        self.drop_expired()
        if len(self._entries) >= self._entries_max:
            self.dropped_full += 1
            oldest = next((entry for entry in self._entries if entry.expires_ms is not None), None)
            if oldest is None:
                return False
            self._entries.remove(oldest)
            self.finish()
        self._entries.append(Entry(item, expires_ms))
        self._unfinished += 1
        self._filled.notify_all()
        return True

    async def wait_filled(self) -> None:
        """Wait until there is something to take."""
        while not self._entries:
            await self._filled.wait()

    def drop_expired(self) -> None:
        """Drop the entries at the front that have expired."""
        now_ms = self._now_ms()
        while self._entries:
            expiry_ms = self._entries[0].expires_ms
            if expiry_ms is None or expiry_ms > now_ms:
                return
            self._entries.popleft()
            self.dropped_expired += 1
            self.finish()

    def take(self) -> Entry[_T]:
        """The oldest entry. There must be one."""
        return self._entries.popleft()

    def put_back(self, entry: Entry[_T]) -> None:
        """An entry that was taken could not be sent yet: it is the next one again."""
        self._entries.appendleft(entry)

    def finish(self) -> None:
        """An entry that was taken needs no more care."""
        self._unfinished -= 1
        self._finished.notify_all()

    def drop_all(self) -> int:
        """Drop every entry; returns how many there were."""
        count = len(self._entries)
        self._entries.clear()
        self._unfinished -= count
        self._finished.notify_all()
        return count

    async def drain(self, timeout_s: float) -> bool:
        """Wait until everything was sent or dropped; False when ``timeout_s`` were not enough."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._unfinished:
                    await self._finished.wait()
        except TimeoutError:
            return False
        return True
