"""How far a client's report counts, by what came before it and what comes with it. Pure.

The rules are told in clients.py: load counts up to ``GROWTH`` times what the client is served and has on its
way, outcomes in proportion to the attempts that succeeded of late.
"""

from collections.abc import Sequence
from typing import NamedTuple

from streams.client_load import Client, Rates, rates_in, window_s
from tieline.events import Demand, Flow, PoolObservation

GROWTH = 4.0
ATTEMPTS_FREE_PER_S = 2.0
KNOWN_HALVES_S = 60.0
IN_FLIGHT_S = 5.0  # a request on its way stands for its size over so long


class Standing(NamedTuple):
    """How far one report counts. ``flow_units_max``: the most units of any one flow that are credible;
    ``weight``: the share of its attempts."""

    newcomer: bool
    lies: bool
    flow_units_max: float
    weight: float
    served: float
    attempts: float


def standing(
    before: Client | None,
    event: Demand,
    flows: Sequence[Flow],
    *,
    is_new: bool,
    at_ms: int,
    limit_units_per_s: float,
    inherited: Rates | None = None,
) -> Standing:
    """How far a report counts beside what is remembered of its client.

    ``flows``: those of it that the policy names. ``is_new``: nobody has heard of the client before.
    ``limit_units_per_s``: what all pools can give together. ``inherited``: load that the process before this
    one believed, and of which no client has reported since. What of it this client asks for stays credible,
    since what the client was served before is not known here, and may have been little.
    """
    seconds = window_s(event)
    served_now = sum(row.units for row in event.pools) / seconds
    attempts_now = sum(_attempts(row) for row in event.pools) / seconds
    attempts = sum(row.outcomes.ok for row in event.pools) / seconds
    if before is not None:
        attempts = max(attempts, before.attempts * 0.5 ** (seconds / KNOWN_HALVES_S))
    elif not is_new:
        attempts = attempts_now
    most = GROWTH * attempts + ATTEMPTS_FREE_PER_S
    served = max(
        served_now + _on_its_way(event, flows),
        _faded(before, event, seconds),
        _taken_over(flows, inherited or {}, seconds) / GROWTH,
    )
    credit = GROWTH * served * seconds
    return Standing(
        newcomer=before.is_newcomer(at_ms) if before else is_new,
        lies=served_now > limit_units_per_s,
        flow_units_max=_credible_most([flow.offered_units for flow in flows], credit),
        weight=1.0 if attempts_now <= most else most / attempts_now,
        served=served,
        attempts=attempts,
    )


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


def _taken_over(flows: Sequence[Flow], inherited: Rates, seconds: float) -> float:
    """How much of the inherited load these flows ask for, units/s."""
    offered = rates_in(flows, seconds)
    return sum(min(units, inherited.get(key, (0.0, 0.0))[0]) for key, (units, _) in offered.items())


def _faded(before: Client | None, event: Demand, seconds: float) -> float:
    """What the client was served before, halved each minute; held while the table has it shed."""
    if before is None:
        return 0.0
    if any(flow.shed_units or flow.shed_requests for flow in event.flows):
        return before.served
    return before.served * float(0.5 ** (seconds / KNOWN_HALVES_S))
