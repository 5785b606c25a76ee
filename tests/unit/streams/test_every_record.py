"""Every batch of records can be read, and what can't is said in one record."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from aiokafka.record.memory_records import MemoryRecords

from lab.chaos.raw_records import GZIP, Headers, RawName, batch, bomb
from streams.every_record import BATCH_MAX_BYTES, UNREADABLE, EveryBatch, UnreadableError, gunzip

RECORDS: tuple[tuple[bytes | None, bytes | None, Headers], ...] = (
    (b"k", b"v", [("a", b"1"), ("b", None)]),
    (None, None, []),
    (b"", b"x" * 300, [("c", b"")]),
)


def read(data: bytes) -> list[Any]:
    """All records of a fetch, and no exception."""
    batches = EveryBatch(data)
    records = []
    while batches.has_next():
        one_batch = batches.next_batch()
        assert one_batch.validate_crc()
        records += list(one_batch)
    return records


def fields(records: list[Any]) -> list[tuple[Any, ...]]:
    return [(r.offset, r.timestamp, r.timestamp_type, r.key, r.value, list(r.headers)) for r in records]


def damaged(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


@pytest.mark.parametrize("codec", [0, GZIP])
def test_good_batches_are_read_as_the_library_reads_them(codec: int) -> None:
    """The same offsets, times, keys, bodies and headers, of several batches, the last cut off."""
    data = batch(*RECORDS, codec=codec)
    expected = fields(list(MemoryRecords(data).next_batch()))
    assert len(expected) == 3
    assert fields(read(data + data + data[:-1])) == expected * 2


def test_names_of_headers_are_read_as_bytes() -> None:
    """Only the name that is not UTF-8 differs; the record and its neighbours are whole."""
    odd = batch(RECORDS[0], (b"k", b"v", [(RawName(b"\xc3\x28"), b"1"), ("b", b"2")]), RECORDS[2])
    plain = batch(RECORDS[0], (b"k", b"v", [("\\xc3(", b"1"), ("b", b"2")]), RECORDS[2])
    assert fields(read(odd)) == fields(list(MemoryRecords(plain).next_batch()))


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (damaged(batch(*RECORDS), 70), "CRC"),
        (damaged(batch(*RECORDS, codec=GZIP), 75), "CRC"),
        (bomb(BATCH_MAX_BYTES + 1_000_000), "larger than 16 MiB"),
    ],
)
def test_what_cannot_be_read_is_one_record(data: bytes, place: str) -> None:
    """At the last offset of its batch, with the batch as it is and the reason."""
    [record] = read(data)
    assert record.value == data
    [(name, why)] = record.headers
    assert name == UNREADABLE
    assert place in why.decode()
    good = batch(*RECORDS)
    assert len(read(data + good)) == 4


def test_gzip_data_is_read_to_its_end_or_refused() -> None:
    """Several streams one after the other are one; a cut, damage and more than the limit are refused."""
    data = gzip.compress(b"a" * 60) + gzip.compress(b"b" * 40)
    assert gunzip(data, 100) == b"a" * 60 + b"b" * 40
    for bad, limit in ((data, 99), (data[:-1], 100), (b"rubbish", 100), (data[:5], 100)):
        with pytest.raises(UnreadableError):
            gunzip(bad, limit)
