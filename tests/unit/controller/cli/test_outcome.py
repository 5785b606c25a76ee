"""What an order moved, in words."""

import pytest

from controller.cli.outcome import outcome
from controller.core.policy.policy import encode_policy
from controller.routes.record import RoutesRecord
from tests.unit.controller.core.made import NOW_MS, policy, pool
from tieline.table import Generation, PoolInfo, Route, RouteTable, Split

POOLS = ("azure/r/d", "gcp/r/d", "oci/r/d")
PACKED = encode_policy(policy((pool("azure/r"), pool("gcp/r"), pool("oci/r"))))


def record(seq: int, chat: Split, batch: Split) -> RoutesRecord:
    """A publication of two routes over three pools."""
    generation = Generation("test", 0, seq)
    routes = tuple(
        Route(workload, "eu", "critical", split=split)
        for workload, split in (("chat", chat), ("batch", batch))
    )
    infos = tuple(PoolInfo(name, "eu", "https://pool/v1") for name in POOLS)
    return RoutesRecord(
        generation,
        NOW_MS,
        table=RouteTable(generation, NOW_MS, infos, routes=routes),
        policy=PACKED,
    )


BEFORE = record(1, Split((0, 1), (400_000, 600_000)), Split((0, 2), (500_000, 500_000)))
AFTER = record(2, Split((1,), (1_000_000,)), Split((2,), (600_000,), 400_000))
OFFERED = {"chat/eu": 2_000.0, "batch/eu": 1_000.0}


@pytest.mark.parametrize(
    ("scope", "offered", "expected"),
    [
        ("azure", OFFERED, "; moves 1,300 tokens/s: 800 to gcp, 400 shed (batch), 100 to oci"),
        ("azure/r/d", {"chat/eu": 10.0}, "; moves 4 tokens/s: 4 to gcp"),
        ("azure", {}, "; mean share of azure in all routes 45.0% -> 0.0%"),
        ("*", OFFERED, ""),
    ],
)
def test_what_an_order_moved_is_told_in_units(scope: str, offered: dict[str, float], expected: str) -> None:
    """Where to and how much, the largest first; as a share where no client reports its load."""
    assert outcome(scope, BEFORE, AFTER, offered) == expected


def test_an_order_that_moves_nothing_says_so() -> None:
    """A mode may hold the move back, or the pool carried nothing."""
    assert outcome("azure", BEFORE, BEFORE, OFFERED) == "; it moves nothing now"


def test_moves_of_other_routes_are_not_the_orders() -> None:
    """A route in which the scope's share is the same moved for another reason."""
    assert outcome("oci", BEFORE, AFTER, {"chat/eu": 2_000.0}) == "; it moves nothing now"
