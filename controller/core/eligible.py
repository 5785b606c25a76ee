"""State, capacity and orders -> what each pool may be used for: the limits a draft keeps within.

Order of use: healthy, then degraded, then unknown up to what it carries; beyond that only for critical load
that would be shed otherwise. A pool that succeeds at a share counts as that share of its capacity.
"""

from typing import NamedTuple

from controller.core.capacity import Caps
from controller.core.compiled import Compiled
from controller.core.draft import GAINS, GAINS_LAST, GAINS_LATE, KEEPS, OUT, UNBOUNDED, Limits
from controller.core.finding import SILENT, Finding
from controller.core.health import ramp_share
from controller.core.memory import PoolMemory
from controller.core.reasons import Reason, State
from controller.core.statements import Claims

FAULTS = (Reason.CONFIGURATION_AUTH, Reason.CONFIGURATION_NOT_FOUND)


class Use(NamedTuple):
    """Limits of all pools, and what they may keep although they are ill.

    ``keeps``: units/s that a pool may go on carrying when no lawful alternative has room, its headroom
    included; ``lost`` maps each
    pool that is out for its health to the share of attempts it still succeeds at. ``panic``: beyond half of
    the providers are lost.
    """

    limits: Limits
    keeps: list[float]
    lost: dict[int, float]
    panic: bool


def eligible(
    rules: Compiled,
    memory: dict[str, PoolMemory],
    findings: dict[str, Finding],
    caps: Caps,
    held: Claims,
) -> Use:
    """What every pool may be used for now."""
    policy = rules.policy
    panic = _providers_lost(rules, memory) > policy.thresholds.providers_lost_share * len(rules.providers)
    use = Use(Limits([], [], [], [limit * policy.headroom for limit in caps.groups]), [], {}, panic)
    headroom, acts = policy.headroom, [provider.mode == "act" for provider in policy.providers]
    add_usable, add_committed = use.limits.usable.append, use.limits.committed.append
    add_grade, add_keeps = use.limits.grade.append, use.keeps.append
    for index, name in enumerate(rules.pools):
        cap, held_pool = caps.pools[index], memory[name]
        state = held_pool.state
        ramp = ramp_share(held_pool, policy.thresholds) if state is State.RECOVERING else 1.0
        part = headroom * ramp
        keeps, success = cap.limit * ramp, _success(state, findings.get(name, SILENT))
        grade = _grade(state, cap.fresh)
        if state is State.DOWN and held_pool.reason not in FAULTS:
            use.lost[index] = success
            grade = KEEPS if panic and success > 0 else OUT
        elif state is State.DEGRADED:
            part *= success
        usable = cap.limit * part
        if not acts[rules.provider_of[index]]:
            grade, usable, keeps = KEEPS, UNBOUNDED, UNBOUNDED
        if index in held.withdrawn:
            grade, keeps = OUT, 0.0
            use.lost.pop(index, None)
        committed = cap.committed * part
        add_usable(usable)
        add_committed(committed if committed < usable else usable)
        add_grade(grade)
        add_keeps(keeps)
    return use


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


def _providers_lost(rules: Compiled, memory: dict[str, PoolMemory]) -> int:
    """Providers of which every pool is down by what was found."""
    return sum(
        1
        for pools in rules.pools_of
        if pools and all(memory[rules.pools[index]].state is State.DOWN for index in pools)
    )
