"""No reporter is more than a quarter of the evidence: none decides alone whether a pool fails or succeeds."""

from collections.abc import Iterable

from controller.core.policy.thresholds import Thresholds
from streams.rows import PoolSum


def capped_share(
    known: list[tuple[int, int]], requests: int, failures: int, reporters: int, limits: Thresholds
) -> float | None:
    """The failing share with no reporter counting for more than its cap: a quarter of what then counts, or an
    even share where they are fewer than four. None where nobody exceeds it. Where too little is left to tell
    by itself it can acquit the pool, and never accuse it.

    ``known``: requests and failures of the largest few reporters; at most three can exceed a quarter.
    """
    of_whole = 1 / max(limits.reporter_share_max, 1 / max(reporters, 1))
    rest, capped = float(requests), 0
    # Who exceeds the cap depends on what the others count: from the largest on, until one fits in.
    while capped < len(known) and known[capped][0] * (of_whole - capped) > rest:
        rest -= known[capped][0]
        capped += 1
    if not capped or of_whole <= capped:
        return None
    each = rest / (of_whole - capped)
    counted = rest + capped * each
    failed = failures - sum(bad * (1 - each / most) for most, bad in known[:capped])
    share = failed / counted if counted else failures / requests
    return share if counted >= limits.requests_min else min(share, failures / requests)


def largest(seconds: Iterable[PoolSum]) -> list[tuple[int, int]]:
    """(requests that speak about health, failures among them) of the reporters that rows name, most first."""
    found: dict[str, tuple[int, int]] = {}
    for seen in seconds:
        for share in seen.largest:
            out = share.outcomes
            requests, failures = found.get(share.client, (0, 0))
            found[share.client] = (requests + out.health_attempts, failures + out.health_failures)
    return sorted((told for told in found.values() if told[0]), key=lambda told: (-told[0], told[1]))
