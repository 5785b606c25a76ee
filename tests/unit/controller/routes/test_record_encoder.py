"""Records that are encoded one after another: the same bytes as each alone, and every table is checked."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from controller.routes.record import (
    RecordEncoder,
    RoutesRecord,
    decode_record,
    encode_record,
    fence,
    head_of,
)
from tieline.table import Generation, PoolInfo, Route, RouteTable, Split, TableError
from tieline.topics import ROUTES_RECORD_MAX_BYTES

ORIGINS = ("us", "eu", "jp")
WHOLE, HALF = 1_000_000, 500_000


def pools(count: int) -> tuple[PoolInfo, ...]:
    """So many pools of one provider."""
    return tuple(PoolInfo(f"azure/r/p{number}", "us", "http://127.0.0.1:1") for number in range(count))


def record(seq: int, pool_count: int, on_first: Sequence[bool]) -> RoutesRecord:
    """A publication with a route for each of ``on_first``: all of it goes to the first pool, or to two."""
    splits = [Split((0,), (WHOLE,)) if first else Split((0, 1), (HALF, HALF)) for first in on_first]
    routes = tuple(
        Route("chat", origin, "critical", split=split) for origin, split in zip(ORIGINS, splits, strict=False)
    )
    generation = Generation("main", 1, seq)
    return RoutesRecord(generation, seq, RouteTable(generation, seq, pools(pool_count), routes=routes))


@given(
    st.lists(
        st.tuples(st.integers(2, 4), st.lists(st.booleans(), min_size=1, max_size=3)), min_size=1, max_size=6
    )
)
def test_what_is_kept_from_record_to_record_changes_no_byte(
    publications: list[tuple[int, list[bool]]],
) -> None:
    """Whatever became of pools and routes since the last record, and with fences between."""
    encoder = RecordEncoder()
    for seq, (pool_count, on_first) in enumerate(publications, 1):
        publication = record(seq, pool_count, on_first)
        assert encoder.encode(publication) == encode_record(publication)
        assert decode_record(encoder.encode(publication)) == publication
        opening = fence("main", seq, seq)
        assert encoder.encode(opening) == encode_record(opening)


def test_a_record_that_is_too_large_is_read_as_any_other() -> None:
    """It goes to Kafka compressed, and whole records and heads come back from it."""
    large = replace(record(1, 2, [True]), policy=b"azure/r/p1 " * 900_000, policy_version="one")
    data = encode_record(large)
    assert len(data) < ROUTES_RECORD_MAX_BYTES < len(large.policy)
    assert decode_record(data) == large
    assert head_of(data).policy_version == "one"


def test_a_table_is_checked_also_after_good_ones() -> None:
    """Only what is equal in the last good table passes unseen, and a refused table leaves nothing behind."""
    encoder = RecordEncoder()
    good = record(1, 2, [True, False])
    encoder.encode(good)
    assert good.table is not None
    first, second = good.table.routes
    short = Route("chat", "us", "critical", split=Split((0,), (1,)))
    outside = Route("chat", "us", "critical", split=Split((7,), (WHOLE,)))
    for routes in ((short, second), (outside, second), (first, first), ()):
        bad = RouteTable(good.generation, 1, good.table.pools, routes=routes)
        for table in (bad, bad):
            with pytest.raises(TableError):
                encoder.encode(RoutesRecord(good.generation, 1, table))
    fewer = RouteTable(good.generation, 1, pools(1), routes=(first, second))
    for _ in range(2):
        with pytest.raises(TableError):
            encoder.encode(RoutesRecord(good.generation, 1, fewer))
    assert encoder.encode(good) == encode_record(good)
