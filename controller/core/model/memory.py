"""What the planner remembers from one decision to the next. It travels with the table, so that another leader
goes on where this one stopped. States, instants and budgets only: evidence is read anew each time.
"""

from msgspec import Struct

from controller.core.model.reasons import Reason, State


class PoolMemory(Struct, frozen=True, omit_defaults=True):
    """One pool. ``relapses_ms``: when it went down again within the relapse window, oldest first.

    ``ramp_step`` indexes ``thresholds.ramp_steps`` while recovering; ``ramp_since_ms`` is that step's start.
    ``good_since_ms``: since when a degraded pool's evidence is good, 0 when it is not.
    ``throttled_units_per_s`` is what it last served while it answered 429, at ``throttled_ms``; 0 when that
    no longer limits it. ``usual_p50_ms`` and ``usual_p99_ms`` are what its first tokens use to take, 0 while
    that is not known; ``usual_ms`` is when that last changed.
    ``limit_units_per_s`` is the limit that is not new (below 0: none was stated yet), and less is stated
    since ``smaller_since_ms``; a lump beyond it is at ``lump_step`` of the ramp since ``lump_since_ms``.
    ``units_per_request`` and ``units_per_slot`` (units/s for each request in flight) are what its requests
    are, noted where they limit it, 0 while that is not known.
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


class Shift(Struct, frozen=True, array_like=True):
    """That a route's share at a pool rose (else: fell) to ``parts`` per million at ``at_ms``, by the numbers
    of the memory's policy. ``turns`` counts how often it went back and forth by choice without rest between.
    """

    route: int
    pool: int
    rose: bool
    parts: int
    at_ms: int
    turns: int = 0


class Memory(Struct, frozen=True, omit_defaults=True):
    """The planner's memory. ``pools`` is in the policy's order; ``voluntary_ms`` is when load last moved by
    choice; ``reported`` names the routes whose demand clients have reported, sorted. ``on_loss_due``: the
    table's ``on_loss`` were only patched in haste and are to be decided anew, ``on_loss_ms`` when they last
    were. ``shifts`` is what moved of
    late, one of each route and pool: what must not be moved back by choice yet.
    """

    policy_version: str = ""
    pools: dict[str, PoolMemory] = {}
    voluntary_ms: int = 0
    reported: tuple[str, ...] = ()
    on_loss_due: bool = False
    on_loss_ms: int = 0
    shifts: tuple[Shift, ...] = ()
