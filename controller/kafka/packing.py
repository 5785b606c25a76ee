"""PURE. Bodies that are too large for their topic as they are: compressed when written, restored when read.

The routes log and the log of decisions take records of up to 8 MiB (``ROUTES_RECORD_MAX_BYTES``). A record
of 4,000 pools, 50 workloads and 8 origins is larger: it names every pool, its policy and the planner's memory
of it. Such a body repeats itself so much that zlib takes it to a fifth. Only a body that would not fit
otherwise is compressed: it costs the leader some 0.1 s, and versions before this one could not read it.

Nothing has to say that a body is compressed. zlib's begins with 0x78, and a record of ours, a map in
MessagePack, never does. What a body may grow to is bounded, so that no record can fill a reader's memory.

Tests: tests/unit/controller/kafka/test_packing.py.
"""

import zlib

from tieline.topics import MIB, ROUTES_RECORD_MAX_BYTES

UNPACKED_MAX_BYTES = 32 * MIB
LEVEL = 1  # twice as quick as the default, and a tenth larger
ZLIB_BEGINS = b"\x78"


class PackingError(ValueError):
    """A body is too large even when it is compressed, or can't be restored; the message says which."""


def packed(body: bytes) -> bytes:
    """The body as it goes to Kafka. Raises ``PackingError`` if it does not fit."""
    if len(body) <= ROUTES_RECORD_MAX_BYTES:
        return body
    if len(body) > UNPACKED_MAX_BYTES:
        raise PackingError(f"{len(body)} bytes; the limit is {UNPACKED_MAX_BYTES}")
    compressed = zlib.compress(body, LEVEL)
    if len(compressed) > ROUTES_RECORD_MAX_BYTES:
        raise PackingError(
            f"{len(body)} bytes, and {len(compressed)} compressed; the limit is {ROUTES_RECORD_MAX_BYTES}"
        )
    return compressed


def unpacked(data: bytes) -> bytes:
    """The body of a record from Kafka. Raises ``PackingError`` for a damaged one."""
    if not data.startswith(ZLIB_BEGINS):
        return data
    return inflated(data, UNPACKED_MAX_BYTES, what="its compressed body")


def inflated(data: bytes, most_bytes: int, *, what: str) -> bytes:
    """What zlib has compressed, up to ``most_bytes``. Raises ``PackingError``, which says ``what`` it was."""
    stream = zlib.decompressobj()
    try:
        body = stream.decompress(data, most_bytes)
    except zlib.error as error:
        raise PackingError(f"{what} can't be expanded: {error}") from None
    if not stream.eof:
        raise PackingError(f"{what} is cut off, or has more than {most_bytes} bytes")
    return body
