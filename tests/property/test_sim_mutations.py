"""The simulator notices when the product breaks a rule: a few mutations of each part, in worlds that show it.

All of them: `python -m tools.sim_mutations`.
"""

import pytest

from tools.sim_mutations import judge, read_list, unbroken_faults

QUICK = (
    "exclusivity-dropped",
    "take-over-forgets",
    "numbers-left-out",
    "projected-before-it-is-published",
    "held-state-is-asked-anywhere",
    "letters-thrown-away",
)


@pytest.mark.parametrize("name", QUICK)
def test_a_broken_rule_breaches_its_invariant(name: str) -> None:
    """In a process of its own, in which one module is compiled from a changed text.

    Without the change no promise is broken in the same world.
    """
    (mutation,) = (item for item in read_list() if item.name == name)
    outcome = judge(mutation)
    assert outcome.result == "caught", outcome.report
    assert unbroken_faults(mutation.path) == []
