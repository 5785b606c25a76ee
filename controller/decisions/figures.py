"""What the leader tells about its decisions over ``/metrics``: pools, load, what is shed, margins and delays.

Only the controller that leads tells it, so that a sum or maximum over all controllers counts everything once.
What is told was worked out by the last decision; a scrape decides nothing anew. N-1 is asked here as well,
one loss at a time after a decision that publishes nothing, and so seldom that an urgent event hardly ever
waits for it.
"""

from collections import Counter
from typing import NamedTuple, get_args

from prometheus_client import Histogram

from controller.core.assessment import Assessment
from controller.core.capacity.usable import UNBOUNDED
from controller.core.evidence.reported import pool_loads, publications_behind, reporting_clients
from controller.core.inspect.measure import pool_shares
from controller.core.inspect.n_minus_1 import Margin, margin_without
from controller.core.inspect.what_if import Loss, single_losses
from controller.core.model.reasons import State, Verdict
from controller.core.policy.policy import Policy
from controller.core.snapshot import Snapshot
from controller.decisions.event_delays import EventDelays
from controller.process.clock import stopwatch_s
from controller.process.monitor import Figure, LabelValues, histogram, labelled, single
from tieline.events import WITHOUT_END, Verb
from tieline.table import MILLION, Generation, RouteTable

DECISION_BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
DELAY_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LOSS_EVERY_S = 1.0
LOSS_SHARE_MAX = 0.01  # of the leader's time
ORDERS = tuple(verb for verb in get_args(Verb) if verb not in WITHOUT_END)
ROUTE_LABELS = ("workload", "origin", "criticality")
BEHIND = ("0", "1", "2-9", "10+", "other")


class LastDecision(NamedTuple):
    """The last decision: what it was made from, what was thought of it, and the alarms that stand."""

    snapshot: Snapshot
    assessment: Assessment
    alarms: tuple[Verdict, ...]
    at_ms: int


class DecisionFigures:
    """What the agent notes as it decides, and the figures that follow. Empty while it does not lead."""

    def __init__(self) -> None:
        self._last: LastDecision | None = None
        self._delays = EventDelays()
        self._margins = MarginWatch()
        self._step = histogram("decision_seconds", "Time that one decision takes", DECISION_BOUNDS_S)
        self._to_redis = histogram(
            "event_to_projected_seconds",
            "From an event in Kafka to the urgent table in Redis that it caused",
            DELAY_BOUNDS_S,
        )
        self._to_clients = histogram(
            "event_to_applied_seconds",
            "From an event in Kafka until nearly all clients report the urgent table that it caused",
            DELAY_BOUNDS_S,
        )

    @property
    def histograms(self) -> tuple[Histogram, ...]:
        """Times of this process's own decisions; they stay when it stands by."""
        return (self._step, self._to_redis, self._to_clients)

    def step_took(self, seconds: float) -> None:
        """One step of the planner took so long."""
        self._step.observe(seconds)

    def note_decision(self, last: LastDecision) -> None:
        """A decision was made, and published if it owed that."""
        self._last = last
        if not self._delays.awaits_clients:
            return
        clients = reporting_clients(last.snapshot.demand, last.at_ms)
        for seconds in self._delays.applied(clients.generations, last.at_ms):
            self._to_clients.observe(seconds)

    def published(self, generation: Generation, event_ms: int) -> None:
        """An urgent table was published because of an event of that instant, by the brokers' clock."""
        self._delays.published(generation, event_ms)

    def projected(self, generation: Generation, now_ms: int) -> None:
        """Redis has the table of this generation."""
        for seconds in self._delays.projected(generation, now_ms):
            self._to_redis.observe(seconds)

    def look_at_a_loss(self) -> None:
        """Works out the margin under one more loss, if that is due. Called when nothing else is."""
        if self._last is not None:
            self._margins.look(self._last)

    def stand_by(self) -> None:
        """This controller leads no more."""
        self._last = None
        self._delays.clear()
        self._margins.clear()

    def figures(self, table: RouteTable | None, now_ms: int) -> tuple[Figure, ...]:
        """All figures; none while this controller does not lead or has not last. ``table`` is in force."""
        if self._last is None or table is None:
            return ()
        return (
            *_pools(self._last, table, now_ms),
            *_routes(self._last, table),
            *_clients(self._last.snapshot, table, now_ms),
            *_words(self._last),
            *margin_figures(self._margins.margins),
        )


class MarginWatch:
    """Asks what one loss after another would leave, in turn, and remembers each answer."""

    def __init__(self) -> None:
        self.margins: dict[tuple[str, str], Margin] = {}
        self._policy: Policy | None = None
        self._losses: tuple[Loss, ...] = ()
        self._turn = 0
        self._due_s = 0.0

    def look(self, last: LastDecision) -> None:
        """One loss, if one is due. Nothing before the first table."""
        began_s = stopwatch_s()
        policy = last.snapshot.policy
        if policy is not self._policy:
            self.clear()
            self._policy, self._losses = policy, in_turn(single_losses(policy))
        losses = self._losses
        if last.snapshot.table is None or began_s < self._due_s or not losses:
            return
        loss = losses[self._turn % len(losses)]
        self._turn += 1
        self.margins[loss.kind, loss.name] = margin_without(last.snapshot, last.assessment, loss)
        took_s = stopwatch_s() - began_s
        self._due_s = began_s + max(LOSS_EVERY_S, took_s / LOSS_SHARE_MAX)

    def clear(self) -> None:
        """Forgets all answers."""
        self.margins, self._policy, self._turn = {}, None, 0


def in_turn(losses: tuple[Loss, ...]) -> tuple[Loss, ...]:
    """The order in which losses are asked: every other one is a provider, as there are few, and most alerts
    and panels are about them."""
    providers = [loss for loss in losses if loss.kind == "provider"]
    others = [loss for loss in losses if loss.kind != "provider"]
    if not providers or not others:
        return losses
    turns = max(len(providers), len(others))
    pairs = ((providers[n % len(providers)], others[n % len(others)]) for n in range(turns))
    return tuple(loss for pair in pairs for loss in pair)


def margin_figures(margins: dict[tuple[str, str], Margin]) -> tuple[Figure, ...]:
    """What each loss would leave, by the kind and name of what is lost."""
    ratios: dict[LabelValues, float] = {key: margin.ratio for key, margin in margins.items()}
    shed: dict[LabelValues, float] = {
        (*key, criticality): units
        for key, margin in margins.items()
        for criticality, units in margin.shed.items()
    }
    return (
        Figure(
            "n_minus_1_margin_ratio",
            "Room left if this is lost, as a share of all load; below 0: the share that would not be served",
            ratios,
            labels=("kind", "lost"),
        ),
        Figure(
            "n_minus_1_shed_units_per_second",
            "Load that would not be served if this is lost",
            shed,
            labels=("kind", "lost", "criticality"),
        ),
    )


def _pools(last: LastDecision, table: RouteTable, now_ms: int) -> tuple[Figure, ...]:
    assessment = last.assessment
    names, caps = assessment.compiled.pools, assessment.caps.pools
    memories, withdrawn = assessment.memory.pools, assessment.claims.withdrawn
    states: dict[LabelValues, float] = {
        (name, memories[name].state.value): 1.0 for name in names if name in memories
    }
    # Where a provider's mode sets no bound, the pool's whole limit may be used.
    usable = {
        name: 0.0
        if index in withdrawn or memories[name].state is State.DOWN
        else (caps[index].limit if units == UNBOUNDED else units)
        for index, (name, units) in enumerate(zip(names, assessment.use.limits.usable, strict=True))
    }
    stated = {name: cap.limit for name, cap in zip(names, caps, strict=True)}
    committed = {name: cap.committed for name, cap in zip(names, caps, strict=True)}
    loads = pool_loads(last.snapshot.demand, now_ms)
    return (
        Figure("pool_state", "1 for the state that the pool is in", states, labels=("pool", "state")),
        labelled(
            "pool_weight_ratio", "Mean share of the pool in all routes", "pool", values=pool_shares(table)
        ),
        labelled("pool_load_units_per_second", "Load that clients report at the pool", "pool", values=loads),
        labelled(
            "pool_usable_units_per_second",
            "What the planner lets the pool carry: limit, headroom, ramp, orders and state considered",
            "pool",
            values=usable,
        ),
        labelled(
            "pool_stated_units_per_second", "The pool's limit as it is stated or known", "pool", values=stated
        ),
        labelled(
            "pool_committed_units_per_second",
            "The part of the limit that is paid for",
            "pool",
            values=committed,
        ),
    )


def _routes(last: LastDecision, table: RouteTable) -> tuple[Figure, ...]:
    demand = last.assessment.demand
    units_of = {rule.name: units for rule, units in zip(last.assessment.compiled.routes, demand, strict=True)}
    keys: dict[str, LabelValues] = {
        route.name: (route.workload, route.origin, str(route.criticality)) for route in table.routes
    }
    ratios: dict[LabelValues, float] = {
        keys[route.name]: route.split.shed / MILLION for route in table.routes
    }
    offered: dict[LabelValues, float] = {
        keys[name]: units for name, units in units_of.items() if name in keys
    }
    shed: dict[LabelValues, float] = {key: units * ratios[key] for key, units in offered.items()}
    return (
        Figure("offered_units_per_second", "Load that is counted on", offered, labels=ROUTE_LABELS),
        Figure("shed_units_per_second", "Load that the table sheds", shed, labels=ROUTE_LABELS),
        Figure("shed_ratio", "Share of the load that the table sheds", ratios, labels=ROUTE_LABELS),
    )


def _clients(snapshot: Snapshot, table: RouteTable, now_ms: int) -> tuple[Figure, ...]:
    clients = reporting_clients(snapshot.demand, now_ms)
    counts: Counter[str] = Counter(dict.fromkeys(BEHIND, 0))
    for text, number in clients.generations.items():
        counts[_behind(publications_behind(text, table.generation))] += number
    return (
        labelled(
            "clients", "Clients that report, by publications that they are behind", "behind", values=counts
        ),
        single("clients_silent", "Clients that reported lately and no longer do", clients.silent),
    )


def _behind(publications: int | None) -> str:
    """The value of the label: exact while it is small, since a label must not grow without bound."""
    match publications:
        case None:
            return "other"
        case 0 | 1:
            return str(publications)
        case _:
            return "2-9" if publications < 10 else "10+"


def _words(last: LastDecision) -> tuple[Figure, ...]:
    """Alarms and orders, counted by kind, and requests for capacity. The subjects of alarms and orders are no
    labels, as a client may be one."""
    alarms = Counter(str(alarm.reason) for alarm in last.alarms)
    orders = Counter(dict.fromkeys(ORDERS, 0))
    orders.update(order.verb for order in last.snapshot.commands)
    open_requests = sum(request.is_open for request in last.assessment.memory.offers)
    names, stated = last.assessment.compiled.pools, last.assessment.stated.pools
    accepted = {names[index]: pool.accepted for index, pool in stated.items() if pool.accepted}
    return (
        labelled("alarms", "Alarms that stand, by reason", "reason", values=alarms),
        labelled("orders", "Operators' orders in force, by kind", "verb", values=orders),
        single("offers_open", "Requests for capacity that providers may still answer", float(open_requests)),
        labelled(
            "pool_accepted_units_per_second",
            "The part of the pool's limit that a provider promised on request and no source states yet",
            "pool",
            values=accepted,
        ),
        single("sources_unheard_ratio", "Share of the sources that are silent", last.assessment.unheard),
    )
