"""The first table of a lineage, made from the policy alone."""

from controller.core.moves.first_table import first_draft
from controller.core.orders.claims import Claims
from controller.core.policy.compiled import compile_policy
from tests.unit.controller.core.made import policy, pool, workload
from tieline.table import MILLION

NOTHING = Claims({}, {}, None)


def test_half_of_what_is_committed_is_used() -> None:
    """The nearest pool commits 100: it gets 50 of the 80, the next one the rest."""
    compiled = compile_policy(policy((pool("azure/near"), pool("gcp/far", latency_ms=300)), headroom=0.8))
    made = first_draft(compiled, NOTHING, [80.0])
    assert made.load == [50.0, 30.0]


def test_critical_load_may_use_the_headroom_rather_than_be_shed() -> None:
    """One pool commits 100: chat gets all of its 70, beyond the half; batch is shed."""
    given = policy((pool("azure/only"),), (workload("chat"), workload("batch", "sheddable")), headroom=0.8)
    made = first_draft(compile_policy(given), NOTHING, [70.0, 70.0])
    assert made.shed == [0, MILLION]
