"""An exhaustive search of leading and publishing, run on the very folds that the controller uses.

Every interleaving of pauses, crashes, late appends and forged records within small bounds. Time does not
matter here; test_lease_search.py has the lease.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest

from controller.leading.claim_rule import NO_OFFSET, SILENCE_MS, LeaderLog
from controller.routes.counting_rule import NO_EPOCH, KeyedRecord, RoutesLog, fence_key, table_key
from tests.property.searching import search
from tieline.leader_events import Claimed

Content = tuple[tuple[int, int], ...]  # the decisions that led to a table, oldest first


class RoutesItem(NamedTuple):
    """A record of the routes log; ``content`` None is a fence."""

    epoch: int
    seq: int
    content: Content | None
    writer: str = "x"


FORGED = ((-9, -9),)  # what no controller ever decided


class Controller(NamedTuple):
    """``doing``: standby, claiming, read_back, elected, fencing, fenced, sending, landed, leading, gone.
    ``adrift``: crashed with a record still under way."""

    doing: str
    epoch: int = 0
    seq: int = 0
    content: Content = ()
    offset: int = 0
    names: int = 0
    adrift: bool = False


class World(NamedTuple):
    """The whole model at one moment. ``redis`` None: empty. ``acknowledged``: taken as published."""

    controllers: tuple[Controller, ...]
    leaders: tuple[int, ...]  # each claim's named epoch, by offset
    routes: tuple[RoutesItem | None, ...]  # None: compacted away
    redis: RoutesItem | None
    client: RoutesItem
    acknowledged: Content
    may_flush: bool = True
    may_compact: bool = True
    may_forge: bool = False


@cache
def leader_log(leaders: tuple[int, ...]) -> LeaderLog:
    """The controller's own reading, each claim after enough silence."""
    log = LeaderLog().apply(0, 0, Claimed("x", NO_EPOCH, NO_OFFSET))
    for offset, names in enumerate(leaders[1:], 1):
        log = log.apply(offset, offset * SILENCE_MS, Claimed("x", names, names))
    return log


def epoch_in_force(leaders: tuple[int, ...]) -> int:
    return leader_log(leaders).epoch


@cache
def read(routes: tuple[RoutesItem | None, ...], leaders: tuple[int, ...]) -> RoutesLog:
    """The controller's own reading."""
    log = RoutesLog()
    is_epoch = leader_log(leaders).is_epoch
    for offset, item in enumerate(routes):
        if item is not None:
            key = fence_key(item.epoch) if item.content is None else table_key(item.epoch)
            record = KeyedRecord(key, item.seq, str(offset).encode(), writer=item.writer)
            log = log.apply(offset, 0, record, is_epoch)
    return log


def newest(routes: tuple[RoutesItem | None, ...], leaders: tuple[int, ...]) -> RoutesItem:
    """By the counting rule."""
    found = read(routes, leaders).newest
    item = routes[found.offset] if found else None
    assert item is not None
    return item


def plainly_highest(routes: tuple[RoutesItem | None, ...], _leaders: tuple[int, ...]) -> RoutesItem:
    """A wrong reading: the highest generation wherever it lies."""
    return max((item for item in routes if item and item.content is not None), key=lambda item: item[:2])


def above(item: RoutesItem, held: RoutesItem | None) -> bool:
    return held is None or item[:2] > held[:2]


Newest = Callable[[tuple[RoutesItem | None, ...], tuple[int, ...]], RoutesItem]


def world_steps(newest_of: Newest, decisions: int) -> Callable[[World], Iterator[World]]:
    def following(world: World) -> Iterator[World]:
        for place, one in enumerate(world.controllers):
            for changed, effects in controller_steps(one, world, newest_of, decisions):
                others = world.controllers
                yield world._replace(controllers=(*others[:place], changed, *others[place + 1 :]), **effects)
        if world.redis and above(world.redis, world.client):
            yield world._replace(client=world.redis)
        if world.redis and world.may_flush:
            yield world._replace(redis=None, may_flush=False)
        if world.redis is None:
            yield world._replace(redis=newest_of(world.routes, world.leaders))
        if world.may_forge:
            for item in forged_items(world.leaders):
                yield world._replace(routes=(*world.routes, item), may_forge=False)
        if world.may_compact and not any(map(taking_office, world.controllers)):
            yield world._replace(routes=compacted(world.routes), may_compact=False)

    return following


def forged_items(leaders: tuple[int, ...]) -> Iterator[RoutesItem]:
    """A fence and a table under an epoch that never began, and a table under the one in force."""
    yield RoutesItem(10**16 - 1, 0, None)
    yield RoutesItem(10**16 - 1, 1, FORGED)
    yield RoutesItem(epoch_in_force(leaders), 99, FORGED, writer="forger")


def taking_office(one: Controller) -> bool:
    """Between its fence and its first table: far less than the hour for which nothing is compacted."""
    return one.doing == "fenced" or (one.doing == "sending" and one.seq == 1)


def compacted(routes: tuple[RoutesItem | None, ...]) -> tuple[RoutesItem | None, ...]:
    """Only the last record of each key stays: the newest table and the fence of each epoch."""
    last = {(item.epoch, item.content is None): at for at, item in enumerate(routes) if item}
    keep = set(last.values())
    return tuple(item if at in keep else None for at, item in enumerate(routes))


def controller_steps(
    one: Controller, world: World, newest_of: Newest, decisions: int
) -> Iterator[tuple[Controller, dict[str, Any]]]:
    """What one controller may do next, and what that changes around it."""
    gone = Controller("gone")
    routes = world.routes
    if one.doing in ("claiming", "fencing", "sending"):
        yield landed(one, world)
        if not one.adrift:
            yield one._replace(adrift=True), {}  # crashes; what it sent may land yet, or never
        return
    if one.doing == "gone":
        return
    yield gone, {}  # crashes, or stops by itself
    deposed = read(routes[: one.offset + 1], world.leaders).epoch > one.epoch
    match one.doing:
        case "standby":
            yield Controller("claiming", names=epoch_in_force(world.leaders)), {}
        case "read_back":
            led = epoch_in_force(world.leaders[: one.epoch + 1]) == one.epoch
            yield (one._replace(doing="fencing") if led else gone), {}
        case "fenced":
            found = (
                gone
                if deposed
                else one._replace(
                    doing="sending",
                    seq=1,
                    content=newest_of(routes[: one.offset + 1], world.leaders).content or (),
                )
            )
            yield found, {}
        case "landed":
            if deposed:
                yield gone, {}
            else:
                done = tuple(sorted({*world.acknowledged, *one.content}))
                yield one._replace(doing="projecting"), {"acknowledged": done}
        case "projecting":
            item = RoutesItem(one.epoch, one.seq, one.content)
            effects: dict[str, Any] = {"redis": item} if above(item, world.redis) else {}
            yield one._replace(doing="leading"), effects
        case "leading":
            if sum(epoch == one.epoch for epoch, _ in one.content) < decisions:
                decided = (*one.content, (one.epoch, one.seq + 1))
                yield one._replace(doing="sending", seq=one.seq + 1, content=decided), {}
            if world.redis is None:
                yield one, {"redis": RoutesItem(one.epoch, one.seq, one.content)}
        case _:
            pass


def landed(one: Controller, world: World) -> tuple[Controller, dict[str, object]]:
    """What was sent is appended, perhaps long after its sender died."""
    gone = Controller("gone")
    if one.doing == "claiming":
        after = gone if one.adrift else Controller("read_back", epoch=len(world.leaders))
        return after, {"leaders": (*world.leaders, one.names)}
    content = None if one.doing == "fencing" else one.content
    item = RoutesItem(one.epoch, one.seq, content)
    then = "fenced" if one.doing == "fencing" else "landed"
    after = gone if one.adrift else one._replace(doing=then, offset=len(world.routes))
    return after, {"routes": (*world.routes, item)}


def world_faults(newest_of: Newest) -> Callable[[World, World], set[str]]:
    def faults(old: World, new: World) -> set[str]:
        rebuilt = newest_of(new.routes, new.leaders)
        content = set(rebuilt.content or ())
        broken = set()
        if new.client[:2] < old.client[:2] or (new.redis and old.redis and new.redis[:2] < old.redis[:2]):
            broken.add("a generation goes back")
        if not set(old.client.content or ()) <= set(new.client.content or ()):
            broken.add("a client's table goes back")
        if rebuilt[:2] < new.client[:2] or not set(new.client.content or ()) <= content:
            broken.add("the rebuilt table is older than one a client applied")
        if not set(new.acknowledged) <= content:
            broken.add("an acknowledged decision is lost")
        if FORGED[0] in content:
            broken.add("a forged table is in force")
        return broken

    return faults


def beginning(controllers: int) -> World:
    first = RoutesItem(0, 1, ())
    standbys = tuple(Controller("standby") for _ in range(controllers - 1))
    troubled = controllers < 3  # a third controller, and Redis emptied or the log compacted: too many states
    leader = Controller("leading", seq=1)
    return World((leader, *standbys), (0,), (first,), first, first, (), troubled, troubled)


@pytest.mark.parametrize(("controllers", "decisions"), [(2, 2), (3, 1)])
def test_nothing_published_is_ever_lost(controllers: int, decisions: int) -> None:
    """With crashes, late appends, an emptied Redis and compaction anywhere: clients and Redis never go back,
    the rebuilt table is never older than one a client applied, no acknowledged decision is lost."""
    states, broken = search(beginning(controllers), world_steps(newest, decisions), world_faults(newest))
    assert broken == set()
    assert states > 1_000


def test_forged_publication_changes_nothing() -> None:
    """With one forged fence or table at any moment: every promise holds, and nothing forged is in force.

    Without compaction, which goes by keys alone: within the hour that it waits the leader publishes again.
    """
    start = beginning(2)._replace(may_compact=False, may_forge=True)
    states, broken = search(start, world_steps(newest, 1), world_faults(newest))
    assert broken == set()
    assert states > 1_000


def test_search_finds_what_the_counting_rule_prevents() -> None:
    """Read by plain highest generation instead, the same search finds a lost decision or a step back."""
    _, broken = search(beginning(2), world_steps(plainly_highest, 1), world_faults(plainly_highest))
    assert broken
