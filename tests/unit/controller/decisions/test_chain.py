"""Records in order are rebuilt, and what is missing of them is counted and named."""

from controller.decisions.chain import Chain
from controller.decisions.record import decision_of, encode_decision
from controller.decisions.replay import difference
from tests.unit.controller.decisions.lived import bodies_of, lived, rebuilt


def test_every_changed_record_is_rebuilt_and_decides_the_same() -> None:
    """Through failure, drain and recovery: equal snapshots, the same bytes, no gap."""
    steps = lived()
    chain = Chain()
    decisions = rebuilt(chain, bodies_of(steps))
    assert len(decisions) == len(steps)
    assert not chain.gaps
    assert any(step.ready.urgent for step in steps)
    for decision, step in zip(decisions, steps, strict=True):
        assert decision.snapshot == step.snapshot
        assert decision.published == step.published
        assert difference(decision) is None


def test_a_missing_record_is_a_gap_and_nothing_is_built_on_it() -> None:
    """It breaks the chain until the next whole record; how many are missing is counted."""
    steps = lived(12)
    bodies = bodies_of(steps)
    chain = Chain()
    whole = encode_decision(decision_of(steps[9], None))
    decisions = rebuilt(chain, [*bodies[:3], *bodies[6:9], whole, bodies[10]])
    assert [decision.generation.seq for decision in decisions] == [1, 2, 3, 10, 11]
    assert [(gap.missing, gap.why.startswith("decisions in between")) for gap in chain.gaps[:2]] == [
        (3, True),
        (1, False),
    ]


def test_what_is_read_twice_or_unreadable_changes_nothing() -> None:
    """A record sent twice is passed over; one that can't be read is a gap with its offset."""
    bodies = bodies_of(lived(4))
    chain = Chain()
    decisions = rebuilt(chain, [bodies[0], bodies[0], b"\xc1", bodies[1]])
    assert [decision.generation.seq for decision in decisions] == [1, 2]
    assert [gap.at for gap in chain.gaps] == ["offset 2"]
