"""Clients' reports of one partition of the demand topic, summed per second into one row. Pure.

What makes the sums idempotent: the row carries the offset up to which it is summed, and is stored by the same
compare-and-set as any other. A new owner of the partition starts from the stored row and ignores what lies at
or before its offset, so no record is ever summed twice.

Two counts are not sums: how many clients reported, and how many of them failed. They come from per-client
counts in this process's memory, which a new owner does not have: it takes the stored second as its base. A
client that reported before and after the change within the same second then counts as two reporters, and as
two failing ones if both its reports failed (and as a failing one if its later report alone did). Sums of
requests and load stay exact.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from streams.client_load import window_s
from streams.clients import Clients
from streams.credit import Standing
from streams.fold import Refusal, evidence_ms
from streams.material import load_moved, tells_failure, tells_little_left
from streams.rows import DemandRow, Doubt, Ejection, Position
from streams.sums import SecondTally, is_stuck, scaled
from tieline.events import Demand, Flow, Outcomes, PoolObservation, stale_after_ms
from tieline.registration import Registry

SECONDS_MAX = 20
EJECTIONS_MAX = 5_000
DOUBTS_MAX = 8
DOUBT_MS = 60_000
OWN_NETWORK_MIN = 2  # providers


def answers(outcomes: Outcomes) -> bool:
    """Whether anything came back that shows a working way to the pool: a success, a limit, a refusal."""
    return bool(outcomes.ok or outcomes.throttled or outcomes.client_error)


def is_of_its_own(observations: Iterable[PoolObservation], *, was: bool) -> bool:
    """Whether a client's report shows that its own network fails, not the pools. ``was``: its last one did.

    A client for which nothing gets through on several providers, and on none anything does, says more about
    itself than about the pools. Once that is so it stays so until something gets through: a client that has
    left every pool sends nothing more that could fail. The controller holds probers to the same rule
    (controller/core/evidence/gather.py).
    """
    failing: set[str] = set()
    for observation in observations:
        outcomes = observation.outcomes
        if answers(outcomes):
            return False
        if outcomes.health_failures or outcomes.configuration_faults or is_stuck(observation):
            failing.add(observation.pool.split("/", 1)[0])
    return was or len(failing) >= OWN_NETWORK_MIN


def second_of(event: Demand, append_ms: int) -> int:
    """The start of the second in which a report counts: the one in which its window ends, by its own clock.

    So a second has one report of each client, however late they arrive; sums by arrival would have two of
    some clients and none of others. A clock that is ahead can't make a report younger than its arrival.
    """
    return min(append_ms, event.window_end_ms) // 1000 * 1000


class DemandFold:
    """The sums of one partition, as its owner keeps them between records."""

    def __init__(self, row: DemandRow | None = None) -> None:
        self.position = row.position if row else None
        self._seconds = {s.second_ms: SecondTally(s.second_ms, s) for s in row.seconds} if row else {}
        self._ejections = {(e.client, e.pool): e for e in row.ejections} if row else {}
        whole = row.seconds[-2:-1] or row.seconds if row else ()
        self._clients = Clients(
            whole[0] if whole else None, dict(row.generations) if row else {}, row.silent if row else 0
        )
        self._doubts = {doubt.client: doubt for doubt in row.doubts} if row else {}
        self._offered_at_wake = 0.0
        self._newest_ms = max(self._seconds, default=0)

    def add(self, event: Demand, position: Position, append_ms: int, registry: Registry) -> bool | Refusal:
        """Sums one report that the judge has accepted. Returns whether it is material, or why it is refused.

        What a report says of pools and flows that the policy does not name (its client may use a table older
        than the policy) is left out. Of a client whose own network fails everything but its load is left out.
        How far the rest counts is said in clients.py.
        """
        if self.position and self.position.shares_log(position) and position.offset <= self.position.offset:
            return Refusal.REPEATED
        before = self._clients.get(event.client)
        same_process = before is not None and before.incarnation == event.incarnation
        if before is not None and same_process and event.sequence <= before.sequence:
            return Refusal.OLDER
        self.position = position
        at_ms = evidence_ms(event, append_ms)
        claims = [flow for flow in event.flows if registry.names(flow.workload, flow.origin)]
        standing = self._clients.standing(event, claims, at_ms, registry.limit_units_per_s)
        of_its_own = is_of_its_own(event.pools, was=before is not None and before.of_its_own)
        is_left_out = of_its_own or standing.lies
        observations = _weighed(event, registry, 0.0 if is_left_out else standing.weight)
        most = 0.0 if standing.lies else standing.flow_units_max
        flows = [(flow, max(flow.offered_units - most, 0.0)) for flow in claims]
        second_ms = second_of(event, append_ms)
        begins_second = second_ms > self._newest_ms
        if second_ms > self._newest_ms - SECONDS_MAX * 1000:
            self._second(second_ms, event.client).add(
                event.client, flows, observations, excluded=is_left_out, newcomer=standing.newcomer
            )
        for late in self._clients.late_load(event, second_ms):
            if (tally := self._seconds.get(late.second_ms)) is not None:
                tally.take_back_unheard(late.key, late.units, late.requests)
        vouched = () if standing.newcomer else observations
        ejections_moved = self._note_ejections(event, vouched, at_ms)
        if is_left_out or event.state == "off":
            ejections_moved |= self._forget_ejections(event.client)
        self._note_doubt(event, flows, standing, at_ms)
        after = self._clients.remember(
            event,
            standing,
            [replace(flow, offered_units=flow.offered_units - doubtful) for flow, doubtful in flows],
            at_ms,
            failing=frozenset(row.pool for row in observations if tells_failure(row.outcomes)),
            near_limit=frozenset(row.pool for row in observations if tells_little_left(row)),
            of_its_own=of_its_own,
        )
        return (
            event.urgent
            or before is None
            or ejections_moved
            or bool(before.failing | after.failing)
            or before.near_limit != after.near_limit
            or (begins_second and self._load_moved(second_ms))
        )

    def row(self) -> DemandRow:
        """The row to store. Raises ``ValueError`` if nothing was summed and no stored row was given."""
        if self.position is None:
            raise ValueError("nothing was summed yet")
        return DemandRow(
            position=self.position,
            seconds=tuple(self._seconds[second_ms].sum() for second_ms in sorted(self._seconds)),
            ejections=tuple(ejection for _, ejection in sorted(self._ejections.items())),
            generations=self._clients.generations,
            doubts=tuple(doubt for _, doubt in sorted(self._doubts.items())),
            silent=self._clients.silent,
        )

    def _second(self, second_ms: int, reporting: str) -> SecondTally:
        if second_ms > self._newest_ms:
            self._newest_ms = second_ms
            oldest_ms = second_ms - SECONDS_MAX * 1000
            for old in [s for s in self._seconds if s <= oldest_ms]:
                del self._seconds[old]
            self._forget_silent(second_ms)
            self._tally(second_ms)
            for load in self._clients.unheard(sorted(self._seconds), reporting):
                self._seconds[load.second_ms].add_unheard(load.key, load.units, load.requests)
        return self._tally(second_ms)

    def _tally(self, second_ms: int) -> SecondTally:
        tally = self._seconds.get(second_ms)
        if tally is None:
            tally = self._seconds[second_ms] = SecondTally(second_ms)
        return tally

    def _load_moved(self, second_ms: int) -> bool:
        """Whether the load moved since readers were last woken for it. Compared between whole seconds, when
        one is over: within a second the sum only grows."""
        whole = [s for s in self._seconds if s < second_ms]
        if not whole:
            return False
        offered = self._seconds[max(whole)].offered_units()
        if not load_moved(self._offered_at_wake, offered):
            return False
        self._offered_at_wake = offered
        return True

    def _note_ejections(self, event: Demand, observations: Iterable[PoolObservation], at_ms: int) -> bool:
        """Updates the ejections; returns whether any began, ended or changed its class.

        A pool that a report doesn't mention keeps its ejection until that expires.
        """
        moved = False
        until_ms = at_ms + stale_after_ms(event.interval_ms)
        for observation in observations:
            key = (event.client, observation.pool)
            before = self._ejections.get(key)
            if observation.ejected is None:
                moved |= self._ejections.pop(key, None) is not None
                continue
            goes_on = before is not None and before.result == observation.ejected
            if before is None and len(self._ejections) >= EJECTIONS_MAX:
                continue
            self._ejections[key] = Ejection(
                client=event.client,
                pool=observation.pool,
                result=observation.ejected,
                since_ms=before.since_ms if before is not None and goes_on else at_ms,
                until_ms=until_ms,
            )
            moved |= not goes_on
        return moved

    def _forget_ejections(self, client: str) -> bool:
        mine = [key for key in self._ejections if key[0] == client]
        for key in mine:
            del self._ejections[key]
        return bool(mine)

    def _forget_silent(self, now_ms: int) -> None:
        for key in [key for key, ejection in self._ejections.items() if ejection.until_ms < now_ms]:
            del self._ejections[key]

    def _note_doubt(
        self, event: Demand, flows: list[tuple[Flow, float]], standing: Standing, at_ms: int
    ) -> None:
        """Names a client that is not credible; a doubt is dropped a minute after its last sign."""
        for client in [name for name, doubt in self._doubts.items() if at_ms - doubt.at_ms > DOUBT_MS]:
            del self._doubts[client]
        units = sum(doubtful for _, doubtful in flows) / window_s(event)
        strange = len(event.flows) - len(flows)
        if units or strange or standing.lies:
            doubt = Doubt(event.client, units, strange, lies=standing.lies, at_ms=at_ms)
            self._doubts[event.client] = doubt
            while len(self._doubts) > DOUBTS_MAX:
                del self._doubts[min(self._doubts.values(), key=_weight_of_doubt).client]


def _weight_of_doubt(doubt: Doubt) -> tuple[bool, float, int, str]:
    return doubt.lies, doubt.units_per_s, doubt.strange, doubt.client


def _weighed(event: Demand, registry: Registry, weight: float) -> list[PoolObservation]:
    """The report's observations of the policy's pools, with attempts as far as they count; none at 0."""
    rows = [row for row in event.pools if row.pool in registry.pools] if weight else []
    return rows if weight == 1.0 else [replace(row, outcomes=scaled(row.outcomes, weight)) for row in rows]
