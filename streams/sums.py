"""Clients' outcomes and load within one second, added up into ``DemandSecond``. Pure."""

from collections.abc import Iterable

from streams.rows import DemandSecond, FlowSum, PoolSum, ReporterShare
from tieline.events import Demand, Flow, Outcomes, PoolObservation, ResultClass

REPORTERS_PER_POOL_MAX = 10_000
LARGEST_MAX = 4
STUCK_AFTER_MS = 10_000
_CLASSES = tuple(kind.value for kind in ResultClass)
_OK = _CLASSES.index(ResultClass.OK)


def counts(outcomes: Outcomes) -> list[int]:
    """One number for each result class, in the order of ``ResultClass``."""
    return [
        outcomes.ok,
        outcomes.throttled,
        outcomes.server_error,
        outcomes.timeout,
        outcomes.connect,
        outcomes.auth,
        outcomes.not_found,
        outcomes.client_error,
        outcomes.cut,
    ]


def outcomes_of(numbers: Iterable[int]) -> Outcomes:
    """The reverse of ``counts``."""
    return Outcomes(*numbers)


def is_stuck(observation: PoolObservation) -> bool:
    """Whether requests of this reporter have been in flight for more than 10 s and none succeeds."""
    waits_long = observation.oldest_in_flight_ms > STUCK_AFTER_MS
    return bool(observation.in_flight and waits_long and not observation.outcomes.ok)


class PoolTally:
    """One pool in one second. ``base`` is what an earlier owner of the partition had summed already."""

    def __init__(self, pool: str, base: PoolSum | None = None) -> None:
        self.pool = pool
        self._base = base or PoolSum(
            pool=pool, outcomes=Outcomes(), units=0.0, reporters=0, failing=Outcomes()
        )
        self._total = counts(self._base.outcomes)
        self._units = self._base.units
        self._used_up_units = self._base.used_up_units
        self._reporters: dict[str, list[int]] = {}
        self._uncounted = 0
        self._ejected: set[str] = set()
        self._in_flight: dict[str, int] = {}
        self._users: set[str] = set()
        self._stuck: set[str] = set()
        self._oldest_ms = self._base.oldest_in_flight_ms
        ok = self._base.outcomes.ok
        self._first_p50 = _Mean(self._base.first_token_p50_ms, ok)
        self._per_token_p50 = _Mean(self._base.per_token_p50_ms, ok)
        self._first_p99_ms = self._base.first_token_p99_ms

    def add(self, client: str, observation: PoolObservation) -> None:
        """Adds what one client saw in one window."""
        outcomes = observation.outcomes
        numbers = counts(outcomes)
        self._total = _added(self._total, numbers)
        self._units += observation.units
        if observation.rate_limit_left is not None:
            self._used_up_units += observation.units * (1.0 - observation.rate_limit_left)
        if any(numbers):
            self._add_reporter(client, numbers)
        if observation.ejected is not None:
            self._ejected.add(client)
        else:
            self._ejected.discard(client)
        self._in_flight[client] = observation.in_flight
        if observation.in_flight or any(numbers):
            self._users.add(client)
        if is_stuck(observation):
            self._stuck.add(client)
        else:
            self._stuck.discard(client)
        self._oldest_ms = max(self._oldest_ms, observation.oldest_in_flight_ms)
        self._first_p50.add(observation.first_token_p50_ms, outcomes.ok)
        self._per_token_p50.add(observation.per_token_p50_ms, outcomes.ok)
        if observation.first_token_p99_ms is not None:
            self._first_p99_ms = max(self._first_p99_ms or 0.0, observation.first_token_p99_ms)

    def sum(self) -> PoolSum:
        """The pool's sum as it stands.

        Quantiles of several clients can't be merged exactly: p50 is their mean weighted by successes, p99 the
        largest.
        """
        failing = counts(self._base.failing)
        for numbers in self._reporters.values():
            if not numbers[_OK]:
                failing = [count + (number > 0) for count, number in zip(failing, numbers, strict=True)]
        return PoolSum(
            pool=self.pool,
            outcomes=outcomes_of(self._total),
            units=self._units,
            reporters=self._base.reporters + len(self._reporters) + self._uncounted,
            failing=outcomes_of(failing),
            ejected_by=self._base.ejected_by + len(self._ejected),
            in_flight=self._base.in_flight + sum(self._in_flight.values()),
            oldest_in_flight_ms=self._oldest_ms,
            first_token_p50_ms=self._first_p50.value(),
            first_token_p99_ms=self._first_p99_ms,
            per_token_p50_ms=self._per_token_p50.value(),
            largest=self._largest(),
            users=self._base.users + len(self._users),
            stuck=self._base.stuck + len(self._stuck),
            used_up_units=self._used_up_units,
        )

    def _add_reporter(self, client: str, numbers: list[int]) -> None:
        before = self._reporters.get(client)
        if before is not None:
            self._reporters[client] = _added(before, numbers)
        elif len(self._reporters) < REPORTERS_PER_POOL_MAX:
            self._reporters[client] = numbers
        else:
            self._uncounted += 1

    def _largest(self) -> tuple[ReporterShare, ...]:
        shares = {share.client: counts(share.outcomes) for share in self._base.largest}
        for client, numbers in self._reporters.items():
            earlier = shares.get(client)
            shares[client] = _added(earlier, numbers) if earlier else numbers
        ranking = sorted(shares.items(), key=lambda item: (-sum(item[1]), item[0]))
        return tuple(ReporterShare(client, outcomes_of(numbers)) for client, numbers in ranking[:LARGEST_MAX])


class SecondTally:
    """All clients of one partition in one second. ``base``: see ``PoolTally``."""

    def __init__(self, second_ms: int, base: DemandSecond | None = None) -> None:
        self.second_ms = second_ms
        self._base_clients = base.clients if base else 0
        self._base_excluded = base.excluded if base else 0
        self._clients: set[str] = set()
        self._excluded: set[str] = set()
        self._flows = {(flow.workload, flow.origin): flow for flow in base.flows} if base else {}
        self._pools = {row.pool: PoolTally(row.pool, row) for row in base.pools} if base else {}
        self._sum = base

    def add(self, event: Demand, observations: Iterable[PoolObservation], *, excluded: bool = False) -> None:
        """Adds one client's report, with those ``observations`` of it that count. ``excluded``: none of them
        does."""
        self._sum = None
        self._clients.add(event.client)
        if excluded:
            self._excluded.add(event.client)
        for flow in event.flows:
            key = (flow.workload, flow.origin)
            self._flows[key] = _flow_sum(self._flows.get(key), flow)
        for observation in observations:
            tally = self._pools.get(observation.pool)
            if tally is None:
                tally = self._pools[observation.pool] = PoolTally(observation.pool)
            tally.add(event.client, observation)

    def sum(self) -> DemandSecond:
        """The second as it stands; the same object until something is added."""
        if self._sum is None:
            self._sum = DemandSecond(
                second_ms=self.second_ms,
                clients=self._base_clients + len(self._clients),
                flows=tuple(flow for _, flow in sorted(self._flows.items())),
                pools=tuple(tally.sum() for _, tally in sorted(self._pools.items())),
                excluded=self._base_excluded + len(self._excluded),
            )
        return self._sum

    def offered_units(self) -> float:
        """Offered load of all flows together."""
        return sum(flow.offered_units for flow in self._flows.values())


class _Mean:
    """A mean of values that are weighted and may be missing."""

    def __init__(self, value: float | None, weight: int) -> None:
        self._weighted = 0.0
        self._weight = 0
        self.add(value, weight)

    def add(self, value: float | None, weight: int) -> None:
        if value is not None and weight > 0:
            self._weighted += value * weight
            self._weight += weight

    def value(self) -> float | None:
        return self._weighted / self._weight if self._weight else None


def _added(some: list[int], more: list[int]) -> list[int]:
    return [a + b for a, b in zip(some, more, strict=True)]


def _flow_sum(before: FlowSum | None, flow: Flow) -> FlowSum:
    before = before or FlowSum(
        workload=flow.workload,
        origin=flow.origin,
        requests=0,
        offered_units=0.0,
        shed_requests=0,
        shed_units=0.0,
    )
    return FlowSum(
        workload=flow.workload,
        origin=flow.origin,
        requests=before.requests + flow.requests,
        offered_units=before.offered_units + flow.offered_units,
        shed_requests=before.shed_requests + flow.shed_requests,
        shed_units=before.shed_units + flow.shed_units,
    )
