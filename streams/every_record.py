"""Reads every record that Kafka can hold, so that no record stops the ones behind it.

aiokafka raises in the middle of a fetch when a header's name is not UTF-8, when a batch is compressed by a
codec that isn't installed, and when a checksum is wrong. Its consumer then fetches the same place again, for
ever. It also decompresses whatever comes: a batch of 300 kB may hold 300 MB. ``install`` replaces the part
that splits a fetch into records, in this process. Instead of raising:

- A header's name is read as bytes. What is not UTF-8 in it is written ``\\xff``, and the record is whole.
- A batch that can't be read, or that would be larger than ``BATCH_MAX_BYTES``, becomes one record at its last
  offset. Its value is the batch as Kafka stored it. Its header ``UNREADABLE`` holds the reason and the place,
  and ``contract_check`` makes a dead letter of it.

The formats are those of Kafka's protocol, "Record Batch" (magic 2). Older batches are left to aiokafka. This
reaches into a pinned version (requirements.lock); tests/integration/test_odd_records.py fails if it changes.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer import fetcher
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import decode_varint_py as decode_varint

from tieline.cloudevents import Rejection
from tieline.kafka import Brokers, brokers_of, close_consumer, connect

UNREADABLE = "tieline_unreadable"
BATCH_MAX_BYTES = 16 * 1024 * 1024  # twice the largest record of this installation
_HEADER = struct.Struct(">qiibIhiqqqhii")
_LENGTH = struct.Struct(">qi")  # the offset of a batch, and how many bytes follow
_MAGIC_AT = 16
_CODECS = {0: "none", 1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
_CODEC_MASK, _APPEND_TIME, _TRANSACTIONAL, _CONTROL = 0x07, 0x08, 0x10, 0x20
_GZIP = 31  # zlib's number for a gzip header around the data


def install() -> None:
    """All consumers of this process read by these rules from now on. May be called again."""
    fetcher.MemoryRecords = EveryBatch


def log_reader(bootstrap: str | Brokers, **options: Any) -> AIOKafkaConsumer:
    """A consumer without a group, which commits nothing and stops at no record. ``options``: aiokafka's."""
    install()
    return brokers_of(bootstrap).consumer(group_id=None, enable_auto_commit=False, **options)


async def open_reader(consumer: AIOKafkaConsumer) -> None:
    """Connects a consumer; one that can't be connected is closed. Raises what aiokafka raises."""
    try:
        await connect(consumer)
    except BaseException:
        await close_reader(consumer)
        raise


async def close_reader(consumer: AIOKafkaConsumer) -> None:
    """Closes a consumer without a group, also when the caller is cancelled meanwhile.

    It waits for no broker, as there is no group to leave.
    """
    await close_consumer(consumer)


class UnreadableError(ValueError):
    """A batch can't be read; ``reason`` is the dead letter's."""

    def __init__(self, reason: Rejection, why: str) -> None:
        super().__init__(why)
        self.reason = reason


class ReadRecord(NamedTuple):
    """One record, with the attributes that aiokafka's consumer reads."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    checksum: None = None


class EveryBatch:
    """The batches of one fetch, as ``MemoryRecords`` of aiokafka gives them."""

    def __init__(self, data: bytes | None) -> None:
        self._data = data or b""
        self._start = 0

    def size_in_bytes(self) -> int:
        """Size of the fetch."""
        return len(self._data)

    def has_next(self) -> bool:
        """Whether another whole batch follows; the last of a fetch may be cut off."""
        return self._start + _LENGTH.size <= len(self._data) and self._end() <= len(self._data)

    def next_batch(self) -> Any:
        """The next batch; call only if there is one."""
        data = bytes(self._data[self._start : self._end()])
        self._start = self._end()
        if data[_MAGIC_AT] != 2:
            return MemoryRecords(data).next_batch()
        return Batch(data)

    def _end(self) -> int:
        _, length = _LENGTH.unpack_from(self._data, self._start)
        return self._start + _LENGTH.size + max(int(length), _HEADER.size - _LENGTH.size)


class Batch:
    """One batch of magic 2; iterating over it never raises."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        header = _HEADER.unpack_from(data)
        self.base_offset: int = header[0]
        self._attributes: int = header[5]
        self.next_offset: int = self.base_offset + header[6] + 1
        self._first_ms: int = header[7]
        self._max_ms: int = header[8]
        self.producer_id: int = header[9]
        self._count: int = header[12]
        self.is_transactional = bool(self._attributes & _TRANSACTIONAL)
        self.is_control_batch = bool(self._attributes & _CONTROL)

    def validate_crc(self) -> bool:
        """True: a wrong checksum is found by the iteration, which has an answer to it."""
        return True

    def __iter__(self) -> Iterator[Any]:
        yielded = 0
        try:
            data = self._plain()
            try:
                for record in MemoryRecords(data).next_batch():
                    yield record
                    yielded += 1
            except (UnicodeDecodeError, ValueError, IndexError):
                yield from self._lenient(data, yielded)
        except UnreadableError as error:
            yield self._unreadable(error)
        except Exception as error:  # noqa: BLE001 (whatever it is, the records behind it must come through)
            why = f"{type(error).__name__}: {error}"[:500]
            yield self._unreadable(UnreadableError(Rejection.UNREADABLE, why))

    def _plain(self) -> bytes:
        """The same batch without compression. Raises ``UnreadableError``."""
        if not MemoryRecords(self._data).next_batch().validate_crc():
            raise UnreadableError(Rejection.UNREADABLE, "its checksum (CRC) is wrong")
        codec = _CODECS.get(self._attributes & _CODEC_MASK, "an unknown codec")
        if codec == "none":
            return self._data
        if codec != "gzip":
            raise UnreadableError(
                Rejection.UNREADABLE,
                f"it is compressed with {codec}, which is not read here: have its producer use gzip or none, "
                "or set compression.type=uncompressed on the topic",
            )
        header = list(_HEADER.unpack_from(self._data))
        records = gunzip(self._data[_HEADER.size :])
        header[1] = _HEADER.size - _LENGTH.size + len(records)
        header[5] &= ~_CODEC_MASK
        return _HEADER.pack(*header) + records

    def _lenient(self, data: bytes, start: int) -> Iterator[ReadRecord]:
        """The records from number ``start`` on, with names of headers read as bytes."""
        position = _HEADER.size
        for number in range(self._count):
            length, body = decode_varint(data, position)
            position = body + length
            if length < 0 or position > len(data):
                raise UnreadableError(Rejection.UNREADABLE, f"its record {number} has no valid length")
            if number >= start:
                yield self._record(data[body:position])

    def _record(self, body: bytes) -> ReadRecord:
        delta_ms, position = decode_varint(body, 1)
        offset_delta, position = decode_varint(body, position)
        key, position = _bytes_at(body, position)
        value, position = _bytes_at(body, position)
        count, position = decode_varint(body, position)
        headers: list[tuple[str, bytes | None]] = []
        for _ in range(count):
            name, position = _bytes_at(body, position)
            text, position = _bytes_at(body, position)
            headers.append(((name or b"").decode("utf-8", "backslashreplace"), text))
        by_broker = bool(self._attributes & _APPEND_TIME)
        return ReadRecord(
            offset=self.base_offset + offset_delta,
            timestamp=self._max_ms if by_broker else self._first_ms + delta_ms,
            timestamp_type=int(by_broker),
            key=key,
            value=value,
            headers=headers,
        )

    def _unreadable(self, error: UnreadableError) -> ReadRecord:
        """Stands for every record of the batch that could not be read."""
        last = self.next_offset - 1
        where = f"offset {last}" if last == self.base_offset else f"offsets {self.base_offset} to {last}"
        why = f"{error.reason} the batch of {where} can't be read: {error}"
        return ReadRecord(
            offset=last,
            timestamp=self._max_ms,
            timestamp_type=int(bool(self._attributes & _APPEND_TIME)),
            key=None,
            value=self._data,
            headers=[(UNREADABLE, why.encode("utf-8", "replace"))],
        )


def gunzip(data: bytes, max_bytes: int = BATCH_MAX_BYTES) -> bytes:
    """The decompressed data. Raises ``UnreadableError`` before it takes more than ``max_bytes``."""
    parts: list[bytes] = []
    left = max_bytes
    while data:
        stream = zlib.decompressobj(_GZIP)
        try:
            part = stream.decompress(data, left + 1)
        except zlib.error as error:
            raise UnreadableError(Rejection.UNREADABLE, f"its gzip data is damaged: {error}") from None
        if len(part) > left:
            why = f"decompressed it is larger than {max_bytes // (1024 * 1024)} MiB"
            raise UnreadableError(Rejection.TOO_LARGE, why)
        if not stream.eof:
            raise UnreadableError(Rejection.UNREADABLE, "its gzip data is cut off")
        parts.append(part)
        left -= len(part)
        data = stream.unused_data
    return b"".join(parts)


def _bytes_at(body: bytes, position: int) -> tuple[bytes | None, int]:
    """A length and as many bytes; -1 stands for None. Raises ``UnreadableError``."""
    length, position = decode_varint(body, position)
    if length < 0:
        return None, position
    if position + length > len(body):
        raise UnreadableError(Rejection.UNREADABLE, "the lengths within a record don't fit its size")
    return bytes(body[position : position + length]), position + length
