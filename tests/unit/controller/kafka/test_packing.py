"""Bodies that are too large for their topic."""

from __future__ import annotations

import random
import zlib

import pytest

from controller.kafka.packing import UNPACKED_MAX_BYTES, PackingError, packed, unpacked
from tieline.topics import ROUTES_RECORD_MAX_BYTES

LINE = b"\x84azure/swedencentral/gpt-4o"


def body(size_bytes: int) -> bytes:
    """A body that repeats itself, as records do."""
    return (LINE * (size_bytes // len(LINE) + 1))[:size_bytes]


def test_what_fits_stays_as_it_is() -> None:
    """Readers of any version understand a body that fits, and it costs nothing."""
    fits = body(ROUTES_RECORD_MAX_BYTES)
    assert packed(fits) is fits
    assert unpacked(fits) is fits


def test_what_does_not_fit_is_compressed_and_comes_back() -> None:
    """A larger body takes less room than the topic allows, and is the same when it is read."""
    large = body(ROUTES_RECORD_MAX_BYTES + 1)
    small = packed(large)
    assert len(small) <= ROUTES_RECORD_MAX_BYTES
    assert unpacked(small) == large


def test_what_does_not_fit_even_so_is_refused() -> None:
    """The error names both sizes and the limit."""
    noise = random.Random(1).randbytes(ROUTES_RECORD_MAX_BYTES + 4_096)
    with pytest.raises(PackingError, match=r"compressed; the limit is 8388608"):
        packed(noise)
    with pytest.raises(PackingError, match=rf"the limit is {UNPACKED_MAX_BYTES}"):
        packed(body(UNPACKED_MAX_BYTES + 1))


@pytest.mark.parametrize(
    "damaged",
    [
        b"x",
        zlib.compress(LINE)[:-3],
        zlib.compress(bytes(UNPACKED_MAX_BYTES + 1)),
        zlib.compress(LINE)[:-1] + b"?",
    ],
    ids=["no zlib", "cut off", "larger than allowed", "altered"],
)
def test_damage_is_an_error(damaged: bytes) -> None:
    """No body fills a reader's memory, and none is taken for another."""
    with pytest.raises(PackingError):
        unpacked(damaged)
