"""400 is the callers' own fault, unless siblings serve the very same callers."""

import pytest

from controller.core.evidence.gather import Evidence
from controller.core.evidence.siblings import refusing_pools
from controller.core.moves.held_table import table_of
from controller.core.policy.compiled import compile_policy
from tests.unit.controller.core.made import clients, policy, pool, seen, workload
from tieline.table import MILLION, Generation, Split

RULES = compile_policy(
    policy((pool("azure/a"), pool("gcp/b")), (workload("chat"), workload("api", exclusive="azure")))
)
A, B = RULES.pools
EVEN = Split((0, 1), (MILLION // 2, MILLION // 2))
TABLE = table_of(
    RULES, [EVEN, Split((0,), (MILLION,))], [{}, {}], [(), ()], ["", ""], Generation("test", 1, 1), 0
)


def met(served: int, refused: int) -> Evidence:
    """So many requests answered, so many refused with 400."""
    return seen(clients(served, client_error=refused))


def blamed(a: Evidence, b: Evidence | None, *, chat: float = 100.0, api: float = 0.0) -> set[str]:
    """Who refuses what its siblings serve; half of chat goes to each of the two pools, all of api to a."""
    evidence = {A: a} if b is None else {A: a, B: b}
    return refusing_pools(RULES, evidence, TABLE, [chat, api])


@pytest.mark.parametrize(
    ("served", "refused", "names"), [(10, 10, {A}), (11, 9, set()), (0, 20, {A}), (0, 19, set())]
)
def test_half_of_enough_requests_refused_here_and_served_there(
    served: int, refused: int, names: set[str]
) -> None:
    """From 20 requests and a share of 50 % on."""
    assert blamed(met(served, refused), met(100, 0)) == names


@pytest.mark.parametrize(("refused", "names"), [(10, {A}), (12, set())])
def test_where_siblings_refuse_as_well_the_callers_are_to_blame(refused: int, names: set[str]) -> None:
    """A sibling clears them only while it refuses less than 10 %, and only if it tells anything."""
    assert blamed(met(0, 50), met(100, refused)) == names
    assert blamed(met(0, 50), met(19, 0)) == set()
    assert blamed(met(0, 50), None) == set()


@pytest.mark.parametrize(("served", "refused", "names"), [(30, 70, set()), (20, 80, {A})])
def test_what_another_workloads_callers_could_cause_is_left_out(
    served: int, refused: int, names: set[str]
) -> None:
    """Half of a's load is api's, which no sibling carries: it may explain half of what is refused, and of the
    rest half must be refused."""
    assert blamed(met(served, refused), met(100, 0), chat=100.0, api=50.0) == names


def test_where_almost_nothing_can_be_compared_nobody_is_blamed() -> None:
    """Less than a tenth of its load is of workloads that siblings serve."""
    assert blamed(met(0, 100), met(100, 0), chat=10.0, api=95.0) == set()


def test_without_a_table_or_load_nothing_is_said() -> None:
    """Who calls a pool is known from the table alone."""
    assert refusing_pools(RULES, {A: met(0, 50), B: met(50, 0)}, None, [100.0, 0.0]) == set()
    assert blamed(met(0, 50), met(50, 0), chat=0.0) == set()
