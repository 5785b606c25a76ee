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

from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from streams.fold import Refused, evidence_ms
from streams.material import load_moved, tells_failure
from streams.reporters import is_of_its_own
from streams.rows import DemandRow, Ejection, Position
from streams.sums import SecondTally
from tieline.events import Demand, PoolObservation, stale_after_ms

SECONDS_KEPT = 20
CLIENTS_MAX = 50_000
EJECTIONS_MAX = 5_000


class _Client(NamedTuple):
    """What is remembered of a client's last report."""

    incarnation: str
    sequence: int
    generation: str
    heard_until_ms: int
    failing: frozenset[str]
    of_its_own: bool


class DemandFold:
    """The sums of one partition, as its owner keeps them between records."""

    def __init__(self, row: DemandRow | None = None) -> None:
        self.position = row.position if row else None
        self._seconds = {s.second_ms: SecondTally(s.second_ms, s) for s in row.seconds} if row else {}
        self._ejections = {(e.client, e.pool): e for e in row.ejections} if row else {}
        self._clients: OrderedDict[str, _Client] = OrderedDict()
        self._generations: Counter[str] = Counter()
        self._base_generations = dict(row.generations) if row else {}
        self._offered_at_wake = 0.0
        self._newest_ms = max(self._seconds, default=0)

    def add(
        self, event: Demand, position: Position, append_ms: int, known_pools: frozenset[str]
    ) -> bool | Refused:
        """Sums one report that the judge has taken; answers whether it is material.

        Pools that the policy doesn't know (a client may hold a table older than the policy) are left out, and
        of a client to whom nothing gets through on any provider everything but its load.
        """
        held = self.position
        if held is not None and held.topic_id == position.topic_id and position.offset <= held.offset:
            return Refused.REPEATED
        before = self._clients.get(event.client)
        if (
            before is not None
            and before.incarnation == event.incarnation
            and event.sequence <= before.sequence
        ):
            return Refused.OLDER
        self.position = position
        at_ms = evidence_ms(event, append_ms)
        of_its_own = is_of_its_own(event.pools, was=before is not None and before.of_its_own)
        observations = [seen for seen in event.pools if seen.pool in known_pools and not of_its_own]
        second_ms = at_ms // 1000 * 1000
        rolled = second_ms > self._newest_ms
        if second_ms > self._newest_ms - SECONDS_KEPT * 1000:
            self._second(second_ms).add(event, observations, excluded=of_its_own)
        ejections_moved = self._note_ejections(event, observations, at_ms)
        if of_its_own:
            ejections_moved |= self._forget_ejections(event.client)
        after = self._remember(event, observations, at_ms, of_its_own)
        return (
            event.urgent
            or before is None
            or ejections_moved
            or bool(before.failing | after.failing)
            or (rolled and self._load_moved(second_ms))
        )

    def row(self) -> DemandRow:
        """The row to store. Only after a first ``add`` or from a stored row."""
        if self.position is None:
            raise ValueError("nothing was summed yet")
        return DemandRow(
            self.position,
            tuple(self._seconds[second_ms].sum() for second_ms in sorted(self._seconds)),
            tuple(ejection for _, ejection in sorted(self._ejections.items())),
            dict(sorted(self._generations.items())) if self._generations else self._base_generations,
        )

    def _second(self, second_ms: int) -> SecondTally:
        if second_ms > self._newest_ms:
            self._newest_ms = second_ms
            oldest_ms = second_ms - SECONDS_KEPT * 1000
            for old in [s for s in self._seconds if s <= oldest_ms]:
                del self._seconds[old]
            self._forget_silent(second_ms)
        tally = self._seconds.get(second_ms)
        if tally is None:
            tally = self._seconds[second_ms] = SecondTally(second_ms)
        return tally

    def _load_moved(self, second_ms: int) -> bool:
        """Compared once a second, between whole seconds: within one the sum only grows."""
        whole = [s for s in self._seconds if s < second_ms]
        if not whole:
            return False
        offered = self._seconds[max(whole)].offered_units()
        if not load_moved(self._offered_at_wake, offered):
            return False
        self._offered_at_wake = offered
        return True

    def _note_ejections(self, event: Demand, observations: Iterable[PoolObservation], at_ms: int) -> bool:
        """Ejections in force. A pool that a report doesn't mention keeps what was said until it runs out."""
        moved = False
        until_ms = at_ms + stale_after_ms(event.interval_ms)
        for seen in observations:
            key = (event.client, seen.pool)
            held = self._ejections.get(key)
            if seen.ejected is None:
                moved |= self._ejections.pop(key, None) is not None
            elif held is not None and held.result == seen.ejected:
                self._ejections[key] = Ejection(*key, seen.ejected, held.since_ms, until_ms)
            elif held is not None or len(self._ejections) < EJECTIONS_MAX:
                self._ejections[key] = Ejection(*key, seen.ejected, at_ms, until_ms)
                moved = True
        return moved

    def _forget_ejections(self, client: str) -> bool:
        mine = [key for key in self._ejections if key[0] == client]
        for key in mine:
            del self._ejections[key]
        return bool(mine)

    def _remember(
        self, event: Demand, observations: Iterable[PoolObservation], at_ms: int, of_its_own: bool
    ) -> _Client:
        failing = frozenset(seen.pool for seen in observations if tells_failure(seen.outcomes))
        heard_until_ms = at_ms + stale_after_ms(event.interval_ms)
        client = _Client(
            event.incarnation, event.sequence, event.generation, heard_until_ms, failing, of_its_own
        )
        if (before := self._clients.pop(event.client, None)) is not None:
            self._drop_generation(before.generation)
        self._clients[event.client] = client
        self._generations[client.generation] += 1
        while len(self._clients) > CLIENTS_MAX:
            _, oldest = self._clients.popitem(last=False)
            self._drop_generation(oldest.generation)
        return client

    def _forget_silent(self, now_ms: int) -> None:
        for name in [name for name, held in self._clients.items() if held.heard_until_ms < now_ms]:
            self._drop_generation(self._clients.pop(name).generation)
        for key in [key for key, held in self._ejections.items() if held.until_ms < now_ms]:
            del self._ejections[key]

    def _drop_generation(self, generation: str) -> None:
        self._generations[generation] -= 1
        if self._generations[generation] <= 0:
            del self._generations[generation]
