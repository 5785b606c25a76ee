"""What clients, probers and the fleet see of a scenario's pools, as events through the real fold.

Nothing here knows a rule of the planner: who reports, what was met there, and by which clock.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec.structs import replace

from streams.contract_check import refuse_future
from streams.demand import DemandFold
from streams.fold import Refusal, fold
from streams.rows import DemandRow, Position, Row
from tieline.cloudevents import Poison
from tieline.events import (
    Capacity,
    Demand,
    Flow,
    GroupCapacity,
    Outcomes,
    PlannedChange,
    PoolCapacity,
    PoolObservation,
    Report,
    ResultClass,
)
from tieline.registration import Registry

UNITS_PER_REQUEST = 10
PROBE_INTERVAL_MS = 2_000
CAPACITY_LIVES_MS = 30_000
EVERYWHERE = "*"


@dataclass
class Behaviour:
    """How one pool behaves."""

    errors: float = 0.0
    result: str = "server_error"
    serves: float | None = None  # units/s it can really give; more is answered with 429
    stated: float | None = None  # units/s that the fleet source states; None: nothing
    hangs: bool = False
    hung_s: int = 0
    probed: bool = True
    probe_errors: float | None = None  # None: as for clients
    probe_part: bool = False  # one of a prober's two probes fails where its errors are 50 % or more
    first_token_ms: float = 200.0
    size: float = UNITS_PER_REQUEST
    takes_ms: int = 0
    requests_per_s: float | None = None  # as the fleet source states it
    concurrency: float | None = None
    planned: tuple[float, int] | None = None  # so much, and no more, from then on
    rate_limit_left: float | None = None  # by the headers of its answers
    left_to: str = ""  # to this client alone


@dataclass
class Reporter:
    """What is particular about a client or a source. ``share`` of the load, None for an even one; ``meets``
    maps pools to the share of errors that it alone meets there; ``skew_ms`` is how far its clock is ahead."""

    share: float | None = None
    meets: dict[str, float] = field(default_factory=dict)
    result: str = "server_error"
    cut_off: bool = False
    skew_ms: int = 0
    interval_ms: int = PROBE_INTERVAL_MS
    doubled: bool = False
    muted: bool = False  # it goes on serving, but its reports get lost


@dataclass
class Reporting:
    """The rows, and all that makes them."""

    pools: dict[str, Behaviour]
    registry: Registry
    reporters: dict[str, Reporter] = field(default_factory=dict)
    callers: dict[str, float] = field(default_factory=dict)  # workload -> share of bad requests
    ejections: set[tuple[str, str]] = field(default_factory=set)  # (client, pool)
    returned: set[tuple[str, str]] = field(default_factory=set)
    made_up: dict[str, tuple[tuple[Flow, ...], tuple[PoolObservation, ...]]] = field(default_factory=dict)
    groups: dict[str, GroupCapacity] = field(default_factory=dict)
    reports: dict[str, Row] = field(default_factory=dict)
    capacities: dict[str, Row] = field(default_factory=dict)
    sums: DemandFold = field(default_factory=DemandFold)
    offset: int = 0
    generation: str = ""  # of the table that clients use
    rejected: int = 0

    def of(self, name: str) -> Reporter:
        """The reporter of that name."""
        if (reporter := self.reporters.get(name)) is None:
            reporter = self.reporters[name] = Reporter()
        return reporter

    def demand_rows(self) -> tuple[DemandRow, ...]:
        """The one partition, once somebody has reported."""
        return (self.sums.row(),) if self.sums.position is not None else ()

    def clients_report(
        self, names: list[str], loads: dict[str, dict[str, float]], flows: tuple[Flow, ...], now_ms: int
    ) -> None:
        """One second ends: every client says what it met. ``loads``: pool -> workload -> units/s."""
        for how in self.pools.values():
            how.hung_s = how.hung_s + 1 if how.hangs else 0
        # Whoever comes first gets the odd request, so they take turns.
        turn = now_ms // 1000 % max(1, len(names))
        order = names[turn:] + names[:turn]
        seen: dict[str, list[PoolObservation]] = {name: [] for name in names}
        for pool in sorted(self.pools):
            left = [name for name in order if (name, pool) in self.ejections]
            for name in left:
                seen[name].append(PoolObservation(pool, ejected=ResultClass.TIMEOUT))
            users = [name for name in order if name not in left]
            if users and loads.get(pool):
                part = len(users) / len(names)
                for name, one in zip(users, self._met(pool, users, loads[pool], part), strict=True):
                    if one != PoolObservation(pool) or (name, pool) in self.returned:
                        seen[name].append(one)
        self.returned.clear()
        for name, asked in zip(order, self._asked(order, flows), strict=True):
            if not self.of(name).muted:
                self._client_says(name, tuple(seen[name]), asked, now_ms - 1)
        for name, (claimed, met) in sorted(self.made_up.items()):
            self._client_says(name, met, claimed, now_ms - 1)

    def _asked(self, names: list[str], flows: tuple[Flow, ...]) -> list[tuple[Flow, ...]]:
        """What each of these clients is asked for, together the ``flows``."""
        weights = self._weights(names)
        whole = sum(weights) or 1.0
        requests = [_shared(flow.requests, weights) for flow in flows]
        return [
            tuple(
                Flow(flow.workload, flow.origin, counts[place], flow.offered_units * weight / whole)
                for flow, counts in zip(flows, requests, strict=True)
            )
            for place, weight in enumerate(weights)
        ]

    def says_goodbye(self, name: str, now_ms: int) -> None:
        """The client closes, and says so."""
        self._client_says(name, (), (), now_ms, closes=True)

    def _client_says(
        self,
        name: str,
        seen: tuple[PoolObservation, ...],
        flows: tuple[Flow, ...],
        at_ms: int,
        *,
        closes: bool = False,
    ) -> None:
        end_ms = at_ms + self.of(name).skew_ms
        event = Demand(
            name, "one", at_ms, end_ms - 1000, end_ms, 1000, self.generation, flows=flows, pools=seen
        )
        if closes:
            event = replace(event, state="off")
        self.offset += 1
        try:
            refuse_future(event, at_ms)
        except Poison:
            self.rejected += 1
        else:
            self.sums.add(event, Position("demand", 0, self.offset), at_ms, self.registry)

    def _met(self, pool: str, users: list[str], load: dict[str, float], part: float) -> list[PoolObservation]:
        """What each of these clients met. Requests are whole, and shared out so that their sum is right."""
        how = self.pools[pool]
        units = sum(load.values()) * part
        attempts = max(1, round(units / how.size))
        weights = self._weights(users)
        if how.hangs:
            age_ms = min(60_000, how.hung_s * 1000)
            waiting = _shared(attempts * how.hung_s, weights)
            return [
                PoolObservation(pool, in_flight=count, oldest_in_flight_ms=age_ms if count else 0)
                for count in waiting
            ]
        served = units if how.serves is None else min(units, how.serves)
        tried = _shared(attempts, weights)
        throttled = _shared(round((units - served) / how.size), weights)
        wrong = sum(self.callers.get(workload, 0.0) * one for workload, one in load.items()) / sum(
            load.values()
        )
        refused = _shared(round((attempts - sum(throttled)) * wrong), weights)
        counts = [a - b - c for a, b, c in zip(tried, throttled, refused, strict=True)]
        bad = _whole(max(0, n) * self._errors(name, pool) for name, n in zip(users, counts, strict=True))
        return [
            self._observed(pool, name, max(0, n - b), b, t, r, served * n / max(1, sum(counts)))
            for name, n, b, t, r in zip(users, counts, bad, throttled, refused, strict=True)
        ]

    def _observed(
        self, pool: str, name: str, ok: int, bad: int, throttled: int, refused: int, units: float
    ) -> PoolObservation:
        own = self.of(name)
        result = "connect" if own.cut_off else own.result if pool in own.meets else self.pools[pool].result
        outcomes = Outcomes(ok=ok, throttled=throttled, client_error=refused)
        outcomes = replace(outcomes, **{result: getattr(outcomes, result) + bad})
        if not ok + bad + throttled + refused:
            return PoolObservation(pool)
        if not ok:
            return PoolObservation(pool, outcomes)
        how = self.pools[pool]
        first_ms, waiting = how.first_token_ms, round(ok * how.takes_ms / 1000)
        served = units * ok / (ok + bad)
        left = how.rate_limit_left if how.left_to in ("", name) else None
        return PoolObservation(
            pool, outcomes, served, first_ms, 2 * first_ms, in_flight=waiting, rate_limit_left=left
        )

    def _errors(self, name: str, pool: str) -> float:
        own = self.of(name)
        return 1.0 if own.cut_off else own.meets.get(pool, self.pools[pool].errors)

    def _weights(self, users: list[str]) -> list[float]:
        """Each client's part of the load; clients whose share is not set divide the rest evenly."""
        shares = [self.of(user).share for user in users]
        rest = 1.0 - sum(share for share in shares if share is not None)
        even = rest / max(1, shares.count(None))
        return [even if share is None else share for share in shares]

    def prober_reports(self, source: str, regions: Iterable[tuple[str, str]], now_ms: int) -> None:
        """One window of a prober, every region in a record of its own."""
        for provider, region in regions:
            seen = tuple(
                self._probed(source, pool)
                for pool in self.pools
                if pool.startswith(f"{provider}/{region}/") and self.pools[pool].probed
            )
            if seen:
                self._say(source, provider, region, seen, now_ms)

    def forge(self, source: str, pools: list[str], errors: float, interval_ms: int, now_ms: int) -> None:
        """One report by another producer under the source's name, which promises the next one that late."""
        outcomes = Outcomes(server_error=1) if errors >= 0.5 else Outcomes(ok=1)
        for place in sorted({pool.rsplit("/", 1)[0] for pool in pools}):
            provider, region = place.split("/")
            seen = tuple(PoolObservation(pool, outcomes) for pool in pools if pool.startswith(place + "/"))
            event = Report(
                source, provider, region, "forged", now_ms, now_ms - interval_ms, now_ms, interval_ms, seen,
            )  # fmt: skip
            self._fold(self.reports, f"{place}/{source}", event, "reports", now_ms)

    def _say(
        self, source: str, provider: str, region: str, seen: tuple[PoolObservation, ...], now_ms: int
    ) -> None:
        own = self.of(source)
        end_ms = now_ms + own.skew_ms
        for incarnation in ("one", "two") if own.doubled else ("one",):
            event = Report(
                source, provider, region, incarnation, now_ms, end_ms - own.interval_ms, end_ms,
                own.interval_ms, seen,
            )  # fmt: skip
            self._fold(self.reports, f"{provider}/{region}/{source}", event, "reports", now_ms)

    def fleet_reports(self, regions: Iterable[tuple[str, str]], now_ms: int) -> None:
        """What the fleet source states of every region."""
        for provider, region in regions:
            there = {
                pool: how
                for pool, how in self.pools.items()
                if pool.startswith(f"{provider}/{region}/") and how.stated is not None
            }
            stated = tuple(_stated(pool, how) for pool, how in there.items())
            planned = tuple(
                PlannedChange(pool, how.planned[1], how.planned[0])
                for pool, how in there.items()
                if how.planned is not None
            )
            if stated:
                event = Capacity(
                    "fleet", provider, region, "one", now_ms, now_ms, now_ms + CAPACITY_LIVES_MS, stated,
                    tuple(self.groups.values()), planned,
                )  # fmt: skip
                self._fold(self.capacities, f"{provider}/{region}/fleet", event, "capacity", now_ms)

    def _fold(
        self, rows: dict[str, Row], key: str, event: Report | Capacity, topic: str, now_ms: int
    ) -> None:
        self.offset += 1
        try:
            refuse_future(event, now_ms)
        except Poison:
            self.rejected += 1
        else:
            row = fold(rows.get(key), event, Position(topic, 0, self.offset), now_ms)
            if not isinstance(row, Refusal):
                rows[key] = row

    def _probed(self, source: str, pool: str) -> PoolObservation:
        how, own = self.pools[pool], self.of(source)
        errors = how.errors if how.probe_errors is None else how.probe_errors
        failed = own.cut_off or how.hangs or errors >= 0.5
        result = ResultClass.TIMEOUT.value if own.cut_off or how.hangs else how.result
        if failed and how.probe_part and not own.cut_off:
            return PoolObservation(pool, Outcomes(**{"ok": 1, result: 1}))
        return PoolObservation(pool, Outcomes(**{result if failed else "ok": 1}))


def _stated(pool: str, how: Behaviour) -> PoolCapacity:
    slots = None if how.concurrency is None else round(how.concurrency)
    return PoolCapacity(pool, how.stated or 0.0, requests_per_s=how.requests_per_s, concurrency=slots)


def _shared(count: int, weights: list[float]) -> list[int]:
    """So many whole things among these weights."""
    whole = sum(weights)
    return _whole(count * weight / whole for weight in weights) if whole else [0 for _ in weights]


def _whole(parts: Iterable[float]) -> list[int]:
    """Whole numbers whose sums are those of the parts, as near as whole numbers come."""
    found, so_far, given = [], 0.0, 0
    for part in parts:
        so_far += part
        found.append(round(so_far) - given)
        given = round(so_far)
    return found
