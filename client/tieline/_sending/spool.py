"""Statements and capacity that wait for Kafka on disk, so that neither an outage nor a restart loses them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct

from tieline._sending.segments import SEGMENT_BYTES, Segments
from tieline.cloudevents import Encoded
from tieline.errors import UNDECODABLE

SPOOL_BYTES_MAX = 64 * 1024 * 1024
REWRITTEN_AT = 2  # x ``bytes_max``: at this size of the files, what is still needed is written anew


class _Put(Struct, frozen=True, array_like=True):
    """Entry ``number`` waits."""

    verb: Literal["put"]
    number: int
    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]
    expires_ms: int | None


class _Done(Struct, frozen=True, array_like=True):
    """Entry ``number`` waits no longer."""

    verb: Literal["done"]
    number: int


class SpoolEntry(NamedTuple):
    """One record that waits. ``expires_ms``: when it is of no more use (Unix time), None if that never
    happens. ``size_bytes``: what it takes on disk; ``segment``: where, None if the disk did not take it."""

    number: int
    topic: str
    encoded: Encoded
    expires_ms: int | None
    size_bytes: int
    segment: int | None


_encode = msgspec.msgpack.Encoder().encode
_put = msgspec.msgpack.Decoder(_Put)
_done = msgspec.msgpack.Decoder(_Done)


class Spool:
    """What waits, in the order in which it was put; of records with one key only the newest.

    Every change is appended to the segments before the method returns. When the disk takes no more, entries
    wait in memory alone, and ``error`` says so. ``bytes_max`` bounds what waits: the oldest entries make way.
    The files take at most twice that, and half as much again while they are rewritten. ``now_ms``: Unix time.
    Raises as ``Segments``.
    """

    def __init__(
        self,
        directory: Path,
        *,
        now_ms: Callable[[], int],
        bytes_max: int = SPOOL_BYTES_MAX,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.dropped_expired = 0
        self.dropped_full = 0
        self.error = ""
        self._now_ms = now_ms
        self._bytes_max = bytes_max
        self._entries: dict[int, SpoolEntry] = {}
        self._numbers: dict[tuple[str, bytes], int] = {}  # by topic and key
        self._bytes = 0
        self._segments = Segments(directory, segment_bytes=segment_bytes)
        self._needed: Counter[int | None] = Counter()  # entries in each segment
        for segment, payload in self._segments.read():
            self._replay(segment, payload)
        self._entries = dict(sorted(self._entries.items()))  # an entry that was written anew keeps its place
        self._next_number = max(self._entries, default=0) + 1

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, number: int) -> bool:
        return number in self._entries

    def put(self, topic: str, encoded: Encoded, expires_ms: int | None) -> int:
        """Add a record in the place of the one with its key; returns its number."""
        self.drop_expired()
        number = self._next_number
        self._next_number += 1
        put = _put_of(number, topic, encoded, expires_ms=expires_ms)
        payload = _encode(put)
        self._insert(put, len(payload), self._append(payload))
        while self._bytes > self._bytes_max and len(self._entries) > 1:
            self.dropped_full += 1
            self.finish(next(iter(self._entries)))
        self._trim()
        return number

    def oldest(self, count: int) -> list[SpoolEntry]:
        """The entries that have waited for longest, at most ``count``."""
        return list(islice(self._entries.values(), count))

    def finish(self, number: int) -> None:
        """Entry ``number`` needs no more care. Does nothing if a newer one of its key has taken its place."""
        if number not in self._entries:
            return
        self._remove(number)
        self._append(_encode(_Done("done", number)))
        self._trim()

    def drop_expired(self) -> None:
        """Drop every entry that has expired."""
        now_ms = self._now_ms()
        for entry in list(self._entries.values()):
            if entry.expires_ms is not None and entry.expires_ms <= now_ms:
                self.dropped_expired += 1
                self.finish(entry.number)

    @property
    def is_synced(self) -> bool:
        """Whether everything that waits is safe from a loss of power."""
        return self._segments.is_synced

    def sync(self) -> bool:
        """Make what waits safe from a loss of power; False if the disk can't. May be called in another
        thread."""
        try:
            self._segments.sync()
        except OSError as error:
            self.error = _words(error)
            return False
        return True

    def close(self) -> None:
        """Close the files. What waits stays there. Waits for the disk."""
        try:
            self._segments.close()
        except OSError as error:
            self.error = _words(error)

    def _insert(self, put: _Put, size_bytes: int, segment: int | None) -> None:
        if (older := self._numbers.get((put.topic, put.key))) is not None:
            self._remove(older)
        encoded = Encoded(put.key, put.value, [(name, value) for name, value in put.headers])
        self._entries[put.number] = SpoolEntry(
            put.number,
            put.topic,
            encoded,
            expires_ms=put.expires_ms,
            size_bytes=size_bytes,
            segment=segment,
        )
        self._numbers[put.topic, put.key] = put.number
        self._bytes += size_bytes
        self._needed[segment] += 1

    def _remove(self, number: int) -> None:
        entry = self._entries.pop(number)
        self._numbers.pop((entry.topic, entry.encoded.key), None)
        self._bytes -= entry.size_bytes
        self._needed[entry.segment] -= 1

    def _append(self, payload: bytes) -> int | None:
        try:
            segment = self._segments.append(payload)
        except OSError as error:
            self.error = _words(error)
            return None
        self.error = ""
        return segment

    def _trim(self) -> None:
        """Delete the oldest segments as far as nothing in them is needed. When the files have become too
        large, write what is needed of the oldest one anew."""
        while len(numbers := self._segments.numbers) > 1:
            oldest = numbers[0]
            if self._needed[oldest]:
                if self._segments.total_bytes <= REWRITTEN_AT * self._bytes_max:
                    return
                needed = [entry for entry in self._entries.values() if entry.segment == oldest]
                if not all(self._move(entry) for entry in needed):
                    return
            del self._needed[oldest]
            self._segments.drop_oldest()

    def _move(self, entry: SpoolEntry) -> bool:
        """Append an entry again, so that its segment can go; False if the disk does not take it."""
        put = _put_of(entry.number, entry.topic, entry.encoded, expires_ms=entry.expires_ms)
        segment = self._append(_encode(put))
        if segment is None:
            return False
        self._entries[entry.number] = entry._replace(segment=segment)
        self._needed[entry.segment] -= 1
        self._needed[segment] += 1
        return True

    def _replay(self, segment: int, payload: bytes) -> None:
        for change in _changes(payload):
            if isinstance(change, _Done):
                if change.number in self._entries:
                    self._remove(change.number)
            else:
                self._insert(change, len(payload), segment)


def _put_of(number: int, topic: str, encoded: Encoded, *, expires_ms: int | None) -> _Put:
    return _Put(
        "put",
        number,
        topic,
        key=encoded.key,
        value=encoded.value,
        headers=encoded.headers,
        expires_ms=expires_ms,
    )


def _changes(payload: bytes) -> Iterator[_Put | _Done]:
    """The change in a payload; none in what another version wrote and this one can't read."""
    for decoder in (_done, _put):
        try:
            yield decoder.decode(payload)
            return
        except UNDECODABLE:
            continue


def _words(error: OSError) -> str:
    return f"the spool can't be written to: {error.strerror or error}"
