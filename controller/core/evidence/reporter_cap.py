"""No reporter is more than a quarter of the evidence, so none decides alone whether a pool fails."""

from collections.abc import Iterable

from controller.core.policy.thresholds import Thresholds
from streams.rows import PoolSum


def capped_share(
    largest: list[tuple[int, int]], requests: int, failures: int, reporters: int, thresholds: Thresholds
) -> float | None:
    """The failing share with no reporter counting for more than its cap; None if no reporter exceeds it.

    ``largest``: (requests, failures) of the largest few reporters, most first; at most three can exceed a
    quarter. The cap is ``reporter_share_max`` of what then counts, or an even share among fewer than four
    reporters. Where less than ``requests_min`` counts, the capped share can acquit the pool and never accuse
    it.
    """
    of_whole = 1 / max(thresholds.reporter_share_max, 1 / max(reporters, 1))
    rest, capped = float(requests), 0
    # Who exceeds the cap depends on what the others count: from the largest on, until one fits in.
    while capped < len(largest) and largest[capped][0] * (of_whole - capped) > rest:
        rest -= largest[capped][0]
        capped += 1
    if not capped or of_whole <= capped:
        return None
    each = rest / (of_whole - capped)
    counted = rest + capped * each
    failed = failures - sum(bad * (1 - each / most) for most, bad in largest[:capped])
    share = failed / counted if counted else failures / requests
    return share if counted >= thresholds.requests_min else min(share, failures / requests)


def largest_reporters(seconds: Iterable[PoolSum]) -> list[tuple[int, int]]:
    """(requests that speak about health, failures among them) of the reporters that rows name, most first."""
    totals: dict[str, tuple[int, int]] = {}
    for pool_sum in seconds:
        for share in pool_sum.largest:
            out = share.outcomes
            requests, failures = totals.get(share.client, (0, 0))
            totals[share.client] = (requests + out.health_attempts, failures + out.health_failures)
    return sorted((total for total in totals.values() if total[0]), key=lambda total: (-total[0], total[1]))
