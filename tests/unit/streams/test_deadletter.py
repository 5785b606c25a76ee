"""What a dead letter is appended as."""

from __future__ import annotations

import hashlib

from streams.contract_check import Record
from streams.deadletter import REQUEST_MAX_BYTES, DeadLetter, fitting
from tieline.cloudevents import Poison, Rejection

POISON = Poison(Rejection.UNDECODABLE, "no body")


def record(value: bytes | None, key: bytes | None = b"k", *headers: tuple[str, bytes | None]) -> Record:
    return Record(
        topic="t.reports",
        topic_id="id-1",
        partition=3,
        offset=9,
        append_ms=5,
        key=key,
        value=value,
        headers=headers,
    )


def test_a_letter_names_its_record_for_good() -> None:
    """Topic id, partition and offset together are never those of another record."""
    contents = fitting(DeadLetter(record(b"v", b"k", ("mine", None)), POISON))
    assert (contents.key, contents.value, contents.headers[0]) == (b"k", b"v", ("mine", None))
    names = dict(contents.headers)
    assert (names["tieline_topic_id"], names["tieline_partition"], names["tieline_offset"]) == (
        b"id-1",
        b"3",
        b"9",
    )


def test_whatever_the_record_its_letter_fits() -> None:
    """Large bodies, keys and headers are cut, and the size and checksum of the whole are told."""
    for large in (
        record(b"x" * 50_000_000),
        record(b"x", b"k" * 50_000_000),
        record(b"x", b"k", *(("h", b"y" * 60_000) for _ in range(500))),
        record(None, None, ("h" * 50_000_000, None)),
    ):
        contents = fitting(DeadLetter(large, POISON))
        headers = sum(len(name) + len(text or b"") + 10 for name, text in contents.headers)
        assert len(contents.key or b"") + len(contents.value or b"") + headers < REQUEST_MAX_BYTES - 10_000
        names = dict(contents.headers)
        assert names["tieline_cut_from_bytes"] == str(large.size_bytes).encode()
        assert names["tieline_sha256"] == hashlib.sha256(large.value or b"").hexdigest().encode()
