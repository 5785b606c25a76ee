"""The one definition of a quantile: nearest rank, so that every quantile is a value that was measured."""

import math
from collections.abc import Iterable


def nearest_rank(values: Iterable[float], share: float) -> float | None:
    """The smallest of the ``values`` that at least ``share`` of them (0 to 1) do not exceed; None without
    values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None
