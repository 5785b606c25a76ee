"""A provider's largest share of a workload, in the parts per million that a route's split counts in.

The policy states the share as a fraction (``provider_share_max``), ``RouteRules.share_max`` keeps it by
provider. Whoever decides asks ``parts_left``; whoever looks at a finished split asks ``most_parts``. The
linear programme (controller/core/lp) holds to the fraction itself, in units/s, and has no parts to round.
"""

from collections.abc import Iterable, Mapping, Sequence

from tieline.table import MILLION, Split


def most_parts(share: float) -> int:
    """The parts that a finished split may give to a provider: ``share``, to the nearest part."""
    return round(share * MILLION)


def parts_left(share: float, carried: int) -> int:
    """How many parts a provider that has ``carried`` may still gain; negative: how many it has too many.

    Rounded down, unlike ``most_parts``. The two differ by one part for a few shares of four or more decimals,
    whose product with a million lies just below a whole number (0.0157); published tables keep that part.
    """
    return int(share * MILLION) - carried


def provider_parts(shares: Iterable[tuple[int, int]], provider_of: Sequence[int], provider: int) -> int:
    """The parts that the (pool, parts) of one route give to a provider's pools, all by index."""
    return sum(parts for pool, parts in shares if provider_of[pool] == provider)


def within_shares(split: Split, share_max: Mapping[int, float], provider_of: Sequence[int]) -> Split:
    """The split with what a provider has beyond its largest share shed; the same object if there is none."""
    left = dict(zip(split.pools, split.weights, strict=True))
    for provider, share in share_max.items():
        over = max(provider_parts(left.items(), provider_of, provider) - most_parts(share), 0)
        for pool in [pool for pool in left if provider_of[pool] == provider]:
            parts = min(over, left[pool])
            over, left[pool] = over - parts, left[pool] - parts
    weights = {pool: parts for pool, parts in left.items() if parts}
    shed = MILLION - sum(weights.values())
    return split if shed == split.shed else Split(tuple(weights), tuple(weights.values()), shed)
