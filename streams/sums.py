"""Clients' outcomes and load within one second, added up into ``DemandSecond``. Pure."""

from collections.abc import Iterable

from msgspec.structs import replace

from streams.rows import DemandSecond, FlowSum, PoolSum, ReporterShare
from tieline.events import Flow, Outcomes, PoolObservation, ResultClass

REPORTERS_PER_POOL_MAX = 10_000
LARGEST_MAX = 4
STUCK_AFTER_MS = 10_000
ROUNDING_SHARE = 1e-9
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


def scaled(outcomes: Outcomes, weight: float) -> Outcomes:
    """The outcomes at a weight below one; no class that occurred disappears."""
    return outcomes_of(max(1, round(number * weight)) if number else 0 for number in counts(outcomes))


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
        self._base_new = base.new_clients if base else 0
        self._new: set[str] = set()
        self._flows = {(flow.workload, flow.origin): flow for flow in base.flows} if base else {}
        self._pools = {row.pool: PoolTally(row.pool, row) for row in base.pools} if base else {}
        self._newcomers = {row.pool: PoolTally(row.pool, row) for row in base.newcomers} if base else {}
        self._sum = base

    def add(
        self,
        client: str,
        flows: Iterable[tuple[Flow, float]],
        observations: Iterable[PoolObservation],
        *,
        excluded: bool = False,
        newcomer: bool = False,
    ) -> None:
        """Adds one client's report: ``flows`` with the units of each that are doubtful, and those
        ``observations`` of it that count. ``excluded``: none of them does. ``newcomer``: they count apart."""
        self._sum = None
        self._clients.add(client)
        if excluded:
            self._excluded.add(client)
        if newcomer:
            self._new.add(client)
        for flow, doubtful in flows:
            key = (flow.workload, flow.origin)
            self._flows[key] = _flow_sum(self._flows.get(key), flow, doubtful)
        tallies = self._newcomers if newcomer else self._pools
        for observation in observations:
            tally = tallies.get(observation.pool)
            if tally is None:
                tally = tallies[observation.pool] = PoolTally(observation.pool)
            tally.add(client, observation)

    def add_unheard(self, key: tuple[str, str], units: float, requests: float) -> None:
        """Adds load of clients that are silent, of one (workload, origin)."""
        self._sum = None
        before = self._flows.get(key) or _no_flow(*key)
        self._flows[key] = replace(
            before,
            unheard_units=before.unheard_units + units,
            unheard_requests=before.unheard_requests + requests,
        )

    def take_back_unheard(self, key: tuple[str, str], units: float, requests: float) -> None:
        """Takes off load that was added as unheard and is reported after all."""
        before = self._flows.get(key)
        if before is None:
            return
        self._sum = None
        self._flows[key] = replace(
            before,
            unheard_units=_rest(before.unheard_units, units),
            unheard_requests=_rest(before.unheard_requests, requests),
        )

    def sum(self) -> DemandSecond:
        """The second as it stands; the same object until something is added."""
        if self._sum is None:
            self._sum = DemandSecond(
                second_ms=self.second_ms,
                clients=self._base_clients + len(self._clients),
                flows=tuple(flow for _, flow in sorted(self._flows.items())),
                pools=tuple(tally.sum() for _, tally in sorted(self._pools.items())),
                excluded=self._base_excluded + len(self._excluded),
                newcomers=tuple(tally.sum() for _, tally in sorted(self._newcomers.items())),
                new_clients=self._base_new + len(self._new),
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


def _rest(whole: float, part: float) -> float:
    """The whole without the part; what only rounding leaves is nothing."""
    return whole - part if whole - part > ROUNDING_SHARE * whole else 0.0


def _added(some: list[int], more: list[int]) -> list[int]:
    return [a + b for a, b in zip(some, more, strict=True)]


def _no_flow(workload: str, origin: str) -> FlowSum:
    return FlowSum(
        workload=workload,
        origin=origin,
        requests=0,
        offered_units=0.0,
        shed_requests=0,
        shed_units=0.0,
    )


def _flow_sum(before: FlowSum | None, flow: Flow, doubtful: float) -> FlowSum:
    before = before or _no_flow(flow.workload, flow.origin)
    return replace(
        before,
        requests=before.requests + flow.requests,
        offered_units=before.offered_units + flow.offered_units,
        shed_requests=before.shed_requests + flow.shed_requests,
        shed_units=before.shed_units + flow.shed_units,
        doubtful_units=before.doubtful_units + doubtful,
    )
