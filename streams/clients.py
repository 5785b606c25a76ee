"""What is remembered of each client of one partition, and how far its word counts. Pure.

A report is a claim. What makes it credible is what came before it and what comes with it:

- **Load** counts as far as the client is served: up to ``GROWTH`` times what it is served and has on its way.
  What it offers beyond that is doubtful, first of all what its largest flows offer, and the controller counts
  little of it (core/capacity/demand.py). A client that says it was served more than all pools can give
  together lies, and nothing it saw counts.
- **Outcomes** count in proportion to what the client is known to send: up to ``GROWTH`` times the attempts
  of it that succeeded of late, and ``ATTEMPTS_FREE_PER_S`` more. A client that was never heard before is a
  newcomer for ``NEWCOMER_MS`` and until something succeeds for it. What newcomers saw is summed apart, and
  counts only where no other client is heard.
- **Silence** is not the end of its load. A client that falls silent without its goodbye (state ``off``) may
  go on serving, so its load is counted on as unheard, for at most ``UNHEARD_MAX_MS`` while others are heard.

A process that takes a partition over does not know its clients. It takes those that report within
``TAKE_OVER_MS`` for the ones of its predecessor: they are no newcomers, and what they offer is taken off the
load that the stored row shows. What is left of that afterwards is unheard, unless as many clients report as
the row counted.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from streams.rows import DemandSecond
from tieline.events import Demand, Flow, PoolObservation, stale_after_ms

CLIENTS_MAX = 50_000
GENERATIONS_MAX = 64
GROWTH = 4.0
ATTEMPTS_FREE_PER_S = 2.0
NEWCOMER_MS = 60_000
TAKE_OVER_MS = 15_000
UNHEARD_MAX_MS = 3_600_000
UNHEARD_SHARE_MIN = 0.1  # of the inherited load: a smaller rest is noise
LATE_INTERVALS = 2  # a client that misses two reports in a row is unheard
LATE_MIN_MS = 2_000
SMOOTHED_OVER_S = 10.0
KNOWN_HALVES_S = 60.0
IN_FLIGHT_S = 5.0  # a request on its way stands for its size over so long

FlowKey = tuple[str, str]
Rates = dict[FlowKey, tuple[float, float]]
"""(workload, origin) -> (units/s, requests/s)."""


class Client(NamedTuple):
    """What is remembered of a client's reports. Rates are per second, smoothed.

    ``known_since_ms``: when it was first heard, 0 if it was there before this process. ``counted_ms``: until
    when its load is counted. ``served``: units/s that it is served. ``attempts``: attempts/s that count.
    """

    incarnation: str
    sequence: int
    generation: str
    heard_ms: int
    interval_ms: int
    failing: frozenset[str]
    near_limit: frozenset[str]
    of_its_own: bool
    known_since_ms: int
    counted_ms: int
    rates: Rates
    served: float
    attempts: float

    def is_newcomer(self, at_ms: int) -> bool:
        """Whether too little is known of it for its word to count beside that of others."""
        is_young = at_ms - self.known_since_ms < NEWCOMER_MS
        return self.known_since_ms > 0 and (is_young or not self.attempts)

    def late_after_ms(self, resumed_ms: int) -> int:
        """From when on it is unheard, if it could report again from ``resumed_ms`` on."""
        late_ms = max(LATE_MIN_MS, LATE_INTERVALS * self.interval_ms)
        return max(self.heard_ms, resumed_ms) + late_ms

    @property
    def silent_after_ms(self) -> int:
        """From when on its last word is no evidence any more."""
        return self.heard_ms + stale_after_ms(self.interval_ms)


class Standing(NamedTuple):
    """How far one report counts. ``flow_units_max``: the most units of any one flow that are credible;
    ``weight``: the share of its attempts."""

    newcomer: bool
    lies: bool
    flow_units_max: float
    weight: float
    served: float
    attempts: float


class Unheard(NamedTuple):
    """Load of a flow that silent clients had between two times: ``units`` and ``requests`` in all."""

    key: FlowKey
    units: float
    requests: float
    from_ms: int
    until_ms: int


class Clients:
    """The clients of one partition. ``stored``: the newest whole second of the row that was taken over."""

    def __init__(self, stored: DemandSecond | None, generations: dict[str, int]) -> None:
        self._known: OrderedDict[str, Client] = OrderedDict()
        self._silent: OrderedDict[str, Client] = OrderedDict()
        self._generations: Counter[str] = Counter()
        self._stored_generations = generations
        self._inherited = _rates_of(stored)
        self._inherited_whole = dict(self._inherited)
        self._predecessors = _clients_of(stored, generations)
        self._began_ms = 0
        self._counted_ms = 0
        self._asked_ms = 0
        self._resumed_ms = 0

    def get(self, name: str) -> Client | None:
        """What is remembered of a client that is heard."""
        return self._known.get(name)

    @property
    def generations(self) -> dict[str, int]:
        """Generation of the table in use -> number of clients, for those that most use; the stored ones until
        somebody is heard."""
        if not self._began_ms:
            return self._stored_generations
        ranking = sorted(self._generations.items(), key=lambda item: (-item[1], item[0]))
        return dict(sorted(ranking[:GENERATIONS_MAX]))

    def standing(
        self, event: Demand, flows: Sequence[Flow], at_ms: int, limit_units_per_s: float
    ) -> Standing:
        """How far a report counts. ``flows``: those of it that the policy names; ``limit_units_per_s``: what
        all pools can give together."""
        self._began_ms = self._began_ms or at_ms
        before, seconds = self._known.get(event.client), window_s(event)
        served_now = sum(row.units for row in event.pools) / seconds
        attempts_now = sum(_attempts(row) for row in event.pools) / seconds
        is_new = before is None and self._is_new(event.client, at_ms)
        attempts = sum(row.outcomes.ok for row in event.pools) / seconds
        if before is not None:
            attempts = max(attempts, before.attempts * 0.5 ** (seconds / KNOWN_HALVES_S))
        elif not is_new:
            attempts = attempts_now
        most = GROWTH * attempts + ATTEMPTS_FREE_PER_S
        served = max(served_now + _on_its_way(event, flows), _faded(before, event, seconds))
        credit = GROWTH * served * seconds
        return Standing(
            newcomer=before.is_newcomer(at_ms) if before else is_new,
            lies=served_now > limit_units_per_s,
            flow_units_max=_credible_most([flow.offered_units for flow in flows], credit),
            weight=1.0 if attempts_now <= most else most / attempts_now,
            served=served,
            attempts=attempts,
        )

    def remember(
        self,
        event: Demand,
        standing: Standing,
        flows: Iterable[Flow],
        at_ms: int,
        *,
        failing: frozenset[str],
        near_limit: frozenset[str],
        of_its_own: bool,
    ) -> Client:
        """Takes the report in. ``flows``: those that count, each as far as it is credible."""
        before = self._known.pop(event.client, None)
        if before is not None:
            self._drop_generation(before.generation)
        earlier = before or self._silent.pop(event.client, None)
        now = _rates_in(flows, window_s(event))
        since_ms = at_ms if self._is_new(event.client, at_ms) and earlier is None else 0
        if earlier is None and not since_ms:
            self._take_off_inherited(now)
        client = Client(
            incarnation=event.incarnation,
            sequence=event.sequence,
            generation=event.generation,
            heard_ms=at_ms,
            interval_ms=event.interval_ms,
            failing=failing,
            near_limit=near_limit,
            of_its_own=of_its_own,
            known_since_ms=earlier.known_since_ms if earlier else since_ms,
            counted_ms=at_ms,
            rates=_smoothed(earlier.rates, now, window_s(event)) if earlier else now,
            served=0.0 if standing.lies else standing.served,
            attempts=standing.attempts,
        )
        if event.state != "off":
            self._known[event.client] = client
            self._generations[client.generation] += 1
        while len(self._known) > CLIENTS_MAX:
            _, oldest = self._known.popitem(last=False)
            self._drop_generation(oldest.generation)
        return client

    def unheard(self, until_ms: int, reporting: str) -> Iterator[Unheard]:
        """The load of clients that are silent without a goodbye, since this was last asked.

        ``reporting``: the client whose report has just come.
        """
        if until_ms - self._asked_ms > LATE_MIN_MS:
            self._resumed_ms = until_ms  # nobody was heard for a while, and all may report again now
        self._asked_ms = until_ms
        for name, client in list(self._known.items()):
            if client.late_after_ms(self._resumed_ms) > until_ms or name == reporting:
                continue
            yield from _amounts(client.rates, max(client.counted_ms, self._resumed_ms), until_ms)
            if client.silent_after_ms < until_ms:
                self._drop_generation(client.generation)
                self._silent[name] = self._known.pop(name)._replace(counted_ms=until_ms)
            else:
                self._known[name] = client._replace(counted_ms=until_ms)
        for name, client in list(self._silent.items()):
            if until_ms - client.heard_ms > UNHEARD_MAX_MS or len(self._silent) > CLIENTS_MAX:
                del self._silent[name]
            elif name != reporting:
                yield from _amounts(client.rates, max(client.counted_ms, self._resumed_ms), until_ms)
                self._silent[name] = client._replace(counted_ms=until_ms)
        yield from self._unheard_of_predecessor(until_ms)

    def _unheard_of_predecessor(self, until_ms: int) -> Iterator[Unheard]:
        """What the row showed at the take-over and nobody has reported since."""
        from_ms, self._counted_ms = self._counted_ms, until_ms
        age_ms = until_ms - self._began_ms
        if not self._inherited or age_ms <= TAKE_OVER_MS:
            return
        if age_ms > UNHEARD_MAX_MS or self._heard_all_of_predecessor():
            self._inherited = {}
            return
        whole = self._inherited_whole
        rest = {
            key: rate for key, rate in self._inherited.items() if rate[0] > UNHEARD_SHARE_MIN * whole[key][0]
        }
        self._inherited = rest
        from_ms = max(from_ms, self._began_ms + TAKE_OVER_MS, self._resumed_ms)
        yield from _amounts(rest, from_ms, until_ms)

    def _heard_all_of_predecessor(self) -> bool:
        """Whether as many clients have reported as it had: then load that is missing has gone down."""
        if self._predecessors is None:
            return False
        clients = (*self._known.values(), *self._silent.values())
        return sum(not client.known_since_ms for client in clients) >= self._predecessors

    def _is_new(self, name: str, at_ms: int) -> bool:
        return name not in self._silent and at_ms - self._began_ms >= TAKE_OVER_MS

    def _take_off_inherited(self, rates: Rates) -> None:
        for key, (units, requests) in rates.items():
            if (left := self._inherited.get(key)) is not None:
                self._inherited[key] = (max(0.0, left[0] - units), max(0.0, left[1] - requests))

    def _drop_generation(self, generation: str) -> None:
        self._generations[generation] -= 1
        if self._generations[generation] <= 0:
            del self._generations[generation]


def window_s(event: Demand) -> float:
    """The length of a report's window in seconds, no less than a tenth of one."""
    return max(0.1, (event.window_end_ms - event.window_start_ms) / 1_000)


def _credible_most(offered: Sequence[float], credit: float) -> float:
    """The most of each that counts so that all together are within the credit; infinite if all are.

    A flow that offers too much takes no credit from the client's smaller ones.
    """
    left = credit
    for position, units in enumerate(sorted(offered)):
        even_share = left / (len(offered) - position)
        if units > even_share:
            return even_share
        left -= units
    return float("inf")


def _attempts(observation: PoolObservation) -> int:
    out = observation.outcomes
    return out.health_attempts + out.throttled + out.configuration_faults + out.client_error


def _on_its_way(event: Demand, flows: Sequence[Flow]) -> float:
    """Units/s that requests in flight stand for, at the size of those that were offered."""
    requests, offered = sum(flow.requests for flow in flows), sum(flow.offered_units for flow in flows)
    in_flight = min(sum(row.in_flight for row in event.pools), IN_FLIGHT_S / window_s(event) * requests)
    return in_flight * offered / requests / IN_FLIGHT_S if requests else 0.0


def _faded(before: Client | None, event: Demand, seconds: float) -> float:
    """What the client was served before, halved each minute; held while the table has it shed."""
    if before is None:
        return 0.0
    if any(flow.shed_units or flow.shed_requests for flow in event.flows):
        return before.served
    return before.served * float(0.5 ** (seconds / KNOWN_HALVES_S))


def _towards(before: float, now: float, seconds: float) -> float:
    return before + (now - before) * min(1.0, seconds / SMOOTHED_OVER_S)


def _rates_in(flows: Iterable[Flow], seconds: float) -> Rates:
    rates: Rates = {}
    for flow in flows:
        units, requests = rates.get((flow.workload, flow.origin), (0.0, 0.0))
        key = (flow.workload, flow.origin)
        rates[key] = (units + flow.offered_units / seconds, requests + flow.requests / seconds)
    return rates


def _clients_of(second: DemandSecond | None, generations: dict[str, int]) -> int | None:
    """How many clients a stored row had; None if it doesn't say, as some were silent or it lists a part."""
    has_silent = second is not None and any(flow.unheard_units for flow in second.flows)
    return None if has_silent or len(generations) >= GENERATIONS_MAX else sum(generations.values())


def _rates_of(second: DemandSecond | None) -> Rates:
    """The load of one second, what was unheard then included."""
    if second is None:
        return {}
    return {
        (flow.workload, flow.origin): (
            flow.offered_units - flow.doubtful_units + flow.unheard_units,
            flow.requests + flow.unheard_requests,
        )
        for flow in second.flows
    }


def _smoothed(before: Rates, now: Rates, seconds: float) -> Rates:
    smoothed: Rates = {}
    for key in {**before, **now}:
        old, new = before.get(key, (0.0, 0.0)), now.get(key, (0.0, 0.0))
        smoothed[key] = (_towards(old[0], new[0], seconds), _towards(old[1], new[1], seconds))
    return smoothed


def _amounts(rates: Rates, from_ms: int, until_ms: int) -> Iterator[Unheard]:
    seconds = (until_ms - from_ms) / 1_000
    if seconds > 0:
        for key, (units, requests) in rates.items():
            yield Unheard(key, units * seconds, requests * seconds, from_ms=from_ms, until_ms=until_ms)
