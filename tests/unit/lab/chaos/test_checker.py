"""The checker sees each way in which the promises can be broken, and nothing where they hold."""

from __future__ import annotations

from dataclasses import replace

from lab.chaos.checker import Evidence, check
from lab.chaos.facts import RedisView
from lab.demo.records import RequestEnd
from tests.unit.controller.core.made import NOW_MS
from tests.unit.lab.chaos.recorded import (
    POLICY,
    A,
    B,
    arrived,
    breaches,
    generation,
    life,
    published,
    view,
)

FIRST, SECOND, TAKEN_OVER = published(1, 1), published(1, 2), published(2, 1)


def test_what_holds_is_no_breach() -> None:
    """Two publications and a take-over, followed by Redis and a client, and a request that was answered."""
    assert breaches(FIRST, SECOND, TAKEN_OVER) == []


def test_a_client_that_goes_back_is_seen() -> None:
    """Within a lineage, and to a lineage that it had left."""
    back = life(generation(1, 2), generation(1, 1))
    assert "went from l1:1:2 to l1:1:1" in " ".join(breaches(FIRST, SECOND, lives=(back,)))
    other = published(1, 3, lineage="l2", history=1)
    returned = life(generation(1, 1), generation(1, 3, "l2"), generation(1, 2))
    found = breaches(FIRST, SECOND, other, lives=(returned,))
    assert any("went back to a lineage" in story for story in found)


def test_a_table_that_does_not_count_is_seen() -> None:
    """One that a deposed leader appended late, in a client or in Redis."""
    late = published(1, 3, counts=False)
    applied = life(generation(1, 1), generation(1, 3))
    assert "applied l1:1:3, which does not count" in " ".join(breaches(FIRST, late, lives=(applied,)))
    held = (view(late), view(FIRST))
    assert "Redis held l1:1:3, which does not count" in " ".join(breaches(FIRST, late, views=held))


def test_an_unlawful_table_is_seen() -> None:
    """The pool lies in a geography that the origin does not allow."""
    assert "only lawful pools" in " ".join(breaches(FIRST, published(1, 2, to=B)))


def test_a_take_over_that_changes_weights_is_seen() -> None:
    """The first table of an epoch is the newest one before it."""
    assert "the take-over changed weights" in " ".join(breaches(FIRST, published(2, 1, to=B)))


def test_a_gap_in_the_generations_is_seen() -> None:
    """Within an epoch they follow one another."""
    assert "l1:1:3 follows l1:1:1" in breaches(FIRST, published(1, 3))


def test_a_redis_that_goes_back_is_seen_unless_the_fault_did_it() -> None:
    """An older generation after a newer one, with the newest at the end."""
    views = (view(SECOND), view(FIRST), view(SECOND))
    assert breaches(FIRST, SECOND, views=views) == ["Redis went from l1:1:2 to l1:1:1"]
    assert breaches(FIRST, SECOND, views=views, redis_may_go_back=True) == []


def test_a_redis_that_ends_with_less_than_the_newest_is_seen() -> None:
    """Older, away, or with other bytes under the right generation."""
    assert "Redis ends with l1:1:1" in " ".join(breaches(FIRST, SECOND, views=(view(FIRST),)))
    away = RedisView(NOW_MS, "away")
    assert "Redis ends with away" in " ".join(breaches(FIRST, views=(view(FIRST), away)))
    damaged = view(FIRST)._replace(slices={"chat/eu": "another"})
    assert "the slices in Redis are not those" in " ".join(breaches(FIRST, views=(damaged,)))


def test_a_lost_request_is_seen() -> None:
    """It failed, never ended, or its caller says that it was answered and no provider knows of it."""
    failed = life(generation(1, 1), answered=False)
    failed.add([RequestEnd("app-1.1-1", NOW_MS, "failed", 503, why="nothing is left")])
    assert "request app-1.1-1 was lost: 503 nothing is left" in breaches(FIRST, lives=(failed,), attempts=())
    unended = life(generation(1, 1), answered=False)
    assert "request app-1.1-1 was lost: it never ended" in breaches(FIRST, lives=(unended,), attempts=())
    assert any("app-1.1-1 was lost" in story for story in breaches(FIRST, attempts=()))


def test_what_a_killed_caller_had_under_way_is_nobodys_loss() -> None:
    """Its other requests count as before."""
    killed = life(generation(1, 1), answered=False)
    killed.killed = True
    other = life(generation(1, 1), name="app-2.2")
    assert breaches(FIRST, lives=(killed, other), attempts=(arrived("app-2.2-1"),)) == []


def test_only_requests_of_the_faults_own_time_count() -> None:
    """Those before it and after it belong to other checks."""
    evidence = Evidence(
        POLICY,
        (FIRST,),
        0,
        redis_views=(view(FIRST),),
        lives=(life(generation(1, 1)),),
        attempts=(arrived(),),
    )
    assert check(evidence).sent == 1
    assert check(replace(evidence, began_ms=NOW_MS + 1)).sent == 0
    assert check(replace(evidence, until_ms=NOW_MS - 1)).sent == 0


def test_a_request_at_an_unlawful_pool_is_seen() -> None:
    """Wherever the table sent it."""
    assert any("reached" in story for story in breaches(FIRST, attempts=(arrived(at=B),)))
    assert breaches(FIRST, attempts=(arrived(at=A),)) == []
