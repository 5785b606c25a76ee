"""The quick look at losses: it may doubt a loss that is survived, and never the other way round."""

from dataclasses import dataclass

import numpy as np
import pytest
from msgspec.structs import replace

from controller.core.lp.programme import Bools, Floats, Instance, instance_of
from controller.core.lp.screen_losses import doubtful, failure_domains, unsurvived, without_room
from controller.core.policy.compiled import compile_policy
from controller.core.policy.policy import Policy, QuotaGroup
from tests.unit.controller.core.lp.test_solve import problem
from tests.unit.controller.core.made import policy, pool, workload
from tieline.table import MILLION

THREE = policy(tuple(pool(f"{name}/x") for name in "abc"))
GROUPED = policy(
    (pool("a/x"), pool("b/x", group="shared"), pool("c/x", group="shared")),
    groups=(QuotaGroup("shared", 50.0),),
)


@dataclass(frozen=True)
class Placed:
    """An instance, and the load ([R, P], scaled) that each route has on each pool."""

    instance: Instance
    flows: Floats

    def lost(self, *providers: str) -> Bools:
        """By pool, whether it is of one of these providers."""
        pools = self.instance.compiled.policy.pools
        return np.array([pool.provider in providers for pool in pools])

    def short(self, *providers: str) -> float:
        """The load in units/s for which ``without_room`` finds no room."""
        return without_room(self.instance, self.flows, self.lost(*providers)) / self.instance.scale

    def is_doubtful(self, *providers: str) -> bool:
        """What ``doubtful`` says of this loss alone."""
        return bool(doubtful(self.instance, self.flows, self.lost(*providers)[None, :])[0])


def placed(rules: Policy, load: dict[str, dict[str, float]]) -> Placed:
    """``load``: for each route its units/s by pool."""
    demand = {route: sum(units.values()) for route, units in load.items()}
    held = {
        route: {name: round(part / demand[route] * MILLION) for name, part in units.items()}
        for route, units in load.items()
    }
    instance = instance_of(compile_policy(rules), problem(rules, demand, held=held))
    return Placed(instance, instance.in_place)


@pytest.mark.parametrize(("units", "short"), [(50.0, 0.0), (60.0, 20.0), (90.0, 80.0)])
def test_a_loss_that_leaves_too_little_room_is_doubtful_and_measured(units: float, short: float) -> None:
    """Two pools with as much load each are lost together; the third has room for 100 units/s."""
    world = placed(THREE, {"chat/eu": {"a/x": units, "b/x": units}})
    assert world.is_doubtful("a", "b") == (short > 0)
    assert world.short("a", "b") == pytest.approx(short)


def test_room_is_what_critical_load_and_quota_groups_leave() -> None:
    """The remaining pools have 200 units/s, less 70 of load that stays; or 50, as their quota group says."""
    world = placed(THREE, {"chat/eu": {"a/x": 100.0, "b/x": 70.0}})
    assert not world.is_doubtful("a")
    assert world.short("b") == 0.0
    assert world.short("a", "c") == pytest.approx(70.0)
    assert placed(GROUPED, {"chat/eu": {"a/x": 80.0}}).short("a") == pytest.approx(30.0)


def test_other_load_makes_way() -> None:
    """A pool full of sheddable load has all its room for critical load after a loss."""
    rules = replace(THREE, workloads=(workload("chat"), workload("batch", "sheddable")))
    world = placed(rules, {"chat/eu": {"a/x": 100.0}, "batch/eu": {"b/x": 100.0, "c/x": 100.0}})
    assert not world.is_doubtful("a")
    assert world.short("a") == 0.0
    assert world.short("b", "c") == 0.0


def test_a_share_limit_makes_a_loss_doubtful_and_is_kept() -> None:
    """Half of the route may lie at b: of its 100 units/s 50 have a place when a is lost."""
    limited = replace(workload("chat"), provider_share_max={"b": 0.5})
    rules = policy((pool("a/x"), pool("b/x", committed=200.0, limit=200.0)), (limited,))
    world = placed(rules, {"chat/eu": {"a/x": 100.0}})
    assert world.is_doubtful("a")
    assert world.short("a") == pytest.approx(50.0)


def test_only_domains_that_are_not_survived_are_named_the_worst_first() -> None:
    """Of all regions and named domains: not a provider by another name, and not what is part of a survived
    loss."""
    pools = (
        replace(pool("a/x"), domains=("edge", "power")),
        replace(pool("b/x", committed=80.0, limit=80.0), domains=("edge",)),
        replace(pool("b/y"), domains=("power",)),
        pool("c/x"),
    )
    rules = policy(pools)
    domains = failure_domains(compile_policy(rules))
    assert list(domains) == ["b/x", "b/y", "edge", "power"]
    world = placed(rules, {"chat/eu": {"a/x": 100.0, "b/x": 60.0, "b/y": 90.0}})
    assert unsurvived(world.instance, world.flows, domains, [], 0.0) == ["power", "edge"]
    assert unsurvived(world.instance, world.flows, domains, [domains["power"]], 0.0) == ["edge"]
