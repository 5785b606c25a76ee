"""PURE. Counts over the last seconds, in constant memory."""

from collections.abc import Sequence


class RecentCounts:
    """Counts in ``columns`` over the last ``buckets`` spans of ``bucket_ms`` each, the present one included.

    A ring: each span of time has a place in it, and whoever counts first in a new span clears the place's old
    counts. So nothing has to run when time passes. Times are monotonic milliseconds.
    """

    __slots__ = ("_bucket_ms", "_columns", "_spans")

    def __init__(self, columns: int, *, buckets: int, bucket_ms: int) -> None:
        self._bucket_ms = bucket_ms
        self._spans = [-1] * buckets  # place -> the number of the span that it counts, -1 for none
        self._columns = [[0.0] * buckets for _ in range(columns)]

    def add(self, column: int, now_ms: int, amount: float = 1.0) -> None:
        """Count in the present span."""
        span = now_ms // self._bucket_ms
        place = span % len(self._spans)
        if self._spans[place] != span:
            self._spans[place] = span
            for counts in self._columns:
                counts[place] = 0.0
        self._columns[column][place] += amount

    def sums(self, now_ms: int) -> Sequence[float]:
        """The sum of each column."""
        newest = now_ms // self._bucket_ms
        oldest = max(0, newest - len(self._spans) + 1)
        live = [place for place, span in enumerate(self._spans) if oldest <= span <= newest]
        return [sum([counts[place] for place in live]) for counts in self._columns]

    def clear(self) -> None:
        """Forget everything."""
        self._spans = [-1] * len(self._spans)
