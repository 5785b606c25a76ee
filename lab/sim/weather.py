"""What is in effect in each second of a world: the truth of pools, and what is stated and ordered."""

from __future__ import annotations

from typing import Literal, TypeAlias, cast

from lab.sim.fleet import PoolNature
from lab.sim.spec import FuzzWorld, Kind, Occurrence
from lab.simulated.clocks import START_MS
from streams.rows import Position, Row
from tieline.events import (
    Claim,
    ClaimState,
    Command,
    OrderedMode,
    PlannedChange,
    ResultClass,
    Statement,
    StatementKind,
    Verb,
    in_scope,
)

FOR_GOOD_MS = 86_400_000
ORDERS: tuple[Kind, ...] = (
    "drain", "freeze", "verdict", "override", "approve", "failback", "evacuate", "drill", "pin", "failover",
    "mode",
)  # fmt: skip
Verdict: TypeAlias = Literal["", "healthy", "degraded", "down"]
CLAIMS: tuple[Kind, ...] = ("status", "maintenance", "declined")


class Weather:
    """``turn`` brings everything to one second. Limits and demand are in units/s.

    ``natures`` by pool is the truth. ``stated`` and ``group_stated`` are what the fleet source says, by pool
    and by quota group; ``group_serves`` is what each group really serves, with its pools. ``lies`` is demand
    by route that nobody has, ``lying_probes`` the result that probers claim, by pool.
    """

    def __init__(self, world: FuzzWorld) -> None:
        self.world = world
        self.second = -1
        self.demand: dict[str, float] = {}
        self.natures: dict[str, PoolNature] = {}
        self.stated: dict[str, float] = {}
        self.group_stated: dict[str, float] = {}
        self.group_serves: dict[str, tuple[float, frozenset[str]]] = {}
        self.planned: tuple[PlannedChange, ...] = ()
        self.lies: dict[str, float] = {}
        self.lying_probes: dict[str, str] = {}
        self.statements: tuple[Row, ...] = ()
        self.commands: tuple[Command, ...] = ()
        self._active: tuple[Occurrence, ...] = ()

    def turn(self, second: int) -> None:
        """Brings everything to this second."""
        self.second = second
        active = tuple(occurrence for occurrence in self.world.occurrences if occurrence.is_on(second))
        if active == self._active and self.natures:
            self._hang_on()
            return
        self._active = active
        self._turn_pools()
        self._turn_sources()
        self._hang_on()

    @property
    def lags(self) -> bool:
        """Whether the controller reads nothing now."""
        return bool(self.of("lag"))

    def of(self, *kinds: Kind) -> list[Occurrence]:
        """What is in effect of these kinds, in the order in which it began."""
        return [occurrence for occurrence in self._active if occurrence.kind in kinds]

    def begins(self, kind: Kind) -> bool:
        """Whether something of this kind happens in this very second."""
        return any(occurrence.at_s == self.second for occurrence in self.of(kind))

    def targets(self, kind: Kind) -> frozenset[str]:
        """What is meant by all that is in effect of this kind."""
        return frozenset(occurrence.target for occurrence in self.of(kind))

    def pools_of(self, scope: str) -> list[str]:
        """The pools within a scope; ``*`` for all."""
        return [pool.id for pool in self.world.policy.pools if in_scope(pool.id, scope)]

    def lost(self, clients: tuple[str, ...]) -> frozenset[str]:
        """Producers whose records never arrive now."""
        silent = set(self.targets("silence"))
        for occurrence in self.of("clients_silent"):
            silent.update(clients[: round(occurrence.value * len(clients))])
        return frozenset(silent)

    def probed(self, pool: str) -> ResultClass:
        """What a prober of this pool finds, or claims to."""
        nature = self.natures[pool]
        if (word := self.lying_probes.get(pool)) is not None:
            return ResultClass(word)
        if nature.hangs:
            return ResultClass.TIMEOUT
        return ResultClass(nature.result) if nature.errors >= 0.5 else ResultClass.OK

    def withdrawn(self) -> frozenset[str]:
        """Pools that are drained, or under maintenance that has begun.

        Maintenance is acted on only where the provider's mode allows it, a drain always.
        """
        drained = frozenset(pool for o in self.of("drain") for pool in self.pools_of(o.target))
        begun = [o for o in self.of("maintenance") if self.second >= o.at_s + o.value]
        idle = frozenset(pool for o in begun for pool in self.pools_of(o.target))
        acting = {provider.id for provider in self.world.policy.providers if provider.mode == "act"}
        acting -= self.targets("mode")
        return drained | {pool for pool in idle if pool.split("/")[0] in acting}

    def _turn_pools(self) -> None:
        policy, real = self.world.policy, self.world.real
        self.demand = dict(self.world.demand)
        self.demand.update({o.target: o.value for o in self.of("demand") if o.target in self.demand})
        self.natures = {pool.id: PoolNature(pool.limit_units_per_s * real[pool.id]) for pool in policy.pools}
        for occurrence in self.of("errors", "throttle", "hang", "slow", "serves"):
            for pool in self.pools_of(occurrence.target):
                _worsen(self.natures[pool], occurrence)
        self.group_serves = {}
        for group in policy.quota_groups:
            members = frozenset(pool.id for pool in policy.pools if group.id in pool.quota_groups)
            values = [o.value for o in self.of("group_serves", "group_capacity") if o.target == group.id]
            self.group_serves[group.id] = (min([group.limit_units_per_s, *values]), members)

    def _turn_sources(self) -> None:
        policy = self.world.policy
        self.stated = {pool.id: pool.limit_units_per_s for pool in policy.pools}
        self.stated.update({o.target: o.value for o in self.of("capacity") if o.target in self.stated})
        self.group_stated = {group.id: group.limit_units_per_s for group in policy.quota_groups}
        self.group_stated.update({o.target: o.value for o in self.of("group_capacity")})
        self.planned = tuple(
            PlannedChange(o.target, START_MS + (o.at_s + 30) * 1_000, o.value, until_ms=_end_ms(o))
            for o in self.of("planned")
            if o.target in self.stated
        )
        self.lies = {o.target: o.value for o in self.of("lying_demand") if o.target in self.demand}
        self.lying_probes = {p: o.word for o in self.of("lying_probe") for p in self.pools_of(o.target)}
        self.statements = tuple(_statement(o, number) for number, o in enumerate(self.of(*CLAIMS)))
        orders = [_order(o, number) for number, o in enumerate(self.of(*ORDERS))]
        self.commands = tuple(sorted(orders, key=lambda order: (order.scope, order.id)))

    def _hang_on(self) -> None:
        for occurrence in self.of("hang"):
            for pool in self.pools_of(occurrence.target):
                self.natures[pool].hung_s = self.second - occurrence.at_s


def _worsen(nature: PoolNature, occurrence: Occurrence) -> None:
    if occurrence.kind == "errors":
        if occurrence.value > nature.errors:
            nature.errors, nature.result = occurrence.value, occurrence.word
    elif occurrence.kind == "throttle":
        nature.throttles = max(nature.throttles, occurrence.value)
    elif occurrence.kind == "hang":
        nature.hangs = True
    elif occurrence.kind == "slow":
        nature.first_token_ms = occurrence.value
    else:
        nature.serves = min(nature.serves, occurrence.value)


def _end_ms(occurrence: Occurrence) -> int:
    start_ms = START_MS + occurrence.at_s * 1_000
    return start_ms + (occurrence.for_s * 1_000 or FOR_GOOD_MS)


def _statement(occurrence: Occurrence, number: int) -> Row:
    """What a status page, a maintenance plan or the holder of a first refusal claims."""
    provider, _, rest = occurrence.target.partition("/")
    region = rest.split("/")[0] or "*"
    pools = (occurrence.target,) if occurrence.target.count("/") == 2 else ()
    issued_ms = START_MS + occurrence.at_s * 1_000
    starts_ms = issued_ms + round(occurrence.value * 1_000)
    state = occurrence.word or occurrence.kind
    claim = Claim(cast(ClaimState, state), _end_ms(occurrence), starts_ms, pools=pools)
    event = Statement(
        f"status-{number}", provider, region, kind=cast(StatementKind, occurrence.kind), incarnation="one",
        sequence=1, issued_ms=issued_ms, claims=(claim,),
    )  # fmt: skip
    return Row(event, Position("statements", 0, number + 1), issued_ms, evidence_ms=issued_ms)


def _order(occurrence: Occurrence, number: int) -> Command:
    issued_ms = START_MS + occurrence.at_s * 1_000
    is_override = occurrence.kind == "override"
    return Command(
        f"order-{number}-{occurrence.at_s}", cast(Verb, occurrence.kind), occurrence.target, actor="kim",
        reason="fuzz", issued_ms=issued_ms, expires_ms=_end_ms(occurrence),
        guard=occurrence.word if is_override else "",
        state=cast(Verdict, occurrence.word) if occurrence.kind == "verdict" else "",
        workload=occurrence.word if occurrence.kind in ("pin", "failover") else "",
        mode=cast(OrderedMode, occurrence.word) if occurrence.kind == "mode" else "",
    )  # fmt: skip
