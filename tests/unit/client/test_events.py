"""What the counts of an event say when they are added up."""

import pytest

from tieline.events import CONFIGURATION_FAULTS, HEALTH_FAILURES, Outcomes, ResultClass


@pytest.mark.parametrize("result", list(ResultClass))
def test_each_class_speaks_of_health_configuration_or_neither(result: ResultClass) -> None:
    """The sums of ``Outcomes`` count exactly the classes that the contract's two sets name, and a success is
    an attempt that speaks about health."""
    outcomes = Outcomes(**{result.value: 3})
    assert outcomes.health_failures == (3 if result in HEALTH_FAILURES else 0)
    assert outcomes.configuration_faults == (3 if result in CONFIGURATION_FAULTS else 0)
    assert outcomes.health_attempts == (3 if result in HEALTH_FAILURES or result is ResultClass.OK else 0)
