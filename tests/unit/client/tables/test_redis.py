"""Whether what lies in Redis is the table in force, by the fields that a poll reads."""

from __future__ import annotations

import pytest

from tieline._tables.redis import is_place_of
from tieline.table import Generation

IN_FORCE = Generation("one", 3, 42)


def test_the_generation_in_force_is_no_news() -> None:
    """A client that has the generation which lies there need not read the table."""
    assert is_place_of(IN_FORCE, [b"one", b"3", b"42"])


@pytest.mark.parametrize(
    "place",
    [
        [b"one", b"3", b"43"],
        [b"one", b"4", b"42"],
        [b"two", b"3", b"42"],
        [b"one", b"3", None],
        [None, None, None],
    ],
)
def test_everything_else_is_news(place: list[bytes | None]) -> None:
    """Another lineage, epoch or seq has the table read, whichever is newer, and so do missing fields: the
    checks of the table decide, and say what is wrong."""
    assert not is_place_of(IN_FORCE, place)


def test_without_a_table_everything_is_news() -> None:
    """A client that has no table reads whatever lies there."""
    assert not is_place_of(None, [None, None, None])
    assert not is_place_of(None, [b"one", b"3", b"42"])
