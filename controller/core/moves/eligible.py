"""State, capacity and orders -> what each pool may be used for: the limits that a draft keeps within.

A healthy pool gains load, a degraded one gains what no healthy pool takes, an unknown one only critical load
that would be shed otherwise. A pool that succeeds at a share s counts as s of its capacity. Headroom and the
step of a pool's ramp apply to its limit.
"""

from collections.abc import Mapping
from itertools import compress
from operator import is_not
from types import MappingProxyType
from typing import NamedTuple

from controller.core.capacity.usable import Caps
from controller.core.evidence.finding import SILENT, Finding
from controller.core.evidence.health import ramp_share
from controller.core.model.memo import Memo, changed_keys
from controller.core.model.memory import PoolMemory
from controller.core.model.reasons import CONFIGURATION_REASONS, State
from controller.core.moves.draft import GAINS, GAINS_LAST, GAINS_LATE, KEEPS, OUT, DraftLimits
from controller.core.orders.claims import Claims
from controller.core.policy.compiled import CompiledPolicy


class Use(NamedTuple):
    """What every pool may be used for, by index. Readers must not change it.

    ``keeps``: units/s that a pool may go on carrying when no lawful alternative has room, its headroom
    included. The ramp of a pool that recovers does not bound what stayed there. ``lost``: pools that are
    down or evacuated, with the share of attempts that still succeeds.
    ``refusing``: those of them that let nobody in because of a fault of configuration. ``panic``: too many
    providers are lost, so pools that still succeed stay in. ``ahead``: pools that will carry no more than
    these units/s soon; moves by choice make room for that. ``preferred``: the pool to which an operator moves
    a route, by route index.
    """

    limits: DraftLimits
    keeps: list[float]
    lost: dict[int, float]
    panic: bool
    ahead: Mapping[int, float] = MappingProxyType({})
    refusing: frozenset[int] = frozenset()
    preferred: Mapping[int, int] = MappingProxyType({})

    def looking_ahead(self) -> "Use":
        """With what is planned as if it held now; the same object if nothing is planned."""
        if not self.ahead:
            return self
        usable, committed = list(self.limits.usable), list(self.limits.committed)
        for index, most in self.ahead.items():
            usable[index], committed[index] = min(usable[index], most), min(committed[index], most)
        return self._replace(limits=self.limits._replace(usable=usable, committed=committed))


class _UseBasis(NamedTuple):
    """What an answer rests on. Memories, findings and limits of pools are compared pool by pool."""

    compiled: CompiledPolicy
    caps: Caps
    panic: bool
    claims: Claims
    memories: dict[str, PoolMemory]
    findings: dict[str, Finding]

    def is_same_but_for_pools(self, other: "_UseBasis") -> bool:
        return (
            self.compiled is other.compiled
            and self.caps.groups == other.caps.groups
            and self.caps.planned == other.caps.planned
            and self.panic == other.panic
            and self.claims.withdrawn == other.claims.withdrawn
            and self.claims.maintenance_soon == other.claims.maintenance_soon
            and self.claims.leaving == other.claims.leaving
        )

    def changed_pools(self, now: "_UseBasis") -> set[int]:
        """The pools of which something else is known now, by index."""
        index_of = now.compiled.pool_index
        news = changed_keys(self.memories, now.memories) | changed_keys(self.findings, now.findings)
        changed = {index_of[name] for name in news if name in index_of}
        if self.caps.pools is not now.caps.pools:
            differs = map(is_not, self.caps.pools, now.caps.pools)
            changed.update(compress(range(len(now.caps.pools)), differs))
        return changed


class _LastUse(NamedTuple):
    """The last answer, and what it rests on."""

    basis: _UseBasis
    use: Use


def eligible(
    compiled: CompiledPolicy,
    memories: dict[str, PoolMemory],
    findings: dict[str, Finding],
    caps: Caps,
    claims: Claims,
    memo: Memo,
    *,
    panic_allowed: bool = True,
) -> Use:
    """What every pool may be used for now if its provider were in mode act.

    ``memories`` and ``findings`` are by pool name. Pools of which nothing is new stay as they were.
    """
    panic = panic_allowed and too_many_lost(compiled, memories)
    basis = _UseBasis(compiled, caps, panic, claims=claims, memories=memories, findings=findings)
    last = memo.last(_LastUse)
    if last is not None and last.basis.is_same_but_for_pools(basis):
        changed = sorted(last.basis.changed_pools(basis))
        if not changed:
            return last.use
        use = _copied(last.use)
    else:
        changed = list(range(len(compiled.pools)))
        use = _blank(compiled, caps, claims, panic=panic)
    for index in changed:
        _judge_pool(use, basis, index)
    use = use._replace(refusing=_refusing(use, basis))
    memo.keep(_LastUse(basis, use))
    return use


def too_many_lost(compiled: CompiledPolicy, memories: dict[str, PoolMemory]) -> bool:
    """Whether all pools are down in so many providers that those pools stay in that still succeed."""
    lost = sum(
        1
        for pools in compiled.pools_of
        if pools and all(memories[compiled.pools[index]].state is State.DOWN for index in pools)
    )
    return lost > compiled.policy.thresholds.providers_lost_share * len(compiled.providers)


def _copied(use: Use) -> Use:
    limits = use.limits
    copied = DraftLimits(
        list(limits.usable), list(limits.committed), list(limits.grade), group_usable=limits.group_usable
    )
    return use._replace(limits=copied, keeps=list(use.keeps), lost=dict(use.lost))


def _blank(compiled: CompiledPolicy, caps: Caps, claims: Claims, *, panic: bool) -> Use:
    count = len(compiled.pools)
    groups = [limit * compiled.policy.headroom for limit in caps.groups]
    limits = DraftLimits([0.0] * count, [0.0] * count, [OUT] * count, group_usable=groups)
    return Use(limits, [0.0] * count, {}, panic=panic, ahead=_ahead(compiled, caps, claims))


def _ahead(compiled: CompiledPolicy, caps: Caps, claims: Claims) -> dict[int, float]:
    ahead = {index: limit * compiled.policy.headroom for index, limit in caps.planned.items()}
    ahead.update(dict.fromkeys(claims.maintenance_soon, 0.0))
    return {index: most for index, most in sorted(ahead.items()) if index not in claims.withdrawn}


def _refusing(use: Use, basis: _UseBasis) -> frozenset[int]:
    """The lost pools that let nobody in because of a fault of configuration."""
    names, memories = basis.compiled.pools, basis.memories
    return frozenset(
        index
        for index, success in use.lost.items()
        if success <= 0 and memories[names[index]].reason in CONFIGURATION_REASONS
    )


def _judge_pool(use: Use, basis: _UseBasis, index: int) -> None:
    """One pool's limits, grade and what it may keep, into ``use``."""
    compiled, name = basis.compiled, basis.compiled.pools[index]
    policy, cap, memory = compiled.policy, basis.caps.pools[index], basis.memories[name]
    state = memory.state
    ramp = ramp_share(memory, policy.thresholds) if state is State.RECOVERING else 1.0
    part = policy.headroom * ramp
    keeps, grade = max(cap.limit, cap.carried), _grade(state, cap.fresh)
    use.lost.pop(index, None)
    if state is State.DOWN:
        success = _success(state, basis.findings.get(name, SILENT))
        if index not in basis.claims.withdrawn:
            use.lost[index] = success
        grade = KEEPS if basis.panic and success > 0 else OUT
    elif state is State.DEGRADED:
        part *= _success(state, basis.findings.get(name, SILENT))
    usable = cap.limit * part
    if index in basis.claims.withdrawn:
        grade, keeps = OUT, 0.0
    elif index in basis.claims.leaving:
        grade = OUT
        use.lost.setdefault(index, _success(state, basis.findings.get(name, SILENT)))
    elif index in basis.claims.maintenance_soon and grade == GAINS:
        grade = GAINS_LATE  # what it gains it must give away again soon
    committed = cap.committed * part
    use.limits.usable[index] = usable
    use.limits.committed[index] = committed if committed < usable else usable
    use.limits.grade[index] = grade
    use.keeps[index] = keeps


def _grade(state: State, fresh: bool) -> int:
    if state is State.DOWN:
        return OUT
    if not fresh:
        return KEEPS
    if state is State.UNKNOWN:
        return GAINS_LAST
    return GAINS_LATE if state is State.DEGRADED else GAINS


def _success(state: State, finding: Finding) -> float:
    """The share of attempts that succeed; a pool that is down and silent is taken to fail everything."""
    if finding.success is None:
        return 0.0 if state is State.DOWN else 1.0
    return finding.success
