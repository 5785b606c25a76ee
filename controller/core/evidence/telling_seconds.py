"""Which seconds of clients' reports count for each pool, read again only for the pools of which one is new.

The newest seconds count, of all partitions together: at least ``window_min_ms`` of them, then as many as it
takes to have ``requests_min`` attempts, at most ``window_ms``. What lies before them changes nothing.

A row of demand holds some ten seconds of every pool, and usually only the newest of them is new since the
last decision. So a ``Reading`` keeps which seconds it has read, and compares them with those of now: second
by second, by identity where a second is the same object, else pool by pool. Only pools that differ in a
second that counts for them are read again. tests/unit/controller/core/evidence/test_telling_seconds.py holds
that to a reading from scratch.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, zip_longest
from operator import is_
from typing import NamedTuple, TypeAlias

from controller.core.evidence.served_at_limit import Window
from controller.core.policy.thresholds import Thresholds
from streams.rows import DemandSecond, PoolSum

NOT_ENOUGH_MS = -1  # before any second: all that there are say too little

PoolSeconds: TypeAlias = list[tuple[int, PoolSum]]
"""One pool's part of each partition's seconds with the start of the second, the newest first."""
Parts: TypeAlias = tuple[tuple[PoolSum, ...], ...]
"""What each partition has of one second."""


class Reading(NamedTuple):
    """What was read last. ``parts``: by the start of the second. ``enough_ms``: by pool the earliest second
    that counts for it, ``NOT_ENOUGH_MS`` if any earlier one would count as well."""

    parts: dict[int, Parts]
    enough_ms: dict[str, int]

    def renewed(
        self, parts: dict[int, Parts], thresholds: Thresholds
    ) -> tuple["Reading", dict[str, PoolSeconds]]:
        """The reading of ``parts``, the newest second first, and the seconds that count for each pool for
        which they may be others than before. A pool without any is in no second any more."""
        seconds: dict[str, PoolSeconds] = {pool: [] for pool in self._pools_to_read(parts)}
        enough_ms = {**self.enough_ms, **dict.fromkeys(seconds, NOT_ENOUGH_MS)}
        unread = dict(seconds)
        for second_ms, of_partitions in parts.items():
            if not unread:
                break
            for pool in _read_second(second_ms, of_partitions, unread, thresholds):
                enough_ms[pool] = second_ms
                unread.pop(pool, None)
        for pool in [pool for pool, own in seconds.items() if not own]:
            del enough_ms[pool]
        return Reading(parts, enough_ms), seconds

    def _pools_to_read(self, now: Mapping[int, Parts]) -> set[str]:
        """The pools of which a second that counts is new, or has gone."""
        pools: set[str] = set()
        needed_ms = min(self.enough_ms.values(), default=NOT_ENOUGH_MS)
        for second_ms in self.parts.keys() | now.keys():
            before, after = self.parts.get(second_ms, ()), now.get(second_ms, ())
            if len(before) == len(after) and all(map(is_, before, after)):
                continue
            if second_ms < needed_ms:  # it counted for no pool, so only a pool that had no second may need it
                names = {pool_sum.pool for pool_sum in chain.from_iterable(after)}
                pools.update(names - self.enough_ms.keys())
            else:
                differing = _differing_pools(before, after)
                pools.update(name for name in differing if self._counts(name, second_ms))
        return pools

    def _counts(self, pool: str, second_ms: int) -> bool:
        return self.enough_ms.get(pool, NOT_ENOUGH_MS) <= second_ms


NOTHING_READ = Reading({}, {})


def is_established(second: DemandSecond) -> bool:
    """Whether a client is heard in it whose word counts, and that is no newcomer."""
    return second.clients > second.new_clients + second.excluded


def parts_by_second(windows: tuple[Window, ...]) -> dict[int, Parts]:
    """The parts of all seconds in the windows, the newest second first.

    What newcomers saw counts only where no other client is heard.
    """
    seconds = [second for row, from_ms in windows for second in row.seconds if second.second_ms >= from_ms]
    alone = not any(map(is_established, seconds))
    by_second: dict[int, list[tuple[PoolSum, ...]]] = {}
    for second in seconds:
        pools = second.pools + second.newcomers if alone else second.pools
        by_second.setdefault(second.second_ms, []).append(pools)
    return {second_ms: tuple(by_second[second_ms]) for second_ms in sorted(by_second, reverse=True)}


def _differing_pools(before: Parts, now: Parts) -> Iterator[str]:
    """The pools of which a partition's part is another one, is new or has gone; some may be named twice."""
    for old_part, new_part in zip_longest(before, now, fillvalue=()):
        if old_part is new_part:
            continue
        if len(old_part) == len(new_part):
            pairs = zip(old_part, new_part, strict=True)
            for old, new in [pair for pair in pairs if pair[0] != pair[1]]:
                yield old.pool
                yield new.pool
        else:
            rest = {pool_sum.pool: pool_sum for pool_sum in old_part}
            yield from [new.pool for new in new_part if rest.pop(new.pool, None) != new]
            yield from rest


def _read_second(
    second_ms: int, parts: Parts, unread: Mapping[str, PoolSeconds], thresholds: Thresholds
) -> Iterable[str]:
    """Adds one second to what is ``unread`` yet. Returns the pools of which enough is read now."""
    grown: list[PoolSeconds] = []
    for part in parts:
        for pool_sum in [pool_sum for pool_sum in part if pool_sum.pool in unread]:
            own = unread[pool_sum.pool]
            own.append((second_ms, pool_sum))
            grown.append(own)
    enough = []
    for seconds in grown:
        newest_ms, newest = seconds[0]
        if newest_ms - second_ms + 1000 >= thresholds.window_min_ms and (
            newest.outcomes.ok >= thresholds.requests_min
            or _health_attempts(seconds) >= thresholds.requests_min
        ):
            enough.append(newest.pool)
    return enough


def _health_attempts(seconds: PoolSeconds) -> int:
    """``Outcomes.health_attempts`` of all seconds, written out because the property takes twice as long."""
    count = 0
    for _, pool_sum in seconds:
        out = pool_sum.outcomes
        count += out.ok + out.server_error + out.timeout + out.connect + out.cut
    return count
