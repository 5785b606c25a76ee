"""What clients, probers and the fleet say, late, and folded into rows as the controllers fold it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random

from controller.core.policy.registry import registry_of
from lab.sim.fleet import Outcome, PoolNature, Traffic
from lab.sim.spec import FuzzWorld
from lab.sim.weather import Weather
from lab.simulated.clocks import START_MS
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
    in_scope,
)

UNITS_PER_REQUEST = 10.0
PROBE_EVERY_S = 2
STATED_EVERY_S = 5
STATED_FOR_MS = 30_000
LIAR = "client-liar"


class Reports:
    """Everything on its way, and the rows that have arrived.

    ``rows`` are by (topic, key). ``arrive`` moves what is due into them. The order of arrival is kept for
    each producer, as Kafka keeps it within a partition.
    """

    def __init__(self, world: FuzzWorld) -> None:
        self._random = Random(f"{world.seed} reports")
        self._delay_max_ms = world.delay_max_ms
        self._sources = world.policy.sources
        self._registry = registry_of(world.policy)
        self._regions = sorted({(pool.provider, pool.region) for pool in world.policy.pools})
        self._groups: dict[tuple[str, str], set[str]] = {}
        for pool in world.policy.pools:
            self._groups.setdefault((pool.provider, pool.region), set()).update(pool.quota_groups)
        self._on_way: list[tuple[int, int, str, Demand | Report | Capacity]] = []
        self._last_ms: dict[str, int] = {}
        self._parts: dict[tuple[str, str, str], float] = {}
        self._offset = 0
        self.rows: dict[tuple[str, str], Row] = {}
        self.sums = DemandFold()

    def clients_saw(
        self,
        outcome: Outcome,
        shares: Mapping[str, float],
        natures: Mapping[str, PoolNature],
        left: Mapping[tuple[str, str], int],
        now_ms: int,
        cut_off: frozenset[str],
    ) -> None:
        """One second of every client. ``cut_off``: clients whose own network fails."""
        by_client: dict[str, list[PoolObservation]] = {name: [] for name in shares}
        for (client, pool), traffic in outcome.traffic.items():
            by_client[client].append(self._observed(client, pool, traffic, natures[pool], client in cut_off))
        second = now_ms // 1000
        for (client, pool), until_s in left.items():
            if until_s * 1_000 + START_MS > now_ms and pool not in {row.pool for row in by_client[client]}:
                by_client[client].append(PoolObservation(pool, ejected=ResultClass.SERVER_ERROR))
        for client, part in shares.items():
            flows = tuple(self._flow(client, route, outcome, part) for route in outcome.wanted)
            event = Demand(
                client, "one", second, window_start_ms=now_ms - 1_000, window_end_ms=now_ms,
                interval_ms=1_000, flows=flows, pools=tuple(by_client[client]),
            )  # fmt: skip
            self._send(client, event, now_ms)

    def liar_claims(self, route: str, units: float, now_ms: int) -> None:
        """One record of a client that claims demand which nobody has."""
        workload, origin = route.split("/")
        event = Demand(
            LIAR, "one", now_ms // 1000, window_start_ms=now_ms - 1_000, window_end_ms=now_ms,
            interval_ms=1_000, flows=(Flow(workload, origin, requests=1, offered_units=units),),
        )  # fmt: skip
        self._send(LIAR, event, now_ms)

    def sources_say(self, weather: Weather, now_ms: int) -> None:
        """What probers and the fleet send in this second."""
        for source in self._sources:
            if source.kind == "probe" and weather.second % PROBE_EVERY_S == 0:
                names = [pool for pool in weather.natures if in_scope(pool, source.scope)]
                results = {pool: weather.probed(pool) for pool in names}
                self.prober_saw(source.id, results, now_ms)
            elif source.kind == "fleet" and weather.second % STATED_EVERY_S == 1:
                self.fleet_states(weather.stated, weather.group_stated, weather.planned, now_ms)

    def prober_saw(self, source: str, results: Mapping[str, ResultClass], now_ms: int) -> None:
        """One window of a prober: the result of one request to each pool."""
        for provider, region in self._regions:
            observations = tuple(
                PoolObservation(pool, Outcomes(**{result.value: 1}))
                for pool, result in sorted(results.items())
                if in_scope(pool, f"{provider}/{region}")
            )
            if not observations:
                continue
            event = Report(
                source, provider, region, incarnation="one", sequence=now_ms // 1000,
                window_start_ms=now_ms - PROBE_EVERY_S * 1_000, window_end_ms=now_ms,
                interval_ms=PROBE_EVERY_S * 1_000, pools=observations,
            )  # fmt: skip
            self._send(f"{source} {provider}/{region}", event, now_ms)

    def fleet_states(
        self,
        limits: Mapping[str, float],
        groups: Mapping[str, float],
        planned: Iterable[PlannedChange],
        now_ms: int,
    ) -> None:
        """What the fleet source states of every region."""
        changes = tuple(planned)
        for provider, region in self._regions:
            scope = f"{provider}/{region}"
            names = sorted(self._groups[provider, region])
            event = Capacity(
                "fleet", provider, region, incarnation="one", sequence=now_ms // 1000, issued_ms=now_ms,
                expires_ms=now_ms + STATED_FOR_MS,
                pools=tuple(PoolCapacity(p, limits[p]) for p in sorted(limits) if in_scope(p, scope)),
                groups=tuple(GroupCapacity(name, groups[name]) for name in names),
                planned=tuple(change for change in changes if in_scope(change.pool, scope)),
            )  # fmt: skip
            self._send(f"fleet {scope}", event, now_ms)

    def arrive(self, now_ms: int, lost: frozenset[str]) -> None:
        """Folds what has arrived by now. ``lost``: producers whose records never arrive."""
        due = sorted(item for item in self._on_way if item[0] <= now_ms)
        self._on_way = [item for item in self._on_way if item[0] > now_ms]
        for at_ms, _, producer, event in due:
            if producer.split(" ")[0] in lost:
                continue
            self._offset += 1
            try:
                refuse_future(event, at_ms)
            except Poison:
                continue
            self._fold(producer, event, at_ms)

    def demand_rows(self) -> tuple[DemandRow, ...]:
        """The one partition, once somebody has reported."""
        return (self.sums.row(),) if self.sums.position is not None else ()

    def of(self, topic: str) -> tuple[Row, ...]:
        """The rows of one topic, sorted by key."""
        return tuple(row for (name, _), row in sorted(self.rows.items()) if name == topic)

    def rebuild(self) -> None:
        """Another process goes on with the stored rows, without what the last one kept in memory."""
        rows = self.demand_rows()
        self.sums = DemandFold(rows[0] if rows else None)

    def _fold(self, producer: str, event: Demand | Report | Capacity, at_ms: int) -> None:
        if isinstance(event, Demand):
            self.sums.add(event, Position("demand", 0, self._offset), at_ms, self._registry)
            return
        topic = "reports" if isinstance(event, Report) else "capacity"
        row = fold(self.rows.get((topic, producer)), event, Position(topic, 0, self._offset), at_ms)
        if not isinstance(row, Refusal):
            self.rows[topic, producer] = row

    def _send(self, producer: str, event: Demand | Report | Capacity, now_ms: int) -> None:
        delay_ms = self._random.randint(0, self._delay_max_ms) if self._delay_max_ms else 0
        at_ms = max(now_ms + delay_ms, self._last_ms.get(producer, 0))
        self._last_ms[producer] = at_ms
        self._offset += 1
        self._on_way.append((at_ms, self._offset, producer, event))

    def _flow(self, client: str, route: str, outcome: Outcome, part: float) -> Flow:
        workload, origin = route.split("/")
        wanted, shed = outcome.wanted[route] * part, outcome.shed[route] * part
        requests = self._whole(client, route, "wanted", wanted / UNITS_PER_REQUEST)
        turned_away = min(self._whole(client, route, "shed", shed / UNITS_PER_REQUEST), requests)
        return Flow(
            workload,
            origin,
            requests=requests,
            offered_units=wanted,
            shed_requests=turned_away,
            shed_units=shed,
        )

    def _observed(
        self, client: str, pool: str, traffic: Traffic, nature: PoolNature, cut_off: bool
    ) -> PoolObservation:
        sent = self._whole(client, pool, "sent", traffic.sent / UNITS_PER_REQUEST)
        if not sent:
            return PoolObservation(pool)
        if cut_off:
            return PoolObservation(pool, Outcomes(connect=sent))
        if nature.hangs:
            return PoolObservation(pool, in_flight=sent, oldest_in_flight_ms=min(nature.hung_s, 60) * 1_000)
        throttled = min(sent, self._whole(client, pool, "throttled", sent * traffic.throttled / traffic.sent))
        rest = traffic.sent - traffic.throttled
        share = traffic.failed / rest if rest > 0 else 0.0
        failed = min(sent - throttled, self._whole(client, pool, "failed", (sent - throttled) * share))
        counts = Outcomes(ok=sent - throttled - failed, throttled=throttled)
        counts = Outcomes(ok=counts.ok, throttled=throttled, **{nature.result: failed})
        if not counts.ok:
            return PoolObservation(pool, counts)
        first_ms = nature.first_token_ms
        return PoolObservation(
            pool, counts, units=traffic.served, first_token_p50_ms=first_ms, first_token_p99_ms=2 * first_ms
        )

    def _whole(self, client: str, place: str, kind: str, amount: float) -> int:
        """A whole number now, so that the sum over time is right."""
        total = self._parts.get((client, place, kind), 0.0) + amount
        whole = int(total + 1e-9)
        self._parts[client, place, kind] = total - whole
        return whole
