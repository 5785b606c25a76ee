"""State, capacity and orders -> what each pool may be used for: the limits a draft keeps within.

Order of use: healthy, then degraded, then unknown up to what it carries; beyond that only for critical load
that would be shed otherwise. A pool that succeeds at a share counts as that share of its capacity.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from controller.core.capacity.usable import Caps
from controller.core.evidence.finding import SILENT, Finding
from controller.core.evidence.health import ramp_share
from controller.core.model.memo import Memo, changed_keys
from controller.core.model.memory import PoolMemory
from controller.core.model.reasons import CONFIGURATION_REASONS, State
from controller.core.moves.draft import GAINS, GAINS_LAST, GAINS_LATE, KEEPS, OUT, Limits
from controller.core.orders.claims import Claims
from controller.core.policy.compiled import CompiledPolicy


class Use(NamedTuple):
    """Limits of all pools, and what they may keep although they are ill.

    ``keeps``: units/s that a pool may go on carrying when no lawful alternative has room, its headroom
    included; ``lost`` maps each pool that is out for its health to the share of attempts it still succeeds
    at. ``panic``: beyond half of the providers are lost. ``ahead``: pools that will carry no more than these
    units/s soon, and from which moves by choice make room for that. Not to be changed by who reads it.
    """

    limits: Limits
    keeps: list[float]
    lost: dict[int, float]
    panic: bool
    ahead: Mapping[int, float] = MappingProxyType({})

    def looking_ahead(self) -> "Use":
        """With what is planned as if it held now; the very same if nothing is."""
        if not self.ahead:
            return self
        usable, committed = list(self.limits.usable), list(self.limits.committed)
        for index, most in self.ahead.items():
            usable[index], committed[index] = min(usable[index], most), min(committed[index], most)
        return self._replace(limits=self.limits._replace(usable=usable, committed=committed))


class _Basis(NamedTuple):
    """What an answer rests on; ``memory`` and ``findings`` are compared pool by pool."""

    compiled: CompiledPolicy
    caps: Caps
    panic: bool
    claims: Claims
    memory: dict[str, PoolMemory]
    findings: dict[str, Finding]

    def same_but_for_pools(self, other: "_Basis") -> bool:
        return (
            self.compiled is other.compiled
            and self.caps is other.caps
            and self.panic == other.panic
            and self.claims.withdrawn == other.claims.withdrawn
            and self.claims.maintenance_soon == other.claims.maintenance_soon
        )


class _KeptUse(NamedTuple):
    """The last answer, and what it rests on."""

    basis: _Basis
    use: Use


def eligible(
    compiled: CompiledPolicy,
    memory: dict[str, PoolMemory],
    findings: dict[str, Finding],
    caps: Caps,
    held: Claims,
    memo: Memo,
    *,
    panic_allowed: bool = True,
) -> Use:
    """What every pool may be used for now, were its provider in act. Pools of which nothing is new are as
    they were."""
    panic = panic_allowed and too_many_lost(compiled, memory)
    basis = _Basis(compiled, caps, panic, held, memory, findings)
    kept = memo.last(_KeptUse)
    if kept is not None and kept.basis.same_but_for_pools(basis):
        before, old = kept
        news = changed_keys(before.memory, memory) | changed_keys(before.findings, findings)
        again = [compiled.pool_index[name] for name in news if name in compiled.pool_index]
        if not again:
            return old
        limits = Limits(
            list(old.limits.usable),
            list(old.limits.committed),
            list(old.limits.grade),
            old.limits.group_usable,
        )
        use = Use(limits, list(old.keeps), dict(old.lost), panic, old.ahead)
    else:
        count = len(compiled.pools)
        again = list(range(count))
        groups = [limit * compiled.policy.headroom for limit in caps.groups]
        limits = Limits([0.0] * count, [0.0] * count, [OUT] * count, groups)
        use = Use(limits, [0.0] * count, {}, panic, _ahead(compiled, caps, held))
    for index in again:
        _judge_pool(use, basis, index)
    memo.keep(_KeptUse(basis, use))
    return use


def _judge_pool(use: Use, basis: _Basis, index: int) -> None:
    """One pool's limits, grade and what it may keep, into ``use``."""
    compiled, name = basis.compiled, basis.compiled.pools[index]
    policy, cap, held_pool = compiled.policy, basis.caps.pools[index], basis.memory[name]
    state = held_pool.state
    ramp = ramp_share(held_pool, policy.thresholds) if state is State.RECOVERING else 1.0
    part = policy.headroom * ramp
    keeps, grade = cap.limit * ramp, _grade(state, cap.fresh)
    use.lost.pop(index, None)
    if state is State.DOWN and held_pool.reason not in CONFIGURATION_REASONS:
        success = _success(state, basis.findings.get(name, SILENT))
        if index not in basis.claims.withdrawn:
            use.lost[index] = success
        grade = KEEPS if basis.panic and success > 0 else OUT
    elif state is State.DEGRADED:
        part *= _success(state, basis.findings.get(name, SILENT))
    usable = cap.limit * part
    if index in basis.claims.withdrawn:
        grade, keeps = OUT, 0.0
    elif index in basis.claims.maintenance_soon and grade == GAINS:
        grade = GAINS_LATE  # what it takes it must give away again soon
    committed = cap.committed * part
    use.limits.usable[index] = usable
    use.limits.committed[index] = committed if committed < usable else usable
    use.limits.grade[index] = grade
    use.keeps[index] = keeps


def _ahead(compiled: CompiledPolicy, caps: Caps, held: Claims) -> dict[int, float]:
    found = {index: limit * compiled.policy.headroom for index, limit in caps.planned.items()}
    found.update(dict.fromkeys(held.maintenance_soon, 0.0))
    return {index: most for index, most in sorted(found.items()) if index not in held.withdrawn}


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


def too_many_lost(compiled: CompiledPolicy, memory: dict[str, PoolMemory]) -> bool:
    """Whether every pool is down by what was found in so many providers that those that succeed stay in."""
    lost = sum(
        1
        for pools in compiled.pools_of
        if pools and all(memory[compiled.pools[index]].state is State.DOWN for index in pools)
    )
    return lost > compiled.policy.thresholds.providers_lost_share * len(compiled.providers)
