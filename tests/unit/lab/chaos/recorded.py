"""Publications, clients and Redis as a recorder would have seen them, for the tests beside this."""

from __future__ import annotations

from typing import Any

from controller.core.model.memory import Memory, PoolMemory
from controller.core.model.reasons import State
from controller.core.policy.policy import Origin, Policy
from controller.routes.record import RoutesRecord
from lab.chaos.checker import Evidence, check
from lab.chaos.facts import ClientLife, Publication, RedisView
from lab.demo.records import RequestEnd, RequestStart, TableApplied
from lab.standins import ledger
from tests.unit.controller.core.made import NOW_MS, policy, pool
from tieline.table import MILLION, Generation, PoolInfo, Route, RouteTable, Split, checksum, slices

A, B = "azure/sweden/d", "gcp/iowa/d"
POLICY: Policy = policy(
    (pool("azure/sweden"), pool("gcp/iowa", geography="us")), origins=(Origin("eu", ("eu",)),)
)


def generation(epoch: int, seq: int, lineage: str = "l1") -> Generation:
    return Generation(lineage, epoch, seq)


def table(place: Generation, *, to: str = A, at_ms: int = NOW_MS) -> RouteTable:
    """All of the one route goes to one pool."""
    split = Split((0,), (MILLION,))
    return RouteTable(
        place, at_ms, (PoolInfo(to, "eu", "http://host"),), (Route("chat", "eu", "critical", split),)
    )


def published(
    epoch: int, seq: int, *, to: str = A, counts: bool = True, history: int = 0, lineage: str = "l1"
) -> Publication:
    """A publication whose offset follows from its place."""
    place = generation(epoch, seq, lineage)
    memory = Memory(pools={name: PoolMemory(State.HEALTHY, since_ms=NOW_MS) for name in (A, B)})
    record = RoutesRecord(place, NOW_MS, table(place, to=to), memory)
    return Publication(
        history, epoch * 100 + seq, epoch, seen_ms=NOW_MS, append_ms=NOW_MS, counts=counts, record=record
    )


def view(item: Publication) -> RedisView:
    """Redis with exactly this publication."""
    assert item.record is not None
    assert item.record.table is not None
    parts = slices(item.record.table)
    sums = {name: checksum(part) for name, part in parts.items()}
    return RedisView(NOW_MS, "", item.record.generation, slices=sums)


def life(*generations: Generation, name: str = "app-1.1", answered: bool = True) -> ClientLife:
    """A caller that put these tables in force in turn, and sent one request."""
    seen = ClientLife(name)
    seen.add(TableApplied(NOW_MS, "chat", str(place), urgent=False) for place in generations)
    seen.add([RequestStart(f"{name}-1", NOW_MS, "chat", origin="eu", stream=False, tokens=9)])
    if answered:
        seen.add([RequestEnd(f"{name}-1", NOW_MS, "ok", 200)])
    return seen


def arrived(name: str = "app-1.1-1", *, at: str = A) -> ledger.Attempt:
    """The stand-in's word that it answered a request."""
    return ledger.Attempt(name, at, "m", NOW_MS, tokens=9, admitted=True, outcome="ok", status=200)


def breaches(
    *items: Publication,
    lives: tuple[ClientLife, ...] | None = None,
    views: tuple[RedisView, ...] | None = None,
    attempts: tuple[ledger.Attempt, ...] = (arrived(),),
    **more: Any,
) -> list[str]:
    """What the checker says; without more words Redis and one client have followed everything that counts."""
    counting = [item for item in items if item.counts and item.record is not None]
    if lives is None:
        lives = (life(*(item.record.generation for item in counting if item.record is not None)),)
    evidence = Evidence(
        POLICY,
        items,
        0,
        redis_views=views if views is not None else tuple(map(view, counting)),
        lives=lives,
        attempts=attempts,
        **more,
    )
    return check(evidence).breaches
