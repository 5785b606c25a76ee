"""What an order would do that nobody wants by mistake, worked out before it is sent, on the live tables.

An order that takes pools out of use is asked about as a loss (``core.inspect.what_if``): does more critical
load have no place, and does a workload that only one provider may serve keep a pool? Pure.
"""

from controller.core.inspect.what_if import WhatIfQuestion, what_if
from controller.core.model.memory import Memory
from controller.core.model.reasons import State
from controller.core.policy.lawful import lawful_pools, origins_of
from controller.status.live import Moment
from tieline.events import Command, in_scope
from tieline.table import CRITICALITIES

UNITS_MIN = 0.5  # less is rounding
CRITICAL = tuple(name for name in CRITICALITIES if name.startswith("critical"))


def takes_out(command: Command) -> bool:
    """Whether the order takes pools out of use."""
    return command.verb == "drain" or (command.verb == "verdict" and command.state == "down")


def grave_consequences(command: Command, moment: Moment) -> tuple[str, ...]:
    """What a person must agree to, in sentences; empty where there is nothing of that kind."""
    if not takes_out(command):
        return ()
    return (*_without_pools(command.scope, moment), *_critical_load_shed(command.scope, moment))


def _critical_load_shed(scope: str, moment: Moment) -> tuple[str, ...]:
    """Critical load that has a place now and would have none."""
    policy = moment.snapshot.policy
    lost = tuple(pool.id for pool in policy.pools if in_scope(pool.id, scope))
    answer = what_if(moment.snapshot, moment.at_ms, WhatIfQuestion(lost))
    shed_now = {route.route: route.shed for route in answer.before.routes}
    sentences = []
    for route in sorted(answer.after.routes, key=lambda route: route.route):
        more = route.shed - shed_now[route.route]
        if route.criticality in CRITICAL and more > UNITS_MIN:
            sentences.append(
                f"it would shed {more:,.0f} of {route.offered:,.0f} {policy.clients.load_unit}/s "
                f"of {route.route}, which is {route.criticality}"
            )
    return tuple(sentences)


def _without_pools(scope: str, moment: Moment) -> tuple[str, ...]:
    """Workloads of which some route would keep no pool that is neither drained nor down."""
    snapshot, pools = moment.snapshot, moment.snapshot.policy.pools
    memory = (snapshot.memory or Memory()).pools
    drains = [order.scope for order in snapshot.commands if order.verb == "drain"]
    sentences = []
    for workload in snapshot.policy.workloads:
        losers = []
        for origin in origins_of(snapshot.policy, workload):
            usable = [
                name
                for name in (pools[index].id for index in lawful_pools(snapshot.policy, workload, origin))
                if not any(in_scope(name, drain) for drain in drains)
                and not (name in memory and memory[name].state is State.DOWN)
            ]
            if usable and all(in_scope(pool, scope) for pool in usable):
                losers.append(origin.id)
        if losers:
            only = workload.exclusive_provider
            name = f"{workload.id}, which only {only} may serve," if only else workload.id
            sentences.append(f"{name} would have no pool left for requests from {', '.join(losers)}")
    return tuple(sentences)
