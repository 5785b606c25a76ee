"""The independent reading of contracts agrees with the controller's own, on generated policies."""

import msgspec
import pytest

from controller.core.policy.compiled import compile_policy
from lab.sim.contracts import contracts_of
from lab.sim.generate import generate


@pytest.mark.parametrize("seed", range(30))
def test_both_readings_of_a_policy_agree(seed: int) -> None:
    """Lawful pools, ranks and share limits of every route are the same, though no code is."""
    policy = generate(str(seed), 60).policy
    compiled = compile_policy(policy)
    contracts = contracts_of(msgspec.to_builtins(policy))
    assert set(contracts.routes) == {route.name for route in compiled.routes}
    for route in compiled.routes:
        contract = contracts.routes[route.name]
        assert contract.lawful == {compiled.pools[index] for index in route.lawful}
        assert contract.rank == route.rank
        assert dict(contract.share_max) == {compiled.providers[p]: s for p, s in route.share_max.items()}
