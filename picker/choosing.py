"""Which pool a request goes to, by the client library, and what is told it about how the request ended.

Each workload has a client of its own, which holds its tables in memory, keeps away from pools that fail, and
reports demand and outcomes. So the planner sees Envoy's traffic as it sees that of applications. What Envoy
does not show is estimated: the load of a request by its length, that of its answer by a setting.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from msgspec import Struct

import tieline
from picker.answers import Destination
from picker.endpoints import Endpoints
from picker.settings import PickerFile, Rule
from tieline.providers.answers import reading_of_status

CHARACTERS_PER_UNIT = 4
FALLBACK_KEPT_MS = 250  # to name the next pool takes longer than to pick, so it is not done for each request
FALLBACKS_KEPT_MAX = 4_096
_NO_RULE = tieline.Shed(tieline.Reason.NO_ROUTE, "no rule of the picker's file fits this request")
_NO_ENDPOINT = "the picker knows no address of these pools"


class Request(Struct, frozen=True):
    """What is known of a request when a pool is picked. ``subset``: the only addresses that Envoy allows;
    None for any."""

    headers: Mapping[str, str]
    model: str = ""
    body_bytes: int = 0
    subset: frozenset[str] | None = None


class Hop(Struct, frozen=True):
    """A pool that a request may go to, and at which address."""

    route: tieline.Route
    endpoint: str = ""


class Ended(Struct, frozen=True):
    """How Envoy's attempts ended. ``status``: of the answer; 0: the caller went away without one.
    ``by_envoy``: Envoy made the answer itself, as no pool gave one. ``endpoint``: the address that answered,
    where Envoy says so."""

    status: int
    waited_ms: int
    by_envoy: bool = False
    endpoint: str = ""
    is_stream: bool = False
    retry_after_ms: int | None = None


class Journey:
    """One request on its way. ``hops``: where it may go, in order."""

    __slots__ = ("_client", "_endpoints", "_flight", "_is_over", "destination", "hops", "number", "units")

    def __init__(
        self,
        client: tieline.AsyncClient,
        hops: tuple[Hop, ...],
        endpoints: Endpoints,
        *,
        units: float,
        number: int,
        now_ms: int,
    ) -> None:
        self._client, self._endpoints = client, endpoints
        self.hops, self.units, self.number = hops, units, number
        first = hops[0].route
        named = tuple(hop.endpoint for hop in hops if hop.endpoint)
        self.destination = Destination(first.pool, first.generation, str(first.reason), endpoints=named)
        self._flight = client.core.flights.begin(first.pool, now_ms)
        self._is_over = False
        endpoints.began(hops[0].endpoint)

    def leave(self) -> None:
        """It is over, and nobody knows how."""
        if not self._is_over:
            self._is_over = True
            self._client.core.flights.end(self._flight)
            self._endpoints.ended(self.hops[0].endpoint)

    def end(self, ended: Ended) -> Hop:
        """It is over: its pools are told how. Returns the hop that answered."""
        answered = next(
            (hop for hop in self.hops if hop.endpoint and hop.endpoint == ended.endpoint), self.hops[0]
        )
        if self._is_over:
            return answered
        self.leave()
        if not ended.status:
            self._given_up(ended)
            return answered
        for hop in self.hops[: self.hops.index(answered)]:
            hop.route.report(tieline.Outcome(tieline.ResultClass.CONNECT))
        answered.route.report(self._outcome(answered.route, ended))
        return answered

    def _outcome(self, route: tieline.Route, ended: Ended) -> tieline.Outcome:
        if ended.by_envoy and ended.status in (503, 504):
            result = tieline.ResultClass.TIMEOUT if ended.status == 504 else tieline.ResultClass.CONNECT
            return tieline.Outcome(result, waited_ms=ended.waited_ms if ended.status == 504 else 0)
        reading = reading_of_status(ended.status, names_model=bool(route.target.model))
        is_ok = reading.result is tieline.ResultClass.OK
        return tieline.Outcome(
            reading.result,
            units=self.units if is_ok else 0.0,
            first_token_ms=ended.waited_ms if is_ok and ended.is_stream else None,
            whole_ms=ended.waited_ms if is_ok and not ended.is_stream else None,
            retry_after_ms=ended.retry_after_ms,
            blame=reading.blame,
            subject=self.number,
        )

    def _given_up(self, ended: Ended) -> None:
        """A caller who left sooner than the table's limit, or than answers may take there, says nothing about
        the pool. (Where Envoy sends no response headers, every request seems to end so, at once.)"""
        core, route = self._client.core, self.hops[0].route
        limit_ms = core.settings().first_token_timeout_ms
        if ended.waited_ms < limit_ms or core.router.is_impatient(
            route.target, ended.waited_ms, is_stream=True
        ):
            return
        timeout = tieline.Outcome(tieline.ResultClass.TIMEOUT, waited_ms=ended.waited_ms, limit_ms=limit_ms)
        route.report(timeout)


class _Fallbacks(Struct):
    routes: tuple[tieline.Route, ...]
    until_ms: int


class Desk:
    """Picks for all requests. ``clients``: by workload."""

    def __init__(
        self, file: PickerFile, clients: Mapping[str, tieline.AsyncClient], endpoints: Endpoints
    ) -> None:
        self._file, self._clients, self._endpoints = file, clients, endpoints
        self._by_endpoint = file.destination == "endpoint"
        self._fallbacks: dict[tuple[str, ...], _Fallbacks] = {}
        self._number = 0

    def rule_for(self, headers: Mapping[str, str]) -> Rule | None:
        """The first rule that fits a request."""
        path = headers.get(":path", "")
        for rule in self._file.routes:
            if path.startswith(rule.path_prefix) and all(
                headers.get(name) == value for name, value in rule.headers.items()
            ):
                return rule
        return None

    def pick(self, request: Request, now_ms: int) -> Journey | tieline.Shed:
        """Where the request goes, or why nowhere. Counts its load as offered."""
        rule = self.rule_for(request.headers)
        if rule is None:
            return _NO_RULE
        core = self._clients[rule.workload].core
        units = self._units(request, core.settings().load_unit)
        core.window.offered(rule.origin, units)
        hops = self._hops(rule, request, now_ms)
        if isinstance(hops, tieline.Shed):
            core.window.shed(rule.origin, units)
            return hops
        self._number += 1
        return Journey(
            self._clients[rule.workload],
            hops,
            self._endpoints,
            units=units,
            number=self._number,
            now_ms=now_ms,
        )

    def _hops(self, rule: Rule, request: Request, now_ms: int) -> tuple[Hop, ...] | tieline.Shed:
        router = self._clients[rule.workload].core.router
        model = request.model or rule.model
        session = request.headers.get(self._file.session_header) or None
        choice: tieline.Route | tieline.Shed = router.choose(model, session=session, origin=rule.origin)
        passed: set[str] = set()
        while True:
            if isinstance(choice, tieline.Shed):
                fallback = self._last_resort(rule, choice, request, now_ms)
                if fallback is not None:
                    return (fallback,)
                if choice.fallbacks or passed:
                    router.turned_away(rule.origin)
                return choice if not passed else _without_addresses(passed)
            if (hop := self._hop(choice, request.subset)) is not None:
                return (hop, *self._next_hops(rule, model, hop, request.subset, now_ms))
            passed.add(choice.pool)
            choice = router.choose(model, exclude=passed, origin=rule.origin)

    def _last_resort(self, rule: Rule, shed: tieline.Shed, request: Request, now_ms: int) -> Hop | None:
        """The first pool of the table's last resort that takes a request now and has an address."""
        router = self._clients[rule.workload].core.router
        for route in shed.fallbacks:
            if (hop := self._hop(route, request.subset)) and router.reserve(
                route.pool, now_ms, 1
            ) is not None:
                return hop
        return None

    def _hop(self, route: tieline.Route, subset: Collection[str] | None) -> Hop | None:
        if not self._by_endpoint:
            return Hop(route)
        endpoint = self._endpoints.choose(route.pool, subset)
        return None if endpoint is None else Hop(route, endpoint)

    def _next_hops(
        self, rule: Rule, model: str, first: Hop, subset: Collection[str] | None, now_ms: int
    ) -> Iterator[Hop]:
        """Where Envoy may retry: other pools, each at one address."""
        if not self._by_endpoint or not self._file.fallbacks:
            return
        for route in self._next_routes(rule, model, first.route, now_ms):
            if (hop := self._hop(route, subset)) is not None:
                yield hop

    def _next_routes(
        self, rule: Rule, model: str, first: tieline.Route, now_ms: int
    ) -> Sequence[tieline.Route]:
        # By generation, so that no pool is named that a newer table has taken out.
        key = (rule.workload, rule.origin, model, first.pool, first.generation)
        entry = self._fallbacks.get(key)
        if entry is None or now_ms >= entry.until_ms:
            if len(self._fallbacks) >= FALLBACKS_KEPT_MAX:
                self._fallbacks.clear()
            routes = tuple(self._other_routes(rule, model, first.pool))
            entry = self._fallbacks[key] = _Fallbacks(routes, now_ms + FALLBACK_KEPT_MS)
        return entry.routes

    def _other_routes(self, rule: Rule, model: str, pool: str) -> Iterator[tieline.Route]:
        router, passed = self._clients[rule.workload].core.router, {pool}
        for _ in range(self._file.fallbacks):
            choice = router.choose(model, exclude=passed, origin=rule.origin)
            if isinstance(choice, tieline.Shed):
                return
            passed.add(choice.pool)
            yield choice

    def _units(self, request: Request, load_unit: str) -> float:
        if load_unit == "requests":
            return 1.0
        return request.body_bytes / CHARACTERS_PER_UNIT + self._file.output_units


def _without_addresses(pools: Collection[str]) -> tieline.Shed:
    return tieline.Shed(tieline.Reason.NO_POOL, _NO_ENDPOINT, why=tuple(sorted(pools)))
