"""Whether what a reporter meets is the pools' fault or its own network's. Pure.

A reporter to whom nothing gets through on several providers, and on none something does, speaks of itself.
"""

from collections.abc import Iterable

from tieline.events import Outcomes, PoolObservation

OWN_NETWORK_MIN = 2  # providers
STUCK_AFTER_MS = 10_000


def answers(out: Outcomes) -> bool:
    """Whether anything came back that shows a working way to the pool: a success, a limit, a refusal."""
    return bool(out.ok or out.throttled or out.client_error)


def is_stuck(seen: PoolObservation) -> bool:
    """Whether this reporter's requests go in and none comes out."""
    return bool(seen.in_flight and seen.oldest_in_flight_ms > STUCK_AFTER_MS and not seen.outcomes.ok)


def is_of_its_own(pools: Iterable[PoolObservation], *, was: bool) -> bool:
    """Whether a client's report shows that its own network fails; ``was``: its last report did.

    Once it is so it stays so until something gets through: a client that has left every pool sends nothing
    more that could fail.
    """
    failing: set[str] = set()
    for seen in pools:
        out = seen.outcomes
        if answers(out):
            return False
        if out.health_failures or out.configuration_faults or is_stuck(seen):
            failing.add(seen.pool.split("/", 1)[0])
    return was or len(failing) >= OWN_NETWORK_MIN
