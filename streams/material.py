"""Whether a new row could change a decision, so that the routing agent is woken at once. Pure.

It errs on the side of waking: a wake too many costs one reading of the tables, a wake too few costs the time
until the agent's timer. A newer window with the same healthy picture never wakes by itself.
"""

from streams.rows import Row
from tieline.events import Capacity, Outcomes, PoolObservation, Report, Statement, stale_after_ms

LONG_IN_FLIGHT_MS = 2_000  # a request in flight for longer may be one that never ends
MOVED_SHARE = 0.05
LATENCY_MOVED_SHARE = 0.25
RATE_LIMIT_LEFT_LOW = 0.1


def is_material(old: Row | None, new: Row) -> bool:
    """Whether anything changed from ``old`` to ``new`` that could change a decision."""
    if old is None or old.duplicate != new.duplicate:
        return True
    match old.event, new.event:
        case Report() as before, Report() as after:
            silent_ms = new.evidence_ms - old.evidence_ms
            return silent_ms > stale_after_ms(before.interval_ms) or report_moved(before, after)
        case Statement() as before, Statement() as after:
            return before.claims != after.claims
        case Capacity() as before, Capacity() as after:
            return before.expires_ms <= new.append_ms or capacity_moved(before, after)
        case _:
            return True


def report_moved(old: Report, new: Report) -> bool:
    """Whether a report's picture of any pool differs in a way that counts.

    A source usually names its pools in the same order; this runs for every pool of every record.
    """
    if len(old.pools) != len(new.pools):
        return True
    for before, after in zip(old.pools, new.pools, strict=True):
        if before.pool != after.pool:
            return _reordered_moved(old, new)
        if observation_moved(before, after):
            return True
    return False


def _reordered_moved(old: Report, new: Report) -> bool:
    before = {observation.pool: observation for observation in old.pools}
    return any(observation_moved(before.get(after.pool), after) for after in new.pools)


def observation_moved(old: PoolObservation | None, new: PoolObservation) -> bool:
    """Whether one pool's picture differs. Any telling failure counts, old or new: evidence of it adds up."""
    if old is None or old.ejected is not new.ejected:
        return True
    before, after = old.outcomes, new.outcomes
    if tells_failure(after) or (before != after and tells_failure(before)):
        return True
    if bool(before.ok) is not bool(after.ok):
        return True
    if after.client_error > after.ok or before.client_error > before.ok:
        return True
    if old.oldest_in_flight_ms > LONG_IN_FLIGHT_MS or new.oldest_in_flight_ms > LONG_IN_FLIGHT_MS:
        return True
    p99_ms = old.first_token_p99_ms
    return p99_ms != new.first_token_p99_ms and _moved(p99_ms, new.first_token_p99_ms, LATENCY_MOVED_SHARE)


def tells_failure(outcomes: Outcomes) -> bool:
    """Whether any class is counted that speaks about the pool's health, capacity or configuration."""
    return bool(outcomes.health_failures or outcomes.throttled or outcomes.configuration_faults)


def tells_little_left(observation: PoolObservation) -> bool:
    """Whether little is left of the pool's rate limit, by the headers of its answers."""
    left = observation.rate_limit_left
    return left is not None and left < RATE_LIMIT_LEFT_LOW


def capacity_moved(old: Capacity, new: Capacity) -> bool:
    """Whether limits, plans or prices differ, or the use of any pool moved by more than 5 %."""
    if len(old.pools) != len(new.pools) or old.groups != new.groups or old.planned != new.planned:
        return True
    for before, after in zip(old.pools, new.pools, strict=True):
        limits_before = (before.pool, before.limit_units_per_s, before.committed_units_per_s)
        limits_after = (after.pool, after.limit_units_per_s, after.committed_units_per_s)
        others_before = (before.requests_per_s, before.concurrency, before.price_per_million_units)
        others_after = (after.requests_per_s, after.concurrency, after.price_per_million_units)
        if limits_before != limits_after or others_before != others_after:
            return True
        if _moved(before.in_use_units_per_s, after.in_use_units_per_s, MOVED_SHARE):
            return True
    return False


def load_moved(old: float, new: float) -> bool:
    """Whether a load moved by more than 5 %."""
    return _moved(old, new, MOVED_SHARE)


def _moved(old: float | None, new: float | None, share: float) -> bool:
    if old is None or new is None:
        return old is not new
    return abs(new - old) > share * max(abs(old), abs(new))
