"""The last look: each guard bites on its own, says so, and holds the route back."""

import pytest

from controller.core.guards.last_look import Proposal, UnlawfulTableError, apply_guards
from controller.core.model.reasons import Reason
from controller.core.moves.draft import GAINS, KEEPS
from controller.core.moves.eligible import Use
from controller.core.policy.compiled import CompiledPolicy, compile_policy
from controller.core.policy.policy import Workload
from tests.unit.controller.core.made import NOW_MS, limits, policy, pool, workload
from tieline.table import MILLION, Split

EVEN = Split((0, 1), (500_000, 500_000))
ALL_ON_B = Split((1,), (MILLION,))


def rules_of(*works: Workload) -> CompiledPolicy:
    """Two pools, azure/a and gcp/b."""
    return compile_policy(policy((pool("azure/a"), pool("gcp/b")), works))


def proposed(
    compiled: CompiledPolicy,
    split: Split,
    held: Split | None = EVEN,
    *,
    grade_b: int = GAINS,
    first: bool = False,
) -> Proposal:
    """One route that changes from ``held`` to ``split``."""
    use = Use(limits(compiled, grades={"gcp/b": grade_b}), [100.0, 100.0], {}, False)
    return Proposal(compiled, use, [split], [{}], [()], [held], [], [], first, NOW_MS)


def test_what_keeps_the_rules_passes_untouched() -> None:
    """No guard speaks without need."""
    proposal = proposed(rules_of(), ALL_ON_B)
    apply_guards(proposal)
    assert (proposal.splits, proposal.verdicts) == ([ALL_ON_B], [])


def test_nothing_is_moved_onto_a_pool_that_may_not_gain() -> None:
    """Without fresh capacity the route stays as it was; the first table is exempt."""
    proposal = proposed(rules_of(), ALL_ON_B, grade_b=KEEPS)
    apply_guards(proposal)
    assert proposal.splits == [EVEN]
    assert [verdict.reason for verdict in proposal.verdicts] == [Reason.GUARD_FRESH_CAPACITY]
    first = proposed(rules_of(), ALL_ON_B, None, grade_b=KEEPS, first=True)
    apply_guards(first)
    assert first.splits == [ALL_ON_B]


def test_a_provider_does_not_grow_beyond_its_share() -> None:
    """A contract's limit on one provider."""
    proposal = proposed(rules_of(workload("chat", provider_share_max={"gcp": 0.6})), ALL_ON_B)
    apply_guards(proposal)
    assert proposal.splits == [EVEN]
    assert [verdict.reason for verdict in proposal.verdicts] == [Reason.GUARD_PROVIDER_SHARE]


def test_an_unlawful_route_falls_back_to_what_is_lawful() -> None:
    """To the table in force if that is lawful, else to its lawful part, the rest shed."""
    rules = rules_of(workload("api", exclusive="azure"))
    lawful = Split((0,), (MILLION,))
    proposal = proposed(rules, EVEN, lawful)
    apply_guards(proposal)
    assert proposal.splits == [lawful]
    proposal = proposed(rules, EVEN, EVEN)
    apply_guards(proposal)
    assert proposal.splits == [Split((0,), (500_000,), 500_000)]
    assert Reason.GUARD_LAWFUL in {verdict.reason for verdict in proposal.verdicts}


def test_on_loss_is_held_to_the_law_as_well() -> None:
    """What clients do by themselves when a provider is lost stays within contracts and residency."""
    proposal = proposed(rules_of(workload("api", exclusive="azure")), Split((0,), (MILLION,)), None)
    proposal.on_loss[0]["azure"] = ALL_ON_B
    apply_guards(proposal)
    assert proposal.on_loss[0]["azure"] == Split((), (), MILLION)


def test_the_last_resort_is_held_to_the_law_as_well() -> None:
    """In the last moment of all no contract is broken either, on an untouched route included."""
    rules = rules_of(workload("api", exclusive="azure"))
    lawful = Split((0,), (MILLION,))
    proposal = proposed(rules, lawful, lawful)._replace(last_resort=[(1, 0)], checked_on_loss=[{}])
    proposal = proposal._replace(on_loss=proposal.checked_on_loss)
    apply_guards(proposal)
    assert proposal.last_resort == [(0,)]
    assert [verdict.reason for verdict in proposal.verdicts] == [Reason.GUARD_LAWFUL]


@pytest.mark.parametrize("split", [Split((0,), (999_999,)), Split((0, 1), (1_000_001, -1))])
def test_shares_that_are_not_whole_never_leave(split: Split) -> None:
    """The table in force stays instead."""
    with pytest.raises(UnlawfulTableError):
        apply_guards(proposed(rules_of(), split))


def test_an_empty_table_never_leaves() -> None:
    """Whatever led to it."""
    proposal = proposed(rules_of(), EVEN)
    proposal.splits.clear()
    proposal.on_loss.clear()
    proposal.before.clear()
    with pytest.raises(UnlawfulTableError, match="empty"):
        apply_guards(proposal)


def test_what_is_prepared_for_a_loss_keeps_within_shares_too() -> None:
    """The excess is shed, a route that is new included."""
    rules = rules_of(workload("chat", provider_share_max={"gcp": 0.6}))
    proposal = proposed(rules, EVEN)
    proposal.on_loss[0] = {"azure": ALL_ON_B}
    apply_guards(proposal)
    assert proposal.on_loss == [{"azure": Split((1,), (600_000,), 400_000)}]
    assert [verdict.reason for verdict in proposal.verdicts] == [Reason.GUARD_PROVIDER_SHARE]
    new = proposed(rules, ALL_ON_B, None, first=True)
    apply_guards(new)
    assert new.splits == [Split((1,), (600_000,), 400_000)]
