"""PURE. What is contradictory in an event whose fields all have the right type."""

from tieline.events import (
    OF_A_WORKLOAD,
    OF_AN_OFFER,
    OF_THE_WHOLE_TABLE,
    WITHOUT_END,
    Capacity,
    Command,
    Demand,
    Event,
    Report,
    Statement,
    taken_back,
)
from tieline.offers import OfferAnswer, OfferedCapacity, OfferRequest


def misfit(event: Event) -> str | None:
    """What is contradictory in an event whose fields all have the right type; None if nothing is."""
    match event:
        case Report() | Capacity():
            place = f"{event.provider}/{event.region}"
            pools = [row.pool for row in event.pools]
            if isinstance(event, Capacity):
                pools += [row.pool for row in event.planned if row.pool not in pools]
            return _pools_fault(pools, place) or _window_fault(event)
        case Statement():
            place = event.provider if event.region == "*" else f"{event.provider}/{event.region}"
            for claim in event.claims:
                if fault := _pools_fault(list(claim.pools), place):
                    return fault
        case Demand():
            return _pools_fault([row.pool for row in event.pools], "") or _window_fault(event)
        case Command():
            return _order_fault(event)
        case OfferAnswer():
            return _pools_fault([item.pool for item in event.offered], event.provider) or next(
                (fault for item in event.offered if (fault := _offered_fault(item))), None
            )
        case OfferRequest():
            return "until_ms is not after from_ms" if event.until_ms <= event.from_ms else None
        case _:
            pass
    return None


def _order_fault(order: Command) -> str | None:
    verb = order.verb
    if verb not in WITHOUT_END and not taken_back(order) and order.expires_ms is None:
        return f"{verb} needs expires_ms"
    if bool(order.countersigns) != (verb == "countersign"):
        return f"{verb} has no countersigns" if order.countersigns else f"{verb} needs countersigns"
    if order.scope == "*" and verb not in OF_THE_WHOLE_TABLE:
        return f"{verb} needs a provider, a region or a pool as its scope"
    if bool(order.guard) != (verb in ("override", "restore")):
        return f"{verb} names no guard" if order.guard else f"{verb} needs guard"
    if bool(order.state) != (verb == "verdict"):
        return f"{verb} has no state" if order.state else f"{verb} needs state"
    if bool(order.workload) != (verb in OF_A_WORKLOAD):
        return f"{verb} names no workload" if order.workload else f"{verb} needs workload"
    if order.workload and order.scope.count("/") != 2:
        return f"{verb} needs a whole pool name as its scope"
    if bool(order.mode) != (verb == "mode"):
        return f"{verb} has no mode" if order.mode else f"{verb} needs mode"
    if order.mode and "/" in order.scope:
        return "mode needs a provider as its scope"
    return _answer_fault(order)


def _answer_fault(order: Command) -> str | None:
    """What is contradictory in an order that answers a request for capacity, or that should not."""
    verb = order.verb
    if bool(order.offer) != (verb in OF_AN_OFFER):
        return f"{verb} names no offer" if order.offer else f"{verb} needs offer"
    if (order.offered is not None) != (verb == "accept"):
        return f"{verb} has no offered" if order.offered else f"{verb} needs offered"
    if verb == "decline" and "/" in order.scope:
        return "decline needs a provider as its scope"
    if order.offered is None:
        return None
    if order.scope != order.offered.pool:
        return "accept needs the pool in offered as its scope"
    return _offered_fault(order.offered)


def _offered_fault(offered: OfferedCapacity) -> str | None:
    if offered.units_per_s <= 0:
        return f"units_per_s of {offered.pool} must be above 0; decline to give nothing"
    if offered.from_ms and offered.until_ms and offered.until_ms <= offered.from_ms:
        return f"until_ms of {offered.pool} is not after its from_ms"
    return None


def _pools_fault(pools: list[str], place: str) -> str | None:
    """``place``: the provider, or provider/region, that all pools must be in; empty for any."""
    if len(set(pools)) != len(pools):
        return "a pool is named twice"
    if place:
        prefix = place + "/"
        for pool in pools:
            if not pool.startswith(prefix):
                return f"pool {pool} is not in {place}"
    return None


def _window_fault(event: Report | Capacity | Demand) -> str | None:
    if not isinstance(event, Capacity) and event.window_end_ms < event.window_start_ms:
        return "window_end_ms lies before window_start_ms"
    return None
