"""The usual first tokens of a pool: what slowness and a standstill are measured against.

They are learnt from clients while the pool is well. Afterwards they follow what is measured only slowly, so
that a pool can't make its slowness usual, and only where that is far off, so that noise costs no publication.
"""

from msgspec.structs import replace

from controller.core.evidence.client_sums import ClientOutcomes
from controller.core.model.memory import PoolMemory
from controller.core.model.reasons import Reason, State
from controller.core.policy.thresholds import Thresholds


def remember_usual(
    memory: PoolMemory, clients: ClientOutcomes | None, thresholds: Thresholds, now_ms: int
) -> PoolMemory:
    """The pool's memory with its usual first tokens as of now; the same object if they did not change."""
    if clients is None or clients.first_token_p50_ms is None or clients.ok < thresholds.requests_min:
        return memory
    if not memory.usual_p50_ms:
        if memory.state is not State.HEALTHY:
            return memory
        p99_ms = clients.first_token_p99_ms or clients.first_token_p50_ms
        return replace(memory, usual_p50_ms=clients.first_token_p50_ms, usual_p99_ms=p99_ms, usual_ms=now_ms)
    if now_ms - memory.usual_ms < thresholds.usual_period_ms:
        return memory
    only_slow = memory.state is State.DEGRADED and memory.reason is Reason.SLOW
    if memory.state is not State.HEALTHY and not only_slow:
        return memory
    p50_ms = _towards(memory.usual_p50_ms, clients.first_token_p50_ms, thresholds)
    p99_ms = _towards(memory.usual_p99_ms, clients.first_token_p99_ms, thresholds)
    if (p50_ms, p99_ms) == (memory.usual_p50_ms, memory.usual_p99_ms):
        return memory
    return replace(memory, usual_p50_ms=p50_ms, usual_p99_ms=p99_ms, usual_ms=now_ms)


def _towards(usual_ms: float, measured_ms: float | None, thresholds: Thresholds) -> float:
    if measured_ms is None:
        return usual_ms
    if measured_ms > thresholds.usual_far_off_factor * usual_ms:
        return usual_ms * thresholds.usual_rise_factor
    if measured_ms * thresholds.usual_far_off_factor < usual_ms:
        return usual_ms * thresholds.usual_fall_share
    return usual_ms
