"""A decision that comes out differently names where."""

from msgspec.structs import replace

from controller.decisions.chain import Chain
from controller.decisions.record import decision_of, encode_decision
from controller.decisions.replay import difference
from tests.unit.controller.decisions.lived import lived, rebuilt


def test_a_difference_names_generation_and_place() -> None:
    """A record whose outcome was tampered with is found, down to the field and both values."""
    step = lived(15)[13]
    verdict = replace(step.ready.decisions[0], value=123.0) if step.ready.decisions else None
    ready = replace(step.ready, decisions=(verdict,)) if verdict else replace(step.ready, urgent=True)
    (decision,) = rebuilt(Chain(), [encode_decision(decision_of(replace(step, ready=ready), None))])
    first = difference(decision)
    assert first is not None
    assert first.generation == str(step.generation)
    assert first.place.startswith("ready.")
    assert first.recorded != first.again
