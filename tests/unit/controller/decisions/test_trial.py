"""Another policy over recorded decisions: compared with what was done, unit by unit."""

import pytest
from msgspec.structs import replace

from controller.decisions.chain import Chain
from controller.decisions.trial import Comparison, PolicyTrial
from tests.unit.controller.decisions.lived import POLICY, bodies_of, lived, rebuilt


def test_the_same_policy_comes_to_the_same_and_another_does_not() -> None:
    """With its own memory and table the policy in force ends where it ended; less headroom, in scarcity as
    well, ends elsewhere, serves less and breaks nothing."""
    decisions = rebuilt(Chain(), bodies_of(lived()))
    results: list[Comparison] = []
    tight_thresholds = replace(POLICY.thresholds, headroom_in_scarcity=0.3)
    for other in (POLICY, replace(POLICY, headroom=0.3, thresholds=tight_thresholds)):
        trial = PolicyTrial(other)
        for decision in decisions:
            trial.take(decision)
        result = trial.result()
        assert result is not None
        results.append(result)
    same, tight = results
    assert same.routes == ()
    assert same.recorded == same.other
    assert tight.recorded == same.recorded
    assert tight.other.served < tight.recorded.served
    assert sum(tight.other.shed.values()) > sum(tight.recorded.shed.values())
    for totals in (tight.recorded, tight.other):
        assert totals.offered == pytest.approx(totals.served + totals.failed + sum(totals.shed.values()))
        assert totals.broken == 0
    assert tight.routes[0].recorded != tight.routes[0].other
    assert same.length_ms == decisions[-1].now_ms - decisions[0].now_ms


def test_without_decisions_there_is_nothing_to_compare() -> None:
    """A trial that took none has no result."""
    assert PolicyTrial(POLICY).result() is None
