"""Exhaustive searches of leading and publishing, run on the very folds that the controller uses.

Every interleaving of pauses, crashes and late appends within small bounds. Two models, because one would be
too large: the lease (time matters, content doesn't), the routes log (content matters, time doesn't).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from functools import cache
from typing import Any, NamedTuple, TypeVar

import pytest

from controller.leading.claim_rule import LEASE_MS, NO_OFFSET, SILENCE_MS, LeaderLog
from controller.routes.counting_rule import NO_EPOCH, RoutesLog, fence_key, table_key
from tieline.events import Claimed, Heartbeat

TICK_MS = 500
STATES_MAX = 400_000
State = TypeVar("State", bound=Hashable)


def search(
    start: State, following: Callable[[State], Iterator[State]], faults: Callable[[State, State], set[str]]
) -> tuple[int, set[str]]:
    """All reachable states: how many, and which promises some step breaks."""
    seen, todo, broken = {start}, deque([start]), set[str]()
    while todo:
        state = todo.popleft()
        for new in following(state):
            broken |= faults(state, new)
            if new not in seen:
                seen.add(new)
                todo.append(new)
        assert len(seen) < STATES_MAX, "the search outgrew its bounds"
    return len(seen), broken


# --- the lease: three candidates, ticks of half a second ---------------------------------------------------


class LeaderRecord(NamedTuple):
    """A claim (``names`` an epoch) or a heartbeat (``names`` None) on the leader log."""

    tick: int
    epoch: int
    names: int | None = None
    seen: int = NO_OFFSET


class Candidate(NamedTuple):
    """``doing``: standby, claiming, read_back, leading, beating, acked, gone."""

    doing: str
    epoch: int = NO_EPOCH
    lease_tick: int = 0
    sent_tick: int = 0
    offset: int = NO_OFFSET
    names: int = NO_EPOCH
    seen: int = NO_OFFSET


class Lease(NamedTuple):
    """The whole model at one moment."""

    tick: int
    candidates: tuple[Candidate, ...]
    log: tuple[LeaderRecord, ...]


@cache
def folded(log: tuple[LeaderRecord, ...]) -> LeaderLog:
    """The controller's own reading of the log."""
    if not log:
        return LeaderLog()
    last = log[-1]
    event = Heartbeat("x", last.epoch) if last.names is None else Claimed("x", last.names, last.seen)
    return folded(log[:-1]).apply(len(log) - 1, last.tick * TICK_MS, event)


def may_publish(candidate: Candidate, tick: int) -> bool:
    """The lease check, as the leader makes it."""
    leads = candidate.doing in ("leading", "beating", "acked")
    return leads and (tick - candidate.lease_tick) * TICK_MS < LEASE_MS


def lease_steps(ticks: int) -> Callable[[Lease], Iterator[Lease]]:
    def following(state: Lease) -> Iterator[Lease]:
        tick, candidates, log = state
        if tick < ticks:
            yield Lease(tick + 1, candidates, log)
        for place, one in enumerate(candidates):
            for changed, appended in candidate_steps(one, tick, log):
                yield Lease(tick, (*candidates[:place], changed, *candidates[place + 1 :]), log + appended)

    return following


def candidate_steps(
    one: Candidate, tick: int, log: tuple[LeaderRecord, ...]
) -> Iterator[tuple[Candidate, tuple[LeaderRecord, ...]]]:
    """What one candidate may do next, and what that appends. Doing nothing is a pause of any length."""
    gone = Candidate("gone")
    now = folded(log)
    match one.doing:
        case "standby" if tick * TICK_MS - now.heartbeat_append_ms >= SILENCE_MS:
            yield Candidate("claiming", sent_tick=tick, names=now.epoch, seen=now.heartbeat_offset), ()
        case "claiming":
            record = LeaderRecord(tick, NO_EPOCH, one.names, one.seen)
            yield Candidate("read_back", len(log), one.sent_tick), (record,)
        case "read_back":
            own = folded(log[: one.epoch + 1]).epoch == one.epoch
            yield (one._replace(doing="leading") if own else gone), ()
        case "leading" if LeaderRecord(tick, one.epoch) not in log:
            yield one._replace(doing="beating", sent_tick=tick), ()
        case "beating":
            yield one._replace(doing="acked", offset=len(log)), (LeaderRecord(tick, one.epoch),)
        case "acked":
            confirmed = folded(log[: one.offset + 1]).epoch == one.epoch
            yield (one._replace(doing="leading", lease_tick=one.sent_tick) if confirmed else gone), ()
        case _:
            pass


def lease_faults(_: Lease, new: Lease) -> set[str]:
    leaders = [one for one in new.candidates if may_publish(one, new.tick)]
    broken = set()
    if len(leaders) > 1:
        broken.add("two may publish at one instant")
    if any(one.epoch < folded(new.log).epoch for one in leaders):
        broken.add("a deposed leader may publish")
    return broken


@pytest.mark.parametrize(("standbys", "ticks"), [(1, 9), (2, 6)])
def test_never_two_leaders(standbys: int, ticks: int) -> None:
    """However candidates are paused, at no instant may two of them publish, nor a deposed one."""
    leader = Candidate("leading", epoch=0)
    candidates = (leader, *(Candidate("standby") for _ in range(standbys)))
    start = Lease(0, candidates, (LeaderRecord(0, NO_EPOCH, NO_EPOCH),))
    states, broken = search(start, lease_steps(ticks), lease_faults)
    assert broken == set()
    assert states > 10_000


# --- the routes log: fences, late appends, Redis, a client --------------------------------------------------

Content = tuple[tuple[int, int], ...]  # the decisions that led to a table, oldest first


class RoutesItem(NamedTuple):
    """A record of the routes log; ``content`` None is a fence."""

    epoch: int
    seq: int
    content: Content | None


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


@cache
def epoch_in_force(leaders: tuple[int, ...]) -> int:
    """The controller's own reading, each claim after enough silence."""
    log = LeaderLog().apply(0, 0, Claimed("x", NO_EPOCH, NO_OFFSET))
    for offset, names in enumerate(leaders[1:], 1):
        log = log.apply(offset, offset * SILENCE_MS, Claimed("x", names, names))
    return log.epoch


@cache
def read(routes: tuple[RoutesItem | None, ...]) -> RoutesLog:
    """The controller's own reading."""
    log = RoutesLog()
    for offset, item in enumerate(routes):
        if item is not None:
            key = fence_key(item.epoch) if item.content is None else table_key(item.epoch)
            log = log.apply(offset, 0, key, item.seq, str(offset).encode())
    return log


def newest(routes: tuple[RoutesItem | None, ...]) -> RoutesItem:
    """By the counting rule."""
    found = read(routes).newest
    item = routes[found.offset] if found else None
    assert item is not None
    return item


def plainly_highest(routes: tuple[RoutesItem | None, ...]) -> RoutesItem:
    """A wrong reading: the highest generation wherever it lies."""
    return max((item for item in routes if item and item.content is not None), key=lambda item: item[:2])


def above(item: RoutesItem, held: RoutesItem | None) -> bool:
    return held is None or item[:2] > held[:2]


Newest = Callable[[tuple[RoutesItem | None, ...]], RoutesItem]


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
            yield world._replace(redis=newest_of(world.routes))
        if world.may_compact and not any(map(taking_office, world.controllers)):
            yield world._replace(routes=compacted(world.routes), may_compact=False)

    return following


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
    deposed = read(routes[: one.offset + 1]).epoch > one.epoch
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
                    doing="sending", seq=1, content=newest_of(routes[: one.offset + 1]).content or ()
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
        rebuilt = newest_of(new.routes)
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


def test_search_finds_what_the_counting_rule_prevents() -> None:
    """Read by plain highest generation instead, the same search finds a lost decision or a step back."""
    _, broken = search(beginning(2), world_steps(plainly_highest, 1), world_faults(plainly_highest))
    assert broken
