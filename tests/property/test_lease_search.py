"""An exhaustive search of the lease: three candidates, ticks of half a second, on the controller's own fold.

Every interleaving of pauses, crashes, late appends and forged records within small bounds. Content does not
matter here; test_leading_search.py has the routes log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import pytest

from controller.leading.claim_rule import LEASE_MS, NO_OFFSET, SILENCE_MS, LeaderLog
from controller.routes.counting_rule import NO_EPOCH
from tests.property.searching import search
from tieline.events import Event
from tieline.leader_events import Claimed, Heartbeat, Resigned

TICK_MS = 500


class LeaderRecord(NamedTuple):
    """A claim (``names`` an epoch) or a heartbeat (``names`` None) on the leader log, or what a forger wrote:
    ``forged`` is its kind."""

    tick: int
    epoch: int
    names: int | None = None
    seen: int = NO_OFFSET
    forged: str = ""

    @property
    def event(self) -> Event:
        """The record as readers decode it. The forger doesn't know who leads."""
        match self.forged:
            case "heartbeat":
                return Heartbeat("forger", self.epoch)
            case "resignation":
                return Resigned("forger", self.epoch)
            case "claim":
                return Claimed("forger", self.epoch, self.seen)
            case _ if self.names is None:
                return Heartbeat("x", self.epoch)
            case _:
                return Claimed("x", self.names, self.seen)


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
    return folded(log[:-1]).apply(len(log) - 1, log[-1].tick * TICK_MS, log[-1].event)


def may_publish(candidate: Candidate, tick: int) -> bool:
    """The lease check, as the leader makes it."""
    leads = candidate.doing in ("leading", "beating", "acked")
    return leads and (tick - candidate.lease_tick) * TICK_MS < LEASE_MS


def lease_steps(ticks: int, forgeries: int = 0) -> Callable[[Lease], Iterator[Lease]]:
    """``forgeries``: how many records a forger writes."""

    def following(state: Lease) -> Iterator[Lease]:
        tick, candidates, log = state
        if tick < ticks:
            yield Lease(tick + 1, candidates, log)
        if sum(bool(record.forged) for record in log) < forgeries:
            yield from (Lease(tick, candidates, (*log, record)) for record in forged_records(tick, log))
        for place, one in enumerate(candidates):
            for changed, appended in candidate_steps(one, tick, log):
                yield Lease(tick, (*candidates[:place], changed, *candidates[place + 1 :]), log + appended)

    return following


def forged_records(tick: int, log: tuple[LeaderRecord, ...]) -> Iterator[LeaderRecord]:
    """For whoever leads, for an epoch that is none, and for the future."""
    in_force = folded(log).epoch
    for epoch in (in_force, len(log) - 1, len(log) + 1, 2**53):
        yield LeaderRecord(tick, epoch, forged="heartbeat")
        yield LeaderRecord(tick, epoch, forged="claim", seen=epoch)
    yield LeaderRecord(tick, in_force, forged="resignation")


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


def test_forged_records_give_nobody_the_lead_twice() -> None:
    """Heartbeats, resignations and claims that a forger writes never let two publish, nor a deposed one."""
    candidates = (Candidate("leading", epoch=0), Candidate("standby"))
    start = Lease(0, candidates, (LeaderRecord(0, NO_EPOCH, NO_EPOCH),))
    states, broken = search(start, lease_steps(6, forgeries=1), lease_faults)
    assert broken == set()
    assert states > 10_000


def test_forged_heartbeat_keeps_no_dead_leader_alive() -> None:
    """Whatever a forger writes twice a second for a leader that has died, a claim on it becomes valid."""
    log = folded((LeaderRecord(0, NO_EPOCH, NO_EPOCH),))
    for offset in range(1, 20):
        log = log.apply(offset, offset * TICK_MS, LeaderRecord(offset, 0, forged="heartbeat").event)
    assert log.accepts(Claimed("next", 0, log.heartbeat_offset), 20 * TICK_MS)
