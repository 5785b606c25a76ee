"""Clients' outcomes at each pool, added up over all partitions and the shortest time that says something.

Which seconds count is said in telling_seconds.py: so a loaded pool is judged within two seconds, a quiet one
by all there is.
"""

from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from controller.core.evidence.reporter_cap import capped_share, largest_reporters
from controller.core.evidence.served_at_limit import Window, served_while_throttled
from controller.core.evidence.telling_seconds import NOTHING_READ, PoolSeconds, Reading, parts_by_second
from controller.core.model.memo import Memo
from controller.core.policy.thresholds import Thresholds
from streams.rows import PoolSum
from tieline.events import Outcomes


class ClientOutcomes(Struct, frozen=True, gc=False):
    """Clients' attempts at one pool over ``span_ms``, of which the newest second starts at ``latest_ms``.

    ``requests`` are the attempts that speak about health; ``auth``, ``not_found``, ``throttled`` and
    ``client_error`` count the others. ``failing`` counts reporters with failures and no success; so do
    ``failing_configuration`` and ``failing_client_error`` for their kinds. ``throttled_served`` is what
    the pool served in units/s while it also answered 429 (served_at_limit.py), ``near_limit_served`` the most
    in one second in which the rate-limit headers said that little was left. ``capped_share`` is the
    failing share with no reporter counting for too much, None where that is the plain share. Of ``users``
    that sent anything, ``stuck`` have waited for long and got nothing. ``in_flight`` is of the newest second,
    ``in_flight_total`` adds up all seconds, as ``units`` does.
    """

    requests: int
    failures: int
    auth: int
    not_found: int
    ok: int
    throttled: int
    reporters: int
    failing: int
    failing_configuration: int
    in_flight: int
    oldest_in_flight_ms: int
    first_token_p99_ms: float | None
    units: float
    span_ms: int
    latest_ms: int
    throttled_served: float = 0.0
    client_error: int = 0
    failing_client_error: int = 0
    first_token_p50_ms: float | None = None
    users: int = 0
    stuck: int = 0
    capped_share: float | None = None
    near_limit_served: float = 0.0
    in_flight_total: int = 0

    @property
    def failing_share(self) -> float:
        """Failures that speak about health, of the attempts that do, each reporter capped."""
        if self.capped_share is not None:
            return self.capped_share
        return self.failures / self.requests if self.requests else 0.0

    @property
    def configuration_faults(self) -> int:
        """Attempts that were refused for their credentials or for an unknown model."""
        return self.auth + self.not_found

    @property
    def configuration_share(self) -> float:
        """Those attempts, of all that were refused so or speak about health."""
        attempts = self.requests + self.configuration_faults
        return self.configuration_faults / attempts if attempts else 0.0

    @property
    def client_error_share(self) -> float:
        """Requests refused as the caller's own fault, of all that were answered or failed."""
        attempts = self.requests + self.client_error
        return self.client_error / attempts if attempts else 0.0


_Counts = tuple[int, int, int, int]


class _LastSums(NamedTuple):
    """The last sums, and the windows that they are of."""

    windows: tuple[Window, ...]
    thresholds: Thresholds
    reading: Reading
    sums: dict[str, ClientOutcomes]

    def answers(self, windows: tuple[Window, ...]) -> bool:
        """Whether these windows are the same rows from the same seconds on."""
        return len(windows) == len(self.windows) and all(
            old.row is new.row and old.from_ms == new.from_ms
            for old, new in zip(self.windows, windows, strict=True)
        )


def sum_clients(windows: tuple[Window, ...], thresholds: Thresholds, memo: Memo) -> dict[str, ClientOutcomes]:
    """Pool -> what clients met there. A pool whose sum is that of last time keeps the same object."""
    last = memo.last(_LastSums)
    if last is None or last.thresholds is not thresholds:
        last = _LastSums((), thresholds, NOTHING_READ, sums={})
    elif last.answers(windows):
        return last.sums
    reading, seconds = last.reading.renewed(parts_by_second(windows), thresholds)
    sums = {**last.sums, **{pool: _add_up(own, thresholds) for pool, own in seconds.items() if own}}
    for pool in [pool for pool, own in seconds.items() if not own]:
        sums.pop(pool, None)
    throttled = [pool for pool, outcomes in sums.items() if outcomes.throttled]
    for pool, served in served_while_throttled(windows, throttled, thresholds).items():
        if sums[pool].throttled_served != served:
            sums[pool] = replace(sums[pool], throttled_served=served)
    for pool in seconds.keys() & last.sums.keys() & sums.keys():
        if sums[pool] == last.sums[pool]:
            sums[pool] = last.sums[pool]
    memo.keep(_LastSums(windows, thresholds, reading, sums=sums))
    return sums


def _add_up(seconds: PoolSeconds, thresholds: Thresholds) -> ClientOutcomes:
    """The sum of one pool's seconds, newest first."""
    # One loop over everything: it runs for every second of every pool whenever clients report. Each client
    # sits in one partition, so the reporters of one second add up over partitions; over time the second with
    # the most of them counts.
    ok = failures = throttled = auth = not_found = refused = in_flight = oldest_ms = users = stuck = 0
    units = 0.0
    near_limit, in_flight_total = 0.0, 0
    p99_ms: float | None = None
    latest_ms = at_ms = seconds[0][0]
    second, most = _Second(), (0, 0, 0, 0)
    for second_ms, pool_sum in seconds:
        if second_ms != at_ms:
            most, near_limit = second.merged(most, near_limit, thresholds)
            second, at_ms = _Second(), second_ms
        out = pool_sum.outcomes
        # ``out.health_failures`` written out: with the property the loop takes a fifth longer.
        failed = out.server_error + out.timeout + out.connect + out.cut
        ok, failures, throttled = ok + out.ok, failures + failed, throttled + out.throttled
        auth, not_found, refused = auth + out.auth, not_found + out.not_found, refused + out.client_error
        units += pool_sum.units
        in_flight_total += pool_sum.in_flight
        if second_ms == latest_ms:
            in_flight += pool_sum.in_flight
            users, stuck = users + pool_sum.users, stuck + pool_sum.stuck
        if pool_sum.oldest_in_flight_ms > oldest_ms:
            oldest_ms = pool_sum.oldest_in_flight_ms
        if pool_sum.first_token_p99_ms is not None:
            p99_ms = max(p99_ms or 0.0, pool_sum.first_token_p99_ms)
        second.count(pool_sum, failed, thresholds)
    counts, near_limit = second.merged(most, near_limit, thresholds)
    reporters, failing, configuration, refusing = counts
    named = largest_reporters(pool_sum for _, pool_sum in seconds) if failures else []
    reporters = max(reporters, len(named))
    share = capped_share(named, ok + failures, failures, reporters, thresholds) if failures else None
    return ClientOutcomes(
        requests=ok + failures,
        failures=failures,
        auth=auth,
        not_found=not_found,
        ok=ok,
        throttled=throttled,
        reporters=reporters,
        failing=min(failing, reporters),
        failing_configuration=min(configuration, reporters),
        in_flight=in_flight,
        oldest_in_flight_ms=oldest_ms,
        first_token_p99_ms=p99_ms,
        units=units,
        span_ms=latest_ms - at_ms + 1000,
        latest_ms=latest_ms,
        client_error=refused,
        failing_client_error=min(refusing, reporters),
        first_token_p50_ms=_mean_p50_ms(seconds),
        users=users,
        stuck=stuck,
        capped_share=share,
        near_limit_served=near_limit,
        in_flight_total=in_flight_total,
    )


def _mean_p50_ms(seconds: PoolSeconds) -> float | None:
    """Medians can't be merged exactly, so this is their mean, weighted by successes."""
    weights = [(pool_sum.first_token_p50_ms, pool_sum.outcomes.ok) for _, pool_sum in seconds]
    whole = sum(ok for p50_ms, ok in weights if p50_ms is not None)
    return sum(p50_ms * ok for p50_ms, ok in weights if p50_ms is not None) / whole if whole else None


class _Second:
    """What is counted within one second before it is compared with the others."""

    __slots__ = ("configuration", "failing", "refused", "reporters", "units", "used_up_units")

    def __init__(self) -> None:
        self.reporters = self.failing = self.configuration = self.refused = 0
        self.units = self.used_up_units = 0.0

    def count(self, pool_sum: PoolSum, failed: int, thresholds: Thresholds) -> None:
        """One partition's part of the second; ``failed`` of its attempts speak against the pool."""
        out = pool_sum.outcomes
        self.reporters += pool_sum.reporters
        self.units += pool_sum.units
        self.used_up_units += pool_sum.used_up_units
        if failed:
            self.failing += _failing_reporters(pool_sum, thresholds)
        if out.auth or out.not_found:
            self.configuration += pool_sum.failing.configuration_faults
        self.refused += pool_sum.failing.client_error

    def merged(self, most: _Counts, near_limit: float, thresholds: Thresholds) -> tuple[_Counts, float]:
        """The most of each count so far, and the most served in a second in which little was left."""
        counts = (self.reporters, self.failing, self.configuration, self.refused)
        if counts != most:
            pairs = zip(most, counts, strict=True)
            most = tuple(max(old, new) for old, new in pairs)  # type: ignore[assignment]
        if self.used_up_units > (1.0 - thresholds.rate_limit_left_min) * self.units:
            near_limit = max(near_limit, self.units)
        return most, near_limit


def _failing_reporters(pool_sum: PoolSum, thresholds: Thresholds) -> int:
    """Reporters of which no attempt succeeded or, where a reporter's own counts are known, most failed."""
    count = pool_sum.failing.health_failures
    return max(count, sum(1 for share in pool_sum.largest if _mostly_fails(share.outcomes, thresholds)))


def _mostly_fails(out: Outcomes, thresholds: Thresholds) -> bool:
    failures = out.health_failures
    return failures > 0 and failures >= thresholds.failing_share_down * out.health_attempts
