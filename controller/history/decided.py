"""What one decision did, as an entry: the load it moved, in units/s by workload and pool, and why. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from controller.core.model.reasons import Reason, State, Verdict
from controller.core.model.words import sentence
from controller.core.snapshot import Ready
from controller.decisions.record import Step
from controller.history.entries import Entry, LoadMove
from tieline.events import Command, in_scope
from tieline.table import MILLION, RouteTable

MOVES_MAX = 40
WHY_MAX = 20
NAMED_MAX = 3
UNITS_MIN = 0.05  # units/s; less than that is rounding
STATES = frozenset(map(str, State))
#: A reason that an order gives, and the order's verb.
VERBS = {
    Reason.DRAINED: "drain",
    Reason.EVACUATED: "evacuate",
    Reason.DRILLED: "drill",
    Reason.PINNED_BY_ORDER: "pin",
    Reason.FAILED_OVER: "failover",
    Reason.OPERATOR_VERDICT: "verdict",
    Reason.APPROVED: "approve",
}


def load_moves(
    before: RouteTable | None, after: RouteTable, demand: Mapping[str, float]
) -> tuple[LoadMove, ...]:
    """What each workload sends elsewhere under ``after`` than under ``before``, the largest change first.

    ``demand``: units/s by route name. It is applied to both tables, so that demand that grows is no move.
    Without a table before, there is nothing that moved.
    """
    if before is None:
        return ()
    old = {route.name: route for route in before.routes}
    was: defaultdict[tuple[str, str], float] = defaultdict(float)
    now: defaultdict[tuple[str, str], float] = defaultdict(float)
    for route in after.routes:
        earlier = old.get(route.name)
        if earlier is None or (earlier.split == route.split and before.pools == after.pools):
            continue
        for table, split, sums in ((before, earlier.split, was), (after, route.split, now)):
            units = demand.get(route.name, 0.0) / MILLION
            for index, parts in zip(split.pools, split.weights, strict=True):
                sums[route.workload, table.pools[index].pool] += parts * units
            sums[route.workload, ""] += split.shed * units
    moves = [LoadMove(*place, before=was[place], after=now[place]) for place in sorted({*was, *now})]
    moves = [move for move in moves if abs(move.after - move.before) >= UNITS_MIN]
    return tuple(sorted(moves, key=lambda move: -abs(move.after - move.before)))


def decision_entry(step: Step, demand: Mapping[str, float], controller: str) -> Entry | None:
    """The entry of a published step; None if it only records the planner's memory.

    ``controller``: the name of the one that decided.
    """
    ready, table = step.ready, step.published
    if ready.table is None:
        return None
    moves = load_moves(step.snapshot.table, table, demand)
    gains = [move for move in moves if move.after > move.before]
    moved = sum(move.after - move.before for move in gains if move.pool)
    shed = sum(move.after - move.before for move in gains if not move.pool)
    unit = table.settings.load_unit
    kind = "upkeep" if not moves else "forced_move" if ready.urgent else "move"
    return Entry(
        step.now_ms,
        kind,
        "table",
        text=_told(gains, moved, shed, unit, is_forced=ready.urgent),
        severity="warning" if kind == "forced_move" else "info",
        key=f"decision:{step.generation}",
        who=controller,
        actors=_actors(ready.decisions, step.snapshot.commands),
        why=_sentences(ready.decisions, step.now_ms),
        reasons=tuple(sorted({verdict.reason.value for verdict in ready.decisions})),
        generation=str(step.generation),
        moves=_rounded(moves[:MOVES_MAX]),
        moved_units_per_s=round(moved, 1),
        shed_units_per_s=round(shed, 1),
        moves_left_out=max(len(moves) - MOVES_MAX, 0),
        unit=unit,
    )


def state_entries(ready: Ready, at_ms: int, controller: str) -> list[Entry]:
    """The changes of pools' health in a step that publishes no new table. Of a step that does, they are among
    the reasons of its entry."""
    return [
        Entry(
            at_ms,
            "state",
            verdict.subject,
            text=sentence(verdict, at_ms),
            severity="warning" if verdict.after == State.DOWN else "info",
            key=f"state:{verdict.subject}:{at_ms}",
            who=controller,
            reasons=(verdict.reason.value,),
        )
        for verdict in ready.decisions
        if is_change_of_state(verdict)
    ]


def is_change_of_state(verdict: Verdict) -> bool:
    """Whether it says that a pool's health, or its step of the ramp, has changed."""
    return verdict.before in STATES


def _told(gains: list[LoadMove], moved: float, shed: float, unit: str, *, is_forced: bool) -> str:
    """``1,100 tokens/s moved at once, 118 shed: chat 1,100 to gcp/europe-west4/gemini, batch 118 shed``."""
    if not gains:
        return "a new table that moves no load"
    named = [
        f"{move.workload} {move.after - move.before:,.0f} {f'to {move.pool}' if move.pool else 'shed'}"
        for move in gains[:NAMED_MAX]
    ]
    if more := len(gains) - len(named):
        named.append(f"and {more} more")
    is_shed = f", {shed:,.0f} shed" if shed >= 1 else ""
    how = "at once" if is_forced else "by choice"
    return f"{moved:,.0f} {unit}/s moved {how}{is_shed}: {', '.join(named)}"


def _actors(verdicts: Iterable[Verdict], orders: Iterable[Command]) -> tuple[str, ...]:
    """The operators whose orders are among the reasons: named as the cause, or in force for what moved."""
    causes = {verdict.because for verdict in verdicts if verdict.because}
    moved = [(VERBS[verdict.reason], verdict.subject) for verdict in verdicts if verdict.reason in VERBS]
    return tuple(
        sorted(
            {
                order.actor
                for order in orders
                if f"{order.actor}: {order.reason}" in causes
                or any(verb == order.verb and _concerns(order, pool) for verb, pool in moved)
            }
        )
    )


def _concerns(order: Command, pool: str) -> bool:
    """Whether the order may have moved load off the pool. One of a workload names where its load goes."""
    return bool(order.workload) or in_scope(pool, order.scope)


def _sentences(verdicts: tuple[Verdict, ...], at_ms: int) -> tuple[str, ...]:
    sentences = [sentence(verdict, at_ms) for verdict in verdicts[:WHY_MAX]]
    if more := len(verdicts) - len(sentences):
        sentences.append(f"and {more} more")
    return tuple(sentences)


def _rounded(moves: tuple[LoadMove, ...]) -> tuple[LoadMove, ...]:
    return tuple(
        LoadMove(move.workload, move.pool, before=round(move.before, 1), after=round(move.after, 1))
        for move in moves
    )
