"""What the planner remembers from one decision to the next: states, instants and budgets, never counters.

It travels with the table, so that another leader goes on where this one stopped. Evidence is not part of it:
each decision reads that anew.
"""

from msgspec import Struct

from controller.core.model.drill import DrillMemory
from controller.core.model.reasons import Reason, State
from tieline.offers import OfferRequest


class PoolMemory(Struct, frozen=True, omit_defaults=True):
    """One pool. Instants are 0 where they do not apply, measured values 0 while they are unknown.

    Health: ``down_since_ms`` and ``hold_until_ms`` are of the last outage; ``relapses_ms`` are the instants
    at which the pool went down again within the relapse window, oldest first. ``ramp_step`` indexes
    ``thresholds.ramp_steps`` while the pool recovers, since ``ramp_since_ms``. ``good_since_ms``: since when
    the evidence of a degraded pool is good. ``refused``: it was out or degraded for 400 answers to what its
    siblings serve, and is not healthy again since.

    Throttling: the pool served ``throttled_units_per_s`` when it last answered 429, at ``throttled_ms``.

    Rate limits: the pool served ``near_limit_units_per_s`` when its answers last said that little was left,
    at ``near_limit_ms``.

    Usual first tokens: ``usual_p50_ms`` and ``usual_p99_ms``, last changed at ``usual_ms``.

    New capacity: up to ``limit_units_per_s`` the stated limit is known (below 0: none was stated yet). A
    smaller one is stated since ``smaller_since_ms``. What is stated beyond it is at step ``lump_step`` of the
    ramp since ``lump_since_ms``.

    Size of requests: ``units_per_request``, and ``units_per_slot``: units/s for each request in flight. They
    are remembered only where requests limit the pool.

    Contradicted statements: clients are served ``carried_units_per_s``, although sources state that the pool
    can give next to nothing.
    """

    state: State = State.UNKNOWN
    reason: Reason = Reason.NO_EVIDENCE
    since_ms: int = 0
    down_since_ms: int = 0
    hold_until_ms: int = 0
    relapses_ms: tuple[int, ...] = ()
    ramp_step: int = 0
    ramp_since_ms: int = 0
    good_since_ms: int = 0
    throttled_units_per_s: float = 0.0
    throttled_ms: int = 0
    usual_p50_ms: float = 0.0
    usual_p99_ms: float = 0.0
    usual_ms: int = 0
    limit_units_per_s: float = -1.0
    smaller_since_ms: int = 0
    lump_step: int = 0
    lump_since_ms: int = 0
    units_per_request: float = 0.0
    units_per_slot: float = 0.0
    near_limit_units_per_s: float = 0.0
    near_limit_ms: int = 0
    carried_units_per_s: float = 0.0
    refused: bool = False


class Shift(Struct, frozen=True, array_like=True):
    """That a route's share at a pool changed to ``parts`` per million at ``at_ms``; ``rose`` says which way.

    Route and pool are indices of the policy that the memory is of. ``turns`` counts how often the share went
    back and forth by choice without rest between.
    """

    route: int
    pool: int
    rose: bool
    parts: int
    at_ms: int
    turns: int = 0


class UnheardLoad(Struct, frozen=True, array_like=True):
    """The load of a ``route``'s clients that fell silent without a goodbye, in units/s.

    ``before``: all its load when they fell silent. ``unheard``: their part of it. ``gone``: what of that is
    known to be gone, as others have taken it over.
    """

    route: str
    before: float
    unheard: float
    gone: float = 0.0

    def of(self, heard: float, unheard: float) -> float:
        """What of ``unheard`` is to be counted on beside what is ``heard``."""
        return max(0.0, min(unheard - self.gone, self.before - heard))


class ShortMemory(Struct, frozen=True, array_like=True):
    """That load which may be served in ``geographies`` only has been short of room since ``since_ms``. With
    ``relieved_ms`` it no longer is, since then."""

    geographies: tuple[str, ...]
    since_ms: int
    relieved_ms: int = 0


class Memory(Struct, frozen=True, omit_defaults=True):
    """The planner's memory under one policy. ``pools`` is by name, in the policy's order.

    ``voluntary_ms``: when load last moved by choice. ``restored_ms``: when load that was shed was last served
    again. ``reported``: names of the routes whose demand clients
    have ever reported, sorted. ``on_loss_due``: the ``on_loss`` of the table were only patched, and are to be
    decided anew; ``on_loss_ms``: when they last were, and ``on_loss_without``: the pools that could gain
    nothing then. ``shifts``: the newest shift of each route and pool,
    which must not be taken back by choice yet. ``unheard``: of routes with silent clients, what to count on.
    ``offers``: requests for capacity, the oldest first; ``short``: what they are for, while it is short.
    ``drills``: those that run, and those that ended lately.
    """

    policy_version: str = ""
    pools: dict[str, PoolMemory] = {}
    voluntary_ms: int = 0
    reported: tuple[str, ...] = ()
    on_loss_due: bool = False
    on_loss_ms: int = 0
    shifts: tuple[Shift, ...] = ()
    restored_ms: int = 0
    unheard: tuple[UnheardLoad, ...] = ()
    offers: tuple[OfferRequest, ...] = ()
    short: tuple[ShortMemory, ...] = ()
    drills: tuple[DrillMemory, ...] = ()
    on_loss_without: tuple[str, ...] = ()
