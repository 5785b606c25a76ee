"""A publication as it lies in Redis: which fields it changes, and what is encoded anew."""

from collections.abc import Awaitable, Callable

import pytest

from controller.routes.adoption import Adoption, encode_adoption
from controller.routes.projection import Projection, Projector, cut, sums_of
from tieline.keys import Keys
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


class RedisOfAnotherLineage:
    """A Redis that holds another lineage, which ours follows. ``when_asked`` is called as it answers that."""

    connection_pool = None  # no connection is opened

    def __init__(self) -> None:
        self.when_asked: Callable[[], None] = lambda: None

    def register_script(self, _text: str) -> Callable[..., Awaitable[list[int]]]:
        """Every script is done."""

        async def run(**_arguments: object) -> list[int]:
            return [1]

        return run

    async def hmget(self, *_names: object) -> list[bytes]:
        """The place of its table, and a manifest."""
        return [b"old", b"9", b"9", b"manifest"]

    async def get(self, _key: str) -> bytes:
        """The operator's word."""
        self.when_asked()
        return encode_adoption(Adoption("main", ("old",), 0, actor="a", reason="r"))


@pytest.fixture
def adopting() -> tuple[RedisOfAnotherLineage, Projector]:
    """Made outside the loop, because the scripts are read from files."""
    redis = RedisOfAnotherLineage()
    return redis, Projector(redis, Keys("test"))


async def test_a_publication_that_comes_while_a_lineage_is_adopted_is_not_lost(
    adopting: tuple[RedisOfAnotherLineage, Projector],
) -> None:
    """The newest one takes the place of the old lineage, and not the one that was there at the question."""
    redis, projector = adopting
    first, second = (projection(seq, Split((0,), (1_000_000,))).table for seq in (1, 2))
    projector.project(first, 0)
    redis.when_asked = lambda: projector.project(second, 0)
    assert await projector._is_behind()
    assert projector.table is second
    assert projector.parents == ("old",)


async def test_a_publication_that_was_encoded_before_an_adoption_names_the_lineages_that_it_follows(
    adopting: tuple[RedisOfAnotherLineage, Projector],
) -> None:
    """It was on its way to Kafka meanwhile. Without their names no client of theirs would ever apply it."""
    redis, projector = adopting
    first, second = (projection(seq, Split((0,), (1_000_000,))).table for seq in (1, 2))
    projector.project(first, 0)
    redis.when_asked = lambda: projector.prepare(second, 0)
    assert await projector._is_behind()
    projector.project(second, 0)
    assert projector.table is second
    assert projector.parents == ("old",)
