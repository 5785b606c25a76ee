"""The model of feedback: what becomes of load at pools that throttle, fail or hang."""

import pytest

from lab.sim.fleet import Clients, Outcome, PoolNature, _sum_of
from tests.unit.lab.sim.facts import A, B, table
from tieline.table import MILLION

DEMAND = {"chat/eu": 100.0}
NO_BATCH = {B: MILLION}


def serve(natures: dict[str, PoolNature], chat: dict[str, int], second: int = 1) -> Outcome:
    """One second of one client."""
    return Clients({"client": 1.0}).serve({"client": table(chat, NO_BATCH)}, DEMAND, natures, {}, second)


def test_what_a_pool_throttles_is_served_elsewhere() -> None:
    """Half of a's load answers 429 and goes to b, where the client sends some already."""
    outcome = serve({A: PoolNature(45.0), B: PoolNature(1_000.0)}, {A: 900_000, B: 100_000})
    assert outcome.served["chat/eu"] == pytest.approx(100.0)
    assert outcome.traffic["client", A].throttled == pytest.approx(45.0)
    assert outcome.traffic["client", B].served == pytest.approx(55.0)


def test_a_pool_may_throttle_although_it_has_room() -> None:
    """It answers six of ten requests with 429, however few there are; the rest is served."""
    outcome = serve({A: PoolNature(1_000.0, throttles=0.6), B: PoolNature(0.0)}, {A: MILLION})
    assert outcome.traffic["client", A].throttled == pytest.approx(60.0)
    assert outcome.served["chat/eu"] == pytest.approx(40.0)


def test_load_without_another_pool_is_lost() -> None:
    """With one pool in the table there is nowhere else to go."""
    outcome = serve({A: PoolNature(1_000.0, errors=1.0), B: PoolNature(1_000.0)}, {A: MILLION})
    assert outcome.served["chat/eu"] == 0.0


def test_a_client_leaves_a_pool_that_fails_it() -> None:
    """In the next second everything goes to the pool that works."""
    clients = Clients({"client": 1.0})
    natures = {A: PoolNature(1_000.0, errors=1.0), B: PoolNature(1_000.0)}
    routes = table({A: 500_000, B: 500_000}, NO_BATCH)
    clients.serve(dict.fromkeys(clients.shares, routes), DEMAND, natures, {}, 1)
    outcome = clients.serve(dict.fromkeys(clients.shares, routes), DEMAND, natures, {}, 2)
    assert ("client", A) not in outcome.traffic
    assert outcome.served["chat/eu"] == pytest.approx(100.0)


def test_a_quota_group_is_shared_by_load() -> None:
    """Two pools of a group of 50 that are sent 50 each serve 25 each."""
    clients = Clients({"client": 1.0})
    natures = {A: PoolNature(1_000.0), B: PoolNature(1_000.0)}
    group = {"quota": (50.0, frozenset({A, B}))}
    tables = dict.fromkeys(clients.shares, table({A: 500_000, B: 500_000}, NO_BATCH))
    outcome = clients.serve(tables, DEMAND, natures, group, 1)
    assert outcome.traffic["client", A].served == pytest.approx(25.0)
    assert outcome.served["chat/eu"] == pytest.approx(50.0)


@pytest.mark.parametrize("group", range(8))
def test_sums_of_a_group_are_rounded_alike_in_every_process(group: int) -> None:
    """They add up in the order of the load, whatever the order of the set of pools is."""
    units = {f"{group}/{number}": 1.0 if number else 1e16 for number in range(12)}
    assert _sum_of(units, frozenset(units)) == sum(units.values())
    assert _sum_of(units, frozenset(list(units)[1:4])) == 3.0
