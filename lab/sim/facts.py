"""What an observer outside the planner sees in one second of a world. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tieline.table import RouteTable

NEVER_S = 1_000_000  # for "how long ago" of what has not happened


class PoolFacts(NamedTuple):
    """One pool. Load and limits are units/s, periods seconds.

    ``state``: as the planner reports it, for ``state_s``. ``load``: what the table sends there. ``usable``:
    what it may carry of its stated ``limit``. ``clean``: healthy for a minute in truth as well, its capacity
    is fresh, and neither a ramp nor throttling nor a mode bounds it. ``untried``: unknown, but nothing is
    wrong with it either. ``withdrawn_s``: for how long it has been drained or under maintenance, -1 if not.
    ``acted_on``: its provider's mode lets the planner move load onto it and off.
    """

    state: str
    state_s: int
    load: float
    usable: float
    limit: float
    clean: bool
    untried: bool
    withdrawn_s: int
    acted_on: bool = True


class TickFacts(NamedTuple):
    """One second of a world, after the planner's step.

    ``before``: the table that was in force until now, None unless one was published in this second.
    ``demand``: by route, as clients are asked. ``frozen``: pools that moves by choice must leave alone.
    ``calm_s``: since anything but a silence or a take-over last happened. ``silent_s``: since some source
    fell silent, -1 while all are heard; ``took_office_s``: since the last take-over. ``clients_heard``: the
    planner can know the demand. ``lied_s``: since a source last claimed what is not so. ``shares_lifted``:
    providers whose largest shares an operator overrides. ``steady``: no pool climbs, waits or is throttled.
    ``noisy``: demand varies from second to second, so at the edge of capacity a little is shed now and then.
    ``panic``: so many providers are lost that those which still succeed stay in. ``doubted``: routes of which
    clients are served so little that the planner must not believe all that they ask for.
    """

    second: int
    table: RouteTable
    before: RouteTable | None
    urgent: bool
    demand: Mapping[str, float]
    pools: Mapping[str, PoolFacts]
    group_usable: Mapping[str, float]
    frozen: frozenset[str]
    shares_lifted: frozenset[str]
    calm_s: int
    silent_s: int
    took_office_s: int
    lied_s: int
    clients_heard: bool
    steady: bool
    noisy: bool
    panic: bool
    doubted: frozenset[str]
