"""What a pool's first tokens use to take: what slowness and standstill are measured against.

Learnt from clients while the pool is well, and then all but fixed: it follows slowly, so that a pool does not
pass its slowness off as usual, and only where it is far off, so that noise costs no publication.
"""

from msgspec.structs import replace

from controller.core.evidence.client_sums import Clients
from controller.core.model.memory import PoolMemory
from controller.core.model.reasons import Reason, State
from controller.core.policy.thresholds import Thresholds


def note_usual(held: PoolMemory, seen: Clients | None, limits: Thresholds, now_ms: int) -> PoolMemory:
    """The pool's memory with what is usual now; the same object if that is as it was."""
    if seen is None or seen.first_token_p50_ms is None or seen.ok < limits.requests_min:
        return held
    if not held.usual_p50_ms:
        if held.state is not State.HEALTHY:
            return held
        p99_ms = seen.first_token_p99_ms or seen.first_token_p50_ms
        return replace(held, usual_p50_ms=seen.first_token_p50_ms, usual_p99_ms=p99_ms, usual_ms=now_ms)
    if now_ms - held.usual_ms < limits.usual_period_ms:
        return held
    if held.state is not State.HEALTHY and not (held.state is State.DEGRADED and held.reason is Reason.SLOW):
        return held
    p50_ms = _towards(held.usual_p50_ms, seen.first_token_p50_ms, limits)
    p99_ms = _towards(held.usual_p99_ms, seen.first_token_p99_ms, limits)
    if (p50_ms, p99_ms) == (held.usual_p50_ms, held.usual_p99_ms):
        return held
    return replace(held, usual_p50_ms=p50_ms, usual_p99_ms=p99_ms, usual_ms=now_ms)


def _towards(usual_ms: float, measured_ms: float | None, limits: Thresholds) -> float:
    if measured_ms is None:
        return usual_ms
    if measured_ms > limits.usual_far_off_factor * usual_ms:
        return usual_ms * limits.usual_rise_factor
    if measured_ms * limits.usual_far_off_factor < usual_ms:
        return usual_ms * limits.usual_fall_share
    return usual_ms
