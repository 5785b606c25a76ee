"""A publication as it lies in Redis: which fields it changes, and what is encoded anew."""

from controller.routes.projection import Projection, cut, sums_of
from tieline.table import Generation, PoolInfo, Route, RouteTable, Split, decode_manifest

POOLS = tuple(PoolInfo(f"azure/r/p{number}", "us", "http://127.0.0.1:1") for number in range(2))


def projection(seq: int, us: Split, before: Projection | None = None, *, urgent_seq: int = 0) -> Projection:
    """Two routes, of which the one of ``us`` is given."""
    routes = (
        Route("chat", "us", "critical", split=us),
        Route("chat", "eu", "critical", split=Split((0,), (1_000_000,))),
    )
    table = RouteTable(Generation("main", 1, seq), 1_000, POOLS, routes=routes)
    parts = cut(table, before)
    return Projection(table, parts, sums_of(parts, before), urgent_seq=urgent_seq)


def test_only_the_manifest_and_changed_slices_are_written() -> None:
    """An unchanged route keeps its bytes, so nobody need write or send it again."""
    first = projection(1, Split((0,), (1_000_000,)))
    second = projection(2, Split((1,), (1_000_000,)), first)
    changes = second.changes_from(first)
    assert sorted(changes) == ["manifest", "slice:chat/us"]
    manifest = decode_manifest(changes["manifest"])
    assert manifest.generation == Generation("main", 1, 2)
    assert manifest.slices == second.sums


def test_without_a_base_everything_is_written() -> None:
    """As after Redis was emptied."""
    first = projection(1, Split((0,), (1_000_000,)))
    assert sorted(first.changes_from(None)) == ["manifest", "slice:chat/eu", "slice:chat/us"]


def test_only_the_publication_that_moved_load_is_urgent() -> None:
    """A later one of the same epoch still names it, for clients that have not used it."""
    split = Split((0,), (1_000_000,))
    assert projection(2, split, urgent_seq=2).is_urgent
    assert not projection(3, split, urgent_seq=2).is_urgent
