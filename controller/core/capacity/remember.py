"""What is to be remembered of each pool from what was met and stated, whatever its health."""

from typing import NamedTuple

from controller.core.capacity.stated import Stated
from controller.core.capacity.usable import (
    is_news,
    limited_by_requests,
    note_lump,
    note_requests,
    note_throttling,
)
from controller.core.evidence.baseline import remember_usual
from controller.core.evidence.gather import Evidence
from controller.core.model.memo import Memo, changed_keys
from controller.core.model.memory import PoolMemory
from controller.core.policy.compiled import CompiledPolicy
from controller.core.policy.thresholds import Thresholds

NEW = PoolMemory()


class _Remembered(NamedTuple):
    """What the last answer was the answer to. ``restless``: pools to look at in every step, as time alone may
    change what is remembered of them, or something just did; all others stay as they are until ``until_ms``
    while the same is known of them."""

    compiled: CompiledPolicy
    said: Stated
    before: dict[str, PoolMemory]
    evidence: dict[str, Evidence]
    restless: frozenset[str]
    until_ms: int | None

    def again(
        self,
        compiled: CompiledPolicy,
        said: Stated,
        before: dict[str, PoolMemory],
        evidence: dict[str, Evidence],
        now_ms: int,
    ) -> set[str]:
        """The pools to look at."""
        over = self.until_ms is not None and self.until_ms <= now_ms
        if over or compiled.policy is not self.compiled.policy or said is not self.said:
            return set(compiled.pools)
        news = changed_keys(self.before, before) | changed_keys(self.evidence, evidence) | self.restless
        return {name for name in news if name in compiled.pool_index}


def remember(
    compiled: CompiledPolicy,
    before: dict[str, PoolMemory],
    evidence: dict[str, Evidence],
    said: Stated,
    now_ms: int,
    memo: Memo,
) -> dict[str, PoolMemory]:
    """Every pool's memory, with what throttling shows now, what is usual, what a request is where that limits
    the pool, and capacity that is new. The very same if nothing is new; pools of which nothing is known that
    was not known last time are not looked at."""
    kept = memo.last(_Remembered)
    again = kept.again(compiled, said, before, evidence, now_ms) if kept else set(compiled.pools)
    limits = compiled.policy.thresholds
    by_requests = memo.once(limited_by_requests, compiled, said)
    new: dict[str, PoolMemory] = {}
    restless: set[str] = set()
    for name in again:
        was = before.get(name, NEW)
        now = _noted(compiled, compiled.pool_index[name], was, evidence.get(name), said, by_requests, now_ms)
        if now is not was:
            new[name] = now
        if now is not was or now.throttled_ms or now.lump_since_ms or now.smaller_since_ms:
            restless.add(name)
    due_ms = _due_ms(before, limits, now_ms, memo)
    memo.keep(_Remembered(compiled, said, before, evidence, frozenset(restless), due_ms))
    if tuple(before) != compiled.pools:
        before = {name: before.get(name, NEW) for name in compiled.pools}
    return {**before, **new} if new else before


def _noted(
    compiled: CompiledPolicy,
    index: int,
    held: PoolMemory,
    seen: Evidence | None,
    said: Stated,
    by_requests: set[int],
    now_ms: int,
) -> PoolMemory:
    limits, clients = compiled.policy.thresholds, seen.clients if seen else None
    if held.throttled_ms or (clients and clients.throttled):
        held = note_throttling(held, clients, limits, now_ms)
    if not held.usual_p50_ms or now_ms - held.usual_ms >= limits.usual_period_ms:
        held = remember_usual(held, clients, limits, now_ms)
    if index in by_requests:
        held = note_requests(held, clients, limits)
    known = compiled.policy.pools[index].limit_units_per_s
    if (one := said.pools.get(index)) is not None and is_news(held, one, known):
        held = note_lump(held, one, known, limits, now_ms)
    return held


class _UsualDue(NamedTuple):
    """When the first pool's usual times may change again, by this memory and these thresholds."""

    before: dict[str, PoolMemory]
    limits: Thresholds
    due_ms: int | None


def _due_ms(before: dict[str, PoolMemory], limits: Thresholds, now_ms: int, memo: Memo) -> int | None:
    """When a pool's usual times may next change. Looked up anew once that is over."""
    kept = memo.last(_UsualDue)
    same = kept is not None and kept.before is before and kept.limits is limits
    if kept is not None and same and (kept.due_ms is None or now_ms < kept.due_ms):
        return kept.due_ms
    times = [pool.usual_ms + limits.usual_period_ms for pool in before.values() if pool.usual_p50_ms]
    due_ms = min((at for at in times if at > now_ms), default=None)
    memo.keep(_UsualDue(before, limits, due_ms))
    return due_ms
