"""What an order would change, in sentences: the short summary that is shown before anything is sent."""

from controller.core.inspect.binding import Binding
from controller.core.inspect.consequences import UNITS_MIN, Consequences
from controller.core.model.words import duration, in_words

NAMED_MAX = 4  # more in one line are counted, not named


def summary(consequences: Consequences) -> tuple[str, ...]:
    """Sentences about moves, shed load, burst and what binds; objections are not among them."""
    lines = [
        _moves(consequences),
        *_emptying(consequences),
        *_by_choice(consequences),
        *_shed(consequences),
        *_burst(consequences),
    ]
    return (*lines, *(_binds(rule) for rule in consequences.binding))


def objections(consequences: Consequences) -> str:
    """All objections in one line; empty without any."""
    return "; ".join(objection.sentence for objection in consequences.objections)


def _moves(consequences: Consequences) -> str:
    unit, moved = consequences.load_unit, consequences.moved_units_per_s
    if not moved:
        return (
            "it moves nothing at once"
            if consequences.offered
            else "no client reports load: it moves none now"
        )
    places = _gains(consequences)
    gaining = [f"{places[place]:,.0f} {place}" for place in sorted(places, key=lambda name: -places[name])]
    return f"it moves {moved:,.0f} of {consequences.offered:,.0f} {unit}/s at once: {_listed(gaining)}"


def _emptying(consequences: Consequences) -> list[str]:
    """How long it takes until the pools that are taken out of use are empty."""
    emptying, unit = consequences.emptying, consequences.load_unit
    if emptying is None:
        return []
    lines = []
    if emptying.staying >= UNITS_MIN:
        text = f"{emptying.staying:,.0f} {unit}/s stay at the emptied pools until other pools have room"
        if emptying.room_in_ms is not None:
            text += f"; those that climb their ramp have it in {duration(emptying.room_in_ms)} at the soonest"
        lines.append(text)
    if emptying.in_flight:
        oldest = f", the oldest for {duration(emptying.oldest_ms)}" if emptying.oldest_ms else ""
        lines.append(f"{emptying.in_flight:,} requests are in flight there{oldest}, and end by themselves")
    return lines


def _gains(consequences: Consequences) -> dict[str, float]:
    """Where load goes: ``to PROVIDER`` or ``shed (WORKLOAD)``, in units/s."""
    places: dict[str, float] = {}
    for pool in consequences.pools:
        provider = f"to {pool.pool.partition('/')[0]}"
        places[provider] = places.get(provider, 0.0) + max(pool.after - pool.before, 0.0)
    for workload in consequences.workloads:
        places[f"shed ({workload.workload})"] = workload.shed_after - workload.shed_before
    return {place: units for place, units in places.items() if units >= UNITS_MIN}


def _by_choice(consequences: Consequences) -> list[str]:
    was, now = consequences.due_before, consequences.due_after
    if abs(now - was) < UNITS_MIN:
        return []
    return [f"left to bounded steps by choice: {was:,.0f} -> {now:,.0f} {consequences.load_unit}/s"]


def _shed(consequences: Consequences) -> list[str]:
    changes = [
        f"{name} {consequences.shed_before[name]:,.0f} -> {units:,.0f}"
        for name, units in consequences.shed_after.items()
        if abs(units - consequences.shed_before[name]) >= UNITS_MIN
    ]
    return [f"shed: {', '.join(changes)} {consequences.load_unit}/s"] if changes else []


def _burst(consequences: Consequences) -> list[str]:
    burst = consequences.burst
    if abs(burst.units_after - burst.units_before) < UNITS_MIN:
        return []
    units = f"{burst.units_before:,.0f} -> {burst.units_after:,.0f} {consequences.load_unit}/s"
    return [
        f"burst: {units}; {burst.money_per_hour_before:,.2f} -> {burst.money_per_hour_after:,.2f} per hour"
    ]


def _binds(rule: Binding) -> str:
    if not rule.pools:
        return f"what binds: {in_words(rule.reason)} ({_listed(rule.routes)})"
    return f"what binds {_listed(rule.routes)}: {in_words(rule.reason)} ({_listed(rule.pools)})"


def _listed(names: list[str] | tuple[str, ...]) -> str:
    rest = len(names) - NAMED_MAX
    return ", ".join(names[:NAMED_MAX]) + (f" and {rest} more" if rest > 0 else "")
