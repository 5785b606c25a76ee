"""The last look at a proposal, guard by guard, by name. A guard that bites says so and holds the route back.

Nothing here is expected to bite: the rules before it keep within the same limits. Each guard stands for one
thing that must never leave, whatever went wrong before.
"""

from collections.abc import Callable
from typing import NamedTuple

from controller.core.model.reasons import Reason, Verdict
from controller.core.moves.draft import GAINS_LAST
from controller.core.moves.eligible import Use
from controller.core.policy.compiled import CompiledPolicy
from controller.core.policy.shares import most_parts, provider_parts, within_shares
from tieline.table import MILLION, Split


class Proposal(NamedTuple):
    """Splits by route, as proposed and as held (None: the route is new). ``first``: of this lineage.

    ``held_on_loss`` has been found lawful under this very policy; empty where it has not.
    """

    compiled: CompiledPolicy
    use: Use
    splits: list[Split]
    on_loss: list[dict[str, Split]]
    last_resort: list[tuple[int, ...]]
    held: list[Split | None]
    held_on_loss: list[dict[str, Split]]
    verdicts: list[Verdict]
    first: bool
    now_ms: int


Guard = Callable[[Proposal], None]


class UnlawfulTableError(RuntimeError):
    """A table that may not leave and can't be mended; the one in force stays."""


def apply_guards(proposal: Proposal) -> None:
    """All guards in order; changes the proposal's lists where one bites. May raise ``UnlawfulTableError``."""
    for guard in GUARDS:
        guard(proposal)


def fresh_capacity(proposal: Proposal) -> None:
    """Nothing is moved onto a pool without fresh capacity. Exempt: the first table."""
    if proposal.first:
        return
    barred = {pool for pool, grade in enumerate(proposal.use.limits.grade) if grade > GAINS_LAST}
    for index, (split, held) in enumerate(zip(proposal.splits, proposal.held, strict=True)):
        if held is None or split is held or barred.isdisjoint(split.pools):
            continue
        before = dict(zip(held.pools, held.weights, strict=True))
        gained = [
            pool
            for pool, parts in zip(split.pools, split.weights, strict=True)
            if pool in barred and parts > before.get(pool, 0)
        ]
        if gained and _is_lawful(proposal.compiled, index, held):
            _hold(proposal, index, held, Reason.GUARD_FRESH_CAPACITY)


def provider_share(proposal: Proposal) -> None:
    """No provider gets more of a workload than the policy allows, ``on_loss`` included."""
    compiled = proposal.compiled
    for index in _new(proposal):
        route = compiled.routes[index]
        if not route.share_max:
            continue
        split, held = proposal.splits[index], proposal.held[index]
        if split is not held and _gains_beyond_share(compiled, index, split, held):
            mended = held if held is not None else within_shares(split, route.share_max, compiled.provider_of)
            _hold(proposal, index, mended, Reason.GUARD_PROVIDER_SHARE)
        for provider, after in list(proposal.on_loss[index].items()):
            if (mended := within_shares(after, route.share_max, compiled.provider_of)) is not after:
                proposal.on_loss[index] = {**proposal.on_loss[index], provider: mended}
                said = Verdict(route.name, Reason.GUARD_PROVIDER_SHARE, proposal.now_ms)
                proposal.verdicts.append(said)


def lawful(proposal: Proposal) -> None:
    """Models, exclusivity and residency hold in every split, ``on_loss`` included, and in the last resort."""
    for index in _new(proposal):
        split = proposal.splits[index]
        if not _is_lawful(proposal.compiled, index, split):
            held = proposal.held[index]
            kept = held if held is not None and _is_lawful(proposal.compiled, index, held) else None
            _hold(proposal, index, kept or _only_lawful(proposal.compiled, index, split), Reason.GUARD_LAWFUL)
        losses = proposal.on_loss[index]
        checked = proposal.held_on_loss[index] if proposal.held_on_loss else {}
        for provider, split in list(losses.items()):
            if checked.get(provider) is split or _is_lawful(proposal.compiled, index, split):
                continue
            losses = proposal.on_loss[index] = dict(losses)
            losses[provider] = _only_lawful(proposal.compiled, index, losses[provider])
            route = proposal.compiled.routes[index].name
            proposal.verdicts.append(Verdict(route, Reason.GUARD_LAWFUL, proposal.now_ms))
    for index, (rule, pools) in enumerate(zip(proposal.compiled.routes, proposal.last_resort, strict=True)):
        if not rule.lawful_set.issuperset(pools):
            proposal.last_resort[index] = tuple(pool for pool in pools if pool in rule.lawful_set)
            proposal.verdicts.append(Verdict(rule.name, Reason.GUARD_LAWFUL, proposal.now_ms))


def whole_table(proposal: Proposal) -> None:
    """Never an empty table, and every split whole."""
    if not proposal.splits:
        raise UnlawfulTableError("an empty table")
    for index in _new(proposal):
        split = proposal.splits[index]
        if sum(split.weights) + split.shed != MILLION or min(split.weights, default=0) < 0:
            raise UnlawfulTableError(f"{proposal.compiled.routes[index].name}: the shares are not whole")


GUARDS: tuple[Guard, ...] = (fresh_capacity, provider_share, lawful, whole_table)


def _new(proposal: Proposal) -> list[int]:
    """The routes that are not untouched since they left last time under this policy, checked then."""
    if not proposal.held_on_loss:
        return list(range(len(proposal.splits)))
    now = zip(proposal.splits, proposal.held, proposal.on_loss, proposal.held_on_loss, strict=True)
    return [
        index
        for index, (split, held, losses, known) in enumerate(now)
        if split is not held or losses is not known
    ]


def _is_lawful(compiled: CompiledPolicy, index: int, split: Split) -> bool:
    return compiled.routes[index].lawful_set.issuperset(split.pools)


def _only_lawful(compiled: CompiledPolicy, index: int, split: Split) -> Split:
    allowed = compiled.routes[index].lawful_set
    kept = [(pool, parts) for pool, parts in zip(split.pools, split.weights, strict=True) if pool in allowed]
    weights = tuple(parts for _, parts in kept)
    return Split(tuple(pool for pool, _ in kept), weights, MILLION - sum(weights))


def _gains_beyond_share(compiled: CompiledPolicy, index: int, split: Split, held: Split | None) -> bool:
    for provider, most in compiled.routes[index].share_max.items():
        now = _of_provider(compiled, split, provider)
        before = _of_provider(compiled, held, provider) if held is not None else 0
        if now > most_parts(most) and now > before:
            return True
    return False


def _of_provider(compiled: CompiledPolicy, split: Split, provider: int) -> int:
    pairs = zip(split.pools, split.weights, strict=True)
    return provider_parts(pairs, compiled.provider_of, provider)


def _hold(proposal: Proposal, index: int, split: Split, reason: Reason) -> None:
    proposal.splits[index] = split
    proposal.verdicts.append(Verdict(proposal.compiled.routes[index].name, reason, proposal.now_ms))
