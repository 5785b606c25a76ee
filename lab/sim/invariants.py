"""What must hold in every second of every world, from the design alone. Imports nothing of the controller.

A check looks at one second and returns a story, or None. ``Watch`` asks all of them, keeps for how long each
has told one, and reports a breach once that is longer than the check's patience.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from typing import NamedTuple

from lab.sim.contracts import RANKS, Contracts, provider_of
from lab.sim.facts import NEVER_S, TickFacts
from lab.sim.flow import Claimant, most_served
from lab.sim.splits import largest_move, movement, named_pools, shares_of, table_shares
from tieline.table import MILLION, TableError, check

CALM_S = 20  # demand, a mean of ten seconds, and reports that were on their way have arrived by then
SMALL = 0.02  # of the load in question: less is rounding, or not worth a publication
SMALL_PARTS = 10_000
OVERLOAD = 1.08  # x what a pool may carry: the tolerance of 5 %, and noise
STEP_PARTS = 101_000  # of a route: 10 % moves by choice, and what rounding adds
STEP_EVERY_S = 10
REVERSAL_S = 290
TURN_S = 50  # a pool that is clean has been left alone for longer
REST_S = 60
REST_PUBLICATIONS_MAX = 2
UNTRIED_S = 60


class _All:
    """Contains every name."""

    def __contains__(self, name: object) -> bool:
        return True


ALL = _All()


class Breach(NamedTuple):
    """An invariant that did not hold, since when, and what was seen."""

    invariant: str
    second: int
    story: str


class Move(NamedTuple):
    """Load that moved: by route and pool, the parts gained or lost."""

    second: int
    urgent: bool
    changes: dict[str, dict[str, int]]


Check = Callable[["Watch", TickFacts], str | None]


class Watch:
    """Looks at a world second by second. ``breaches`` holds the first breach of each invariant."""

    def __init__(self, contracts: Contracts) -> None:
        self.contracts = contracts
        self.moves: list[Move] = []
        self.breaches: list[Breach] = []
        self._since: dict[str, int] = {}
        self.restless_s = 0
        self.quiet_before = False

    def look(self, facts: TickFacts, only: Container[str] = ALL) -> None:
        """Checks one second; ``only``: the rules that can be judged in it."""
        if facts.before is not None and (changes := movement(facts.before, facts.table)):
            self.moves.append(Move(facts.second, facts.urgent, changes))
            self.moves = [move for move in self.moves if facts.second - move.second <= REVERSAL_S]
        self._note_quiet(facts)
        if not facts.steady:
            self.restless_s = facts.second
        broken = {breach.invariant for breach in self.breaches}
        for name, (rule, patience_s) in CHECKS.items():
            story = rule(self, facts) if name in only and name not in broken else None
            if story is None:
                self._since.pop(name, None)
            elif facts.second - self._since.setdefault(name, facts.second) >= patience_s:
                self.breaches.append(Breach(name, self._since[name], story=story))

    def latest_moves(self, facts: TickFacts, seconds: int) -> list[Move]:
        """The moves of the last seconds, those of this second included."""
        return [move for move in self.moves if facts.second - move.second < seconds]

    def _note_quiet(self, facts: TickFacts) -> None:
        """Whether nothing was going on when the last silence began or the last leader took office."""
        if 0 in (facts.silent_s, facts.took_office_s):
            earlier = [move for move in self.latest_moves(facts, CALM_S) if move.second < facts.second]
            self.quiet_before = facts.calm_s >= CALM_S and facts.steady and not earlier


def _lawful(watch: Watch, facts: TickFacts) -> str | None:
    if facts.before is None and facts.second > 0:
        return None
    for route, place, pool in named_pools(facts.table):
        contract = watch.contracts.routes.get(route.name)
        if contract is None or pool not in contract.lawful:
            return f"{route.name} {place} names {pool}"
    for route in facts.table.routes:
        shares = shares_of(facts.table, route.split)
        for provider, most in watch.contracts.routes[route.name].share_max.items():
            parts = sum(share for pool, share in shares.items() if provider_of(pool) == provider)
            if parts > most * MILLION + 1 and provider not in facts.shares_lifted:
                return f"{route.name} gives {provider} {parts} parts, allowed are {most:.0%}"
    return None


def _whole(watch: Watch, facts: TickFacts) -> str | None:
    try:
        check(facts.table)
    except TableError as error:
        return str(error)
    missing = set(watch.contracts.routes) - {route.name for route in facts.table.routes}
    silent = [route.name for route in facts.table.routes if route.split.shed and not route.shed_reason]
    if missing or silent:
        return f"routes missing: {sorted(missing)}; shedding without a reason: {silent}"
    return None


def _withdrawn(_: Watch, facts: TickFacts) -> str | None:
    for route, place, pool in named_pools(facts.table):
        if facts.pools[pool].withdrawn_s >= 1:
            return f"{route.name} {place} names {pool}, withdrawn for {facts.pools[pool].withdrawn_s} s"
    return None


def _on_loss_down(_: Watch, facts: TickFacts) -> str | None:
    """A pool that is down is in an ``on_loss`` only while the route itself uses it (do no harm), or while its
    provider's mode lets nothing be moved onto it or off."""
    if facts.panic:
        return None
    used = table_shares(facts.table)
    for route, place, pool in named_pools(facts.table):
        ill = facts.pools[pool]
        is_down = ill.state == "down" and ill.state_s >= 1 and ill.acted_on
        if place.startswith("on_loss") and is_down and pool not in used[route.name]:
            return f"{route.name} {place} names {pool}, down for {ill.state_s} s"
    return None


def _best(watch: Watch, facts: TickFacts) -> tuple[list[float], list[float], list[float]]:
    """By rank, for load of that rank and all more critical ones: wanted, served, and served at best.

    Load on pools that are not clean stays there, and the others are dealt out anew.
    """
    rooms = {name: pool.usable for name, pool in facts.pools.items() if pool.clean}
    groups = dict(facts.group_usable)
    for pool, owners in watch.contracts.groups_of.items():
        for group in owners if pool not in rooms else ():
            groups[group] -= facts.pools[pool].load
    claimants, wanted, served = {}, [0.0] * len(RANKS), [0.0] * len(RANKS)
    for route in facts.table.routes:
        contract, units = watch.contracts.routes[route.name], facts.demand.get(route.name, 0.0)
        shares = shares_of(facts.table, route.split)
        fixed = {pool: parts for pool, parts in shares.items() if pool not in rooms}
        rest = units * (1 - sum(fixed.values()) / MILLION)
        left = {}
        for provider, most in contract.share_max.items():
            stays = sum(parts for pool, parts in fixed.items() if provider_of(pool) == provider)
            left[provider] = units * (most - stays / MILLION)
        pools = tuple(sorted(contract.lawful))
        claimants[route.name] = Claimant(contract.rank, rest, pools, share_left=left)
        for rank in range(contract.rank, len(RANKS)):
            wanted[rank] += rest
            served[rank] += rest - units * route.split.shed / MILLION
    return wanted, served, most_served(claimants, rooms, groups, watch.contracts.groups_of)


def _may_judge_places(facts: TickFacts) -> bool:
    """Whether the planner has had the time, and the evidence, to find the best places."""
    settled = min(facts.calm_s, facts.lied_s, facts.took_office_s) >= CALM_S
    return settled and facts.clients_heard and not facts.panic


def _shed(watch: Watch, facts: TickFacts) -> str | None:
    sheds = any(route.split.shed and facts.demand.get(route.name) for route in facts.table.routes)
    if not sheds or not _may_judge_places(facts):
        return None
    wanted, served, best = _best(watch, facts)
    for rank, name in enumerate(RANKS):
        if best[rank] - served[rank] > SMALL * wanted[rank] + 1:
            kind = "and more critical load" if rank else "load"
            return (
                f"{name} {kind}: {served[rank]:.0f} of {wanted[rank]:.0f} served, {best[rank]:.0f} possible"
            )
    return None


def _overload(watch: Watch, facts: TickFacts) -> str | None:
    if not _may_judge_places(facts):
        return None
    shares = table_shares(facts.table)
    doubtful = {pool for route in facts.doubted for pool in shares[route]}
    overs = [
        name
        for name, pool in facts.pools.items()
        if pool.clean and name not in doubtful and pool.load > pool.usable * OVERLOAD + 1
    ]
    if not overs:
        return None
    name = overs[0]
    pool = facts.pools[name]
    if pool.load > pool.limit * OVERLOAD + 1:
        return f"{name} carries {pool.load:.0f} of {pool.limit:.0f}"
    _, served, best = _best(watch, facts)
    if best[-1] >= served[-1] - min(SMALL / 2 * served[-1], (pool.load - pool.usable) / 4):
        return f"{name} carries {pool.load:.0f}, usable are {pool.usable:.0f}; all load has room elsewhere"
    return None


def _untried(watch: Watch, facts: TickFacts) -> str | None:
    """Shed load beside a pool that nobody tries."""
    if not _may_judge_places(facts):
        return None
    for route in facts.table.routes:
        if route.split.shed < 2 * SMALL_PARTS or facts.demand.get(route.name, 0.0) < 1:
            continue
        for name in sorted(watch.contracts.routes[route.name].lawful):
            pool = facts.pools[name]
            room = watch.contracts.routes[route.name].share_max.get(provider_of(name), 1.0)
            full = any(
                _group_load(watch, facts, group) > 0.9 * facts.group_usable[group]
                for group in watch.contracts.groups_of.get(name, ())
            )
            if pool.untried and not pool.load and pool.usable > 10 and room >= 1 and not full:
                return f"{route.name} sheds {route.split.shed / MILLION:.0%}, and nobody tries {name}"
    return None


def _group_load(watch: Watch, facts: TickFacts, group: str) -> float:
    return sum(
        facts.pools[pool].load for pool, owners in watch.contracts.groups_of.items() if group in owners
    )


def _by_choice(watch: Watch, facts: TickFacts) -> str | None:
    if facts.before is None or facts.urgent or not watch.moves or watch.moves[-1].second != facts.second:
        return None
    move = watch.moves[-1]
    if (parts := largest_move(move.changes)) > STEP_PARTS:
        return f"a route moved {parts} parts by choice"
    earlier = [old for old in watch.latest_moves(facts, STEP_EVERY_S) if not old.urgent]
    if len(earlier) > 1:
        return f"moved by choice at {earlier[-2].second} s and at {facts.second} s"
    for route, changes in move.changes.items():
        if barred := sorted(facts.frozen.intersection(changes)):
            return f"{route} moved by choice at {barred[0]}, which is frozen"
    return next(_turns(watch, facts), None)


def _turns(watch: Watch, facts: TickFacts) -> Iterator[str]:
    """Shares that now move by choice the other way than shortly before, whatever demand did meanwhile.

    A share that fell a little by force counts as well, as for want of room. Whatever else was done by force
    may be put right.
    """
    move, earlier = watch.moves[-1], watch.latest_moves(facts, TURN_S)[:-1]
    for route, pool, parts in _changes(move):
        lawful = watch.contracts.routes[route].lawful
        if pool not in lawful or not all(facts.pools[name].clean for name in lawful):
            continue
        for number, old in enumerate(earlier):
            changes, later = old.changes.get(route, {}), earlier[number + 1 :]
            before = changes.get(pool, 0)
            is_bound = before < 0 < MILLION // 2 + before or not old.urgent
            mended = any(other.urgent and route in other.changes for other in later)
            turned = before * parts < 0 and min(abs(before), abs(parts)) > SMALL_PARTS
            if turned and is_bound and not mended and "shed" not in changes:
                yield f"{route} at {pool}: {before} parts at {old.second} s, {parts} by choice now"


def _silence(watch: Watch, facts: TickFacts) -> str | None:
    if facts.silent_s < 0 or not watch.quiet_before or facts.calm_s <= facts.silent_s + CALM_S:
        return None
    return _moved_urgently(watch, facts, "during a silence")


def _take_over(watch: Watch, facts: TickFacts) -> str | None:
    if facts.took_office_s > CALM_S or not watch.quiet_before or facts.calm_s <= facts.took_office_s + CALM_S:
        return None
    return _moved_urgently(watch, facts, "after a take-over")


def _moved_urgently(watch: Watch, facts: TickFacts, when: str) -> str | None:
    if facts.before is None or not facts.urgent or not watch.moves or watch.moves[-1].second != facts.second:
        return None
    changes = watch.moves[-1].changes
    return f"{when} load moved: {changes}" if largest_move(changes) > SMALL_PARTS else None


def _rest(watch: Watch, facts: TickFacts) -> str | None:
    steady_s = facts.second - watch.restless_s
    if min(facts.calm_s, facts.lied_s, facts.took_office_s) < 2 * REST_S or steady_s < REST_S:
        return None
    urgent = [move for move in watch.latest_moves(facts, REST_S) if move.urgent]
    most = REST_S // STEP_EVERY_S if facts.noisy else REST_PUBLICATIONS_MAX
    if len(urgent) > most:
        return f"{len(urgent)} urgent tables in {REST_S} s, the last moved {urgent[-1].changes}"
    return _turned_back(watch, facts)


def _turned_back(watch: Watch, facts: TickFacts) -> str | None:
    """A share that rose and fell by choice although nothing happened meanwhile."""
    moves = [
        move for move in watch.latest_moves(facts, min(REVERSAL_S, facts.calm_s - REST_S)) if not move.urgent
    ]
    if not moves or moves[-1].second != facts.second:
        return None
    for earlier in moves[:-1]:
        for route, pool, parts in _changes(moves[-1]):
            before = earlier.changes.get(route, {}).get(pool, 0)
            if before * parts < 0 and min(abs(before), abs(parts)) > SMALL_PARTS:
                return f"{route} at {pool}: {before} parts at {earlier.second} s, {parts} at {facts.second} s"
    return None


def _changes(move: Move) -> Iterator[tuple[str, str, int]]:
    for route, changes in move.changes.items():
        for pool, parts in changes.items():
            yield route, pool, parts


CHECKS: dict[str, tuple[Check, int]] = {
    "only lawful pools": (_lawful, 0),
    "a whole table": (_whole, 0),
    "nothing names a withdrawn pool": (_withdrawn, 1),
    "on_loss names no pool that is down": (_on_loss_down, 1),
    "no overload beside room": (_overload, 3),
    "nothing shed beside room, least critical first": (_shed, 12),
    "what is shed tries an untried pool": (_untried, UNTRIED_S),
    "moves by choice are bounded": (_by_choice, 0),
    "silence moves nothing": (_silence, 0),
    "a take-over moves nothing": (_take_over, 0),
    "the table comes to rest": (_rest, 0),
}
assert NEVER_S > 2 * REST_S
