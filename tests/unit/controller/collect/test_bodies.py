"""A body is bounded as sent and as unpacked."""

import gzip
import zlib

import pytest

from controller.collect.bodies import RATIO_FROM_BYTES, Body, check_media_type
from controller.collect.collector import JSON_TYPES, UnreadableError

MAX_BYTES = 64 * 1024 * 1024


def read(data: bytes, encoding: str = "", max_bytes: int = MAX_BYTES, chunk_bytes: int = 1_000) -> bytes:
    """The body that these bytes become, fed in chunks."""
    body = Body(encoding, max_bytes)
    for start in range(0, len(data), chunk_bytes):
        body.feed(data[start : start + chunk_bytes])
    return body.end()


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("", bytes),
        ("identity", bytes),
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", zlib.compress),
    ],
)
@pytest.mark.parametrize("chunk_bytes", [1, 7, 10_000])
def test_a_body_is_unpacked(encoding: str, pack, chunk_bytes: int) -> None:  # type: ignore[no-untyped-def]
    """Whatever the chunks are."""
    text = b'{"a": 1}' * 300
    assert read(pack(text), encoding, chunk_bytes=chunk_bytes) == text


def test_a_body_may_have_just_the_limit() -> None:
    """One byte more is refused, sent or unpacked."""
    assert len(read(b"x" * 5_000, max_bytes=5_000)) == 5_000
    assert len(read(gzip.compress(b"x" * 5_000), "gzip", max_bytes=5_000)) == 5_000
    for data, encoding in ((b"x" * 5_001, ""), (gzip.compress(b"x" * 5_001), "gzip")):
        with pytest.raises(UnreadableError, match="more than 5000 bytes"):
            read(data, encoding, max_bytes=5_000)


def test_a_bomb_is_refused_early() -> None:
    """64 MiB in 64 kB: given up soon after the first MiB, by its ratio."""
    bomb = gzip.compress(bytes(MAX_BYTES))
    body = Body("gzip", MAX_BYTES)
    with pytest.raises(UnreadableError, match="200 times its size"):
        body.feed(bomb[:3_000])
    assert sum(map(len, body._parts)) <= 2 * RATIO_FROM_BYTES


# Parameters name a test, and all workers must give it the same name: so no time of day in the gzip header.
@pytest.mark.parametrize(
    ("data", "encoding", "why"),
    [
        (gzip.compress(b"x" * 5_000, mtime=0)[:-9], "gzip", "was cut"),
        (b"not gzip", "gzip", "damaged"),
        (gzip.compress(b"x", mtime=0) + b"more", "gzip", "follows"),
        (b"x", "br", "was not asked for"),
        (b"x", "gzip, gzip", "was not asked for"),
    ],
)
def test_what_can_not_be_unpacked_is_refused(data: bytes, encoding: str, why: str) -> None:
    """Cut, damaged, with something behind it, or packed in another way."""
    with pytest.raises(UnreadableError, match=why):
        read(data, encoding)


def test_only_the_media_types_that_were_asked_for_are_read() -> None:
    """With any parameters; a page of HTML with status 200 is none of them."""
    check_media_type("Application/JSON; charset=utf-8", JSON_TYPES)
    for content_type in ("text/html", "", "application/jsonp", "text/html; application/json"):
        with pytest.raises(UnreadableError, match="not application/json"):
            check_media_type(content_type, JSON_TYPES)
