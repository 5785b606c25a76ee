"""Bodies of requests: how one is held for several attempts, and given to a socket in pieces.

Three forms. ``bytes`` is what most are. ``Spliced`` is a body of which some bytes have been replaced, without
a copy of the others. ``Spool`` holds an upload in a temporary file: it is written once, as the caller gives
it, and read anew by each attempt, so that no more than a piece of it is ever in memory.
"""

import tempfile
import weakref
from collections.abc import Iterator
from typing import TypeAlias

from msgspec import Struct

from tieline._http.messages import WireError
from tieline.events import ResultClass

PIECE_BYTES = 256 * 1024
_MARK_BYTES = 64


class SpoolError(Exception):
    """There is no room for an upload."""


class Spool:
    """A body in a temporary file, which is gone with the last reference to this. Used by one thread at a
    time; parts of it may be read in turns. The hashes of two different bodies differ; those of equal ones are
    equal if they were written in the same pieces."""

    def __init__(self) -> None:
        try:
            self._file = tempfile.TemporaryFile(prefix="tieline-")  # noqa: SIM115  closed by the finalizer
        except OSError as error:
            raise _no_room(error) from None
        weakref.finalize(self, self._file.close)
        self._size = 0
        self._mark = 0

    def __len__(self) -> int:
        return self._size

    def __hash__(self) -> int:
        return hash((self._size, self._mark))

    def write(self, piece: bytes) -> None:
        """Add to its end. Raises ``SpoolError``."""
        try:
            self._file.write(piece)
        except OSError as error:
            raise _no_room(error) from None
        self._size += len(piece)
        self._mark = hash((self._mark, piece[:_MARK_BYTES]))

    def read(self, start: int, count: int) -> bytes:
        """So many bytes from there on. Raises ``WireError`` if they can't be read: what was sent of the body
        is not the whole then."""
        try:
            self._file.seek(start)
            piece = self._file.read(count)
        except OSError as error:
            raise WireError(ResultClass.CLIENT_ERROR, f"the spooled upload can't be read: {error}") from None
        if len(piece) < count:
            raise WireError(ResultClass.CLIENT_ERROR, "the spooled upload was cut by someone else")
        return piece

    def part(self, start: int = 0, end: int | None = None) -> "SpoolPart":
        """The bytes from ``start`` up to ``end``, by default its end."""
        return SpoolPart(self, start, self._size if end is None else end)


class SpoolPart(Struct, frozen=True):
    """Some bytes of a spool."""

    spool: Spool
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


class Spliced(Struct, frozen=True):
    """A body of several parts. They are parts of the caller's own, or of a spool, and not copies."""

    parts: tuple[memoryview | SpoolPart, ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __bytes__(self) -> bytes:
        return b"".join(pieces_of(self))


Content: TypeAlias = bytes | Spliced


def pieces_of(content: Content) -> Iterator[memoryview]:
    """The content in pieces of a size that a socket takes at once. Those of bytes are parts of them, not
    copies. Raises ``WireError`` for a spool that can't be read."""
    for part in content.parts if isinstance(content, Spliced) else (memoryview(content),):
        for at in range(0, len(part), PIECE_BYTES):
            if isinstance(part, SpoolPart):
                start = part.start + at
                yield memoryview(part.spool.read(start, min(PIECE_BYTES, part.end - start)))
            else:
                yield part[at : at + PIECE_BYTES]


def replaced(body: bytes | Spool, start: int, end: int, value: bytes) -> Spliced:
    """The body with this value instead of its bytes from ``start`` to ``end``."""
    if isinstance(body, Spool):
        return Spliced((body.part(0, start), memoryview(value), body.part(end)))
    whole = memoryview(body)
    return Spliced((whole[:start], memoryview(value), whole[end:]))


def _no_room(error: OSError) -> SpoolError:
    return SpoolError(
        f"an upload of more than 1 MiB is kept in {tempfile.gettempdir()} while it is sent, and that failed: "
        f"{error.strerror or error}. Make room there, or set TMPDIR to a directory that has some"
    )
