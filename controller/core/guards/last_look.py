"""The last look at a table before it leaves. A guard that bites mends the route and says so."""

from collections.abc import Callable
from typing import NamedTuple

from controller.core.model.reasons import Reason, Verdict
from controller.core.moves.draft import GAINS_LAST
from controller.core.moves.eligible import Use
from controller.core.policy.compiled import CompiledPolicy
from controller.core.policy.shares import most_parts, provider_parts, within_shares
from tieline.table import MILLION, Split


class Proposal(NamedTuple):
    """A table that is to leave, by route. Guards change ``splits``, ``on_loss`` and ``last_resort`` in place.

    ``before``: the splits in force, None where the route is new. ``checked_on_loss``: what the table in force
    has, if guards looked at it under this very policy; else empty. ``is_first``: of its lineage.
    """

    compiled: CompiledPolicy
    use: Use
    splits: list[Split]
    on_loss: list[dict[str, Split]]
    last_resort: list[tuple[int, ...]]
    before: list[Split | None]
    checked_on_loss: list[dict[str, Split]]
    verdicts: list[Verdict]
    is_first: bool
    now_ms: int

    def put(self, index: int, split: Split, reason: Reason) -> None:
        """Puts a split in the place of the proposed one, and says why."""
        self.splits[index] = split
        self.say(index, reason)

    def say(self, index: int, reason: Reason) -> None:
        """Says that a guard has bitten at a route."""
        self.verdicts.append(Verdict(self.compiled.routes[index].name, reason, self.now_ms))


Guard = Callable[[Proposal], None]


class UnlawfulTableError(RuntimeError):
    """A table that may not leave and can't be mended; the one in force stays."""


def apply_guards(proposal: Proposal) -> None:
    """Applies all guards in order. Raises ``UnlawfulTableError`` if the table can't be mended."""
    for guard in GUARDS:
        guard(proposal)


def fresh_capacity(proposal: Proposal) -> None:
    """Nothing is moved onto a pool without fresh capacity, except by the first table of a lineage."""
    if proposal.is_first:
        return
    barred = {pool for pool, grade in enumerate(proposal.use.limits.grade) if grade > GAINS_LAST}
    for index, (split, before) in enumerate(zip(proposal.splits, proposal.before, strict=True)):
        if before is None or split is before or barred.isdisjoint(split.pools):
            continue
        old = dict(zip(before.pools, before.weights, strict=True))
        gains = any(
            pool in barred and parts > old.get(pool, 0)
            for pool, parts in zip(split.pools, split.weights, strict=True)
        )
        if gains and _is_lawful(proposal.compiled, index, before):
            proposal.put(index, before, Reason.GUARD_FRESH_CAPACITY)


def provider_share(proposal: Proposal) -> None:
    """No provider gets more of a workload than the policy allows, ``on_loss`` included."""
    compiled = proposal.compiled
    for index in _changed_routes(proposal):
        share_max = compiled.routes[index].share_max
        if not share_max:
            continue
        split, before = proposal.splits[index], proposal.before[index]
        if split is not before and _gains_beyond_share(compiled, index, split, before):
            mended = before if before is not None else within_shares(split, share_max, compiled.provider_of)
            proposal.put(index, mended, Reason.GUARD_PROVIDER_SHARE)
        for provider, after in list(proposal.on_loss[index].items()):
            if (mended := within_shares(after, share_max, compiled.provider_of)) is not after:
                proposal.on_loss[index] = {**proposal.on_loss[index], provider: mended}
                proposal.say(index, Reason.GUARD_PROVIDER_SHARE)


def lawful(proposal: Proposal) -> None:
    """Only lawful pools are in a split, in ``on_loss`` and in a last resort."""
    compiled = proposal.compiled
    for index in _changed_routes(proposal):
        split, before = proposal.splits[index], proposal.before[index]
        if not _is_lawful(compiled, index, split):
            safe = before if before is not None and _is_lawful(compiled, index, before) else None
            proposal.put(index, safe or _only_lawful(compiled, index, split), Reason.GUARD_LAWFUL)
        checked = proposal.checked_on_loss[index] if proposal.checked_on_loss else {}
        for provider, after in list(proposal.on_loss[index].items()):
            if checked.get(provider) is after or _is_lawful(compiled, index, after):
                continue
            mended = _only_lawful(compiled, index, after)
            proposal.on_loss[index] = {**proposal.on_loss[index], provider: mended}
            proposal.say(index, Reason.GUARD_LAWFUL)
    for index, (rules, pools) in enumerate(zip(compiled.routes, proposal.last_resort, strict=True)):
        if not rules.lawful_set.issuperset(pools):
            proposal.last_resort[index] = tuple(pool for pool in pools if pool in rules.lawful_set)
            proposal.say(index, Reason.GUARD_LAWFUL)


def whole_table(proposal: Proposal) -> None:
    """The table is not empty, and the shares of every split are whole."""
    if not proposal.splits:
        raise UnlawfulTableError("an empty table")
    for index in _changed_routes(proposal):
        split = proposal.splits[index]
        if sum(split.weights) + split.shed != MILLION or min(split.weights, default=0) < 0:
            raise UnlawfulTableError(f"{proposal.compiled.routes[index].name}: the shares are not whole")


GUARDS: tuple[Guard, ...] = (fresh_capacity, provider_share, lawful, whole_table)


def _changed_routes(proposal: Proposal) -> list[int]:
    """The routes to look at: all but those that are the same objects as in the table in force, if guards
    looked at that under this very policy."""
    if not proposal.checked_on_loss:
        return list(range(len(proposal.splits)))
    routes = zip(proposal.splits, proposal.before, proposal.on_loss, proposal.checked_on_loss, strict=True)
    return [
        index
        for index, (split, before, losses, checked) in enumerate(routes)
        if split is not before or losses is not checked
    ]


def _is_lawful(compiled: CompiledPolicy, index: int, split: Split) -> bool:
    return compiled.routes[index].lawful_set.issuperset(split.pools)


def _only_lawful(compiled: CompiledPolicy, index: int, split: Split) -> Split:
    """The split without its unlawful pools: what they had is shed."""
    allowed = compiled.routes[index].lawful_set
    pairs = [pair for pair in zip(split.pools, split.weights, strict=True) if pair[0] in allowed]
    weights = tuple(parts for _, parts in pairs)
    return Split(tuple(pool for pool, _ in pairs), weights, MILLION - sum(weights))


def _gains_beyond_share(compiled: CompiledPolicy, index: int, split: Split, before: Split | None) -> bool:
    for provider, share in compiled.routes[index].share_max.items():
        now = _parts_of(compiled, split, provider)
        old = _parts_of(compiled, before, provider) if before is not None else 0
        if now > most_parts(share) and now > old:
            return True
    return False


def _parts_of(compiled: CompiledPolicy, split: Split, provider: int) -> int:
    pairs = zip(split.pools, split.weights, strict=True)
    return provider_parts(pairs, compiled.provider_of, provider)
