"""Chains of moves: every limit on the way is asked, few units move, and the least critical gives way."""

from collections.abc import Mapping

import pytest

from controller.core.moves.chains import Chains
from controller.core.moves.draft import GAINS_LAST, GAINS_LATE, Draft, DraftLimits
from controller.core.moves.unplaced import Move, UnplacedLoad
from controller.core.policy.compiled import compile_policy
from controller.core.policy.policy import Policy, QuotaGroup
from tests.unit.controller.core.made import draft, limits, policy, pool, workload
from tieline.table import MILLION

AB = (pool("azure/a"), pool("gcp/b"))
ABC = (*AB, pool("oci/c"))


class Table:
    """A draft of a policy and the chains on it; ``weights`` by route and pool, the rest is shed."""

    def __init__(
        self,
        rules: Policy,
        demand: Mapping[str, float],
        weights: dict[str, dict[str, int]],
        grades: dict[str, int] | None = None,
        *,
        with_unknown: bool = False,
    ) -> None:
        self.compiled = compile_policy(rules)
        self.draft: Draft = draft(self.compiled, dict(demand), weights)
        self.limits: DraftLimits = limits(self.compiled, grades=grades)
        self.moves: list[Move] = []
        self.unplaced: list[UnplacedLoad] = []
        self.chains = Chains(
            self.draft,
            self.limits,
            moves=self.moves,
            unplaced=self.unplaced,
            with_unknown=with_unknown,
        )

    def claim(self, route: str) -> int:
        """Room for all that the route sheds, by moving on alone; the parts that find none."""
        return self.chains.into_room(*self._shed(route))

    def turn_out(self, route: str) -> int:
        """Room for all that the route sheds, by turning others out; the parts that find none."""
        return self.chains.in_place_of_others(*self._shed(route))

    def weights(self, route: str) -> dict[str, int]:
        """The route's parts by pool."""
        row = self.draft.weights[self._index(route)]
        return {self.compiled.pools[index].removesuffix("/d"): parts for index, parts in sorted(row.items())}

    def turned_out(self) -> dict[str, int]:
        """The parts without a place, by route."""
        return {self.compiled.routes[load.route].name: load.parts for load in self.unplaced}

    def _index(self, route: str) -> int:
        return next(i for i, rules in enumerate(self.compiled.routes) if rules.name == route)

    def _shed(self, route: str) -> tuple[int, int]:
        index = self._index(route)
        parts, self.draft.shed[index] = self.draft.shed[index], 0
        return index, parts


def test_load_moves_on_for_load_that_has_no_choice() -> None:
    """batch is bound to azure and chat is not: chat goes to gcp, as far as batch needs the room."""
    works = (workload("chat", "critical_plus"), workload("batch", "sheddable", exclusive="azure"))
    table = Table(
        policy(AB, works), {"chat/eu": 80, "batch/eu": 50}, {"chat/eu": {"azure/a": MILLION}, "batch/eu": {}}
    )
    table.draft.give(1, 0, 400_000)  # batch has 20 of its 50 there, and azure is full
    table.draft.shed[1] = 600_000
    assert table.claim("batch/eu") == 0
    assert table.weights("batch/eu") == {"azure/a": MILLION}
    assert table.weights("chat/eu") == {"azure/a": 625_000, "gcp/b": 375_000}
    assert [(move.route, move.pool, move.parts) for move in table.moves] == [(0, 0, 375_000)]


def test_a_chain_goes_over_as_many_pools_as_it_needs() -> None:
    """api needs azure, where chat is; chat may go to gcp, where mail is; mail may go to oci."""
    works = (
        workload("api", exclusive="azure"),
        workload("chat", allowed_providers=("azure", "gcp")),
        workload("mail", allowed_providers=("gcp", "oci")),
    )
    full = {"chat/eu": {"azure/a": MILLION}, "mail/eu": {"gcp/b": MILLION}}
    table = Table(policy(ABC, works), {"api/eu": 30, "chat/eu": 100, "mail/eu": 100}, full)
    assert table.claim("api/eu") == 0
    assert table.weights("chat/eu") == {"azure/a": 700_000, "gcp/b": 300_000}
    assert table.weights("mail/eu") == {"gcp/b": 700_000, "oci/c": 300_000}


def test_the_shorter_chain_is_made() -> None:
    """Two could move on for api; mail needs one move for it and chat two."""
    works = (
        workload("api", exclusive="azure"),
        workload("chat", allowed_providers=("azure", "gcp")),
        workload("pad", allowed_providers=("gcp", "oci")),
        workload("mail", allowed_providers=("azure", "oci")),
    )
    half = {"azure/a": 500_000}
    full = {"chat/eu": half | {"gcp/b": 500_000}, "mail/eu": half | {"oci/c": 500_000}}
    demand = {"api/eu": 20, "chat/eu": 100, "mail/eu": 100, "pad/eu": 50}
    table = Table(policy(ABC, works), demand, full | {"pad/eu": {"gcp/b": MILLION}})
    assert table.claim("api/eu") == 0
    assert table.weights("chat/eu") == {"azure/a": 500_000, "gcp/b": 500_000}
    assert table.weights("mail/eu") == {"azure/a": 300_000, "oci/c": 700_000}


def test_a_full_quota_group_is_relieved_at_its_other_pools() -> None:
    """chat may use only one deployment of the subscription; batch leaves the other for oci."""
    pools = (pool("azure/a", group="g"), pool("azure/b", group="g"), pool("oci/c"))
    works = (
        workload("chat", pinned_pools=("azure/a/d",)),
        workload("batch", "sheddable", pinned_pools=("azure/b/d", "oci/c/d")),
    )
    rules = policy(pools, works, groups=(QuotaGroup("g", 100),))
    table = Table(rules, {"chat/eu": 70, "batch/eu": 100}, {"batch/eu": {"azure/b": MILLION}})
    assert table.claim("chat/eu") == 0
    assert table.weights("batch/eu") == {"azure/b": 300_000, "oci/c": 700_000}


def test_moving_on_within_a_full_group_is_no_help() -> None:
    """batch could move to another deployment of the same subscription: that frees nothing, so it stays."""
    pools = (pool("azure/a", group="g"), pool("azure/b", group="g"))
    works = (workload("chat", pinned_pools=("azure/a/d",)), workload("batch", "sheddable"))
    rules = policy(pools, works, groups=(QuotaGroup("g", 100),))
    table = Table(rules, {"chat/eu": 70, "batch/eu": 100}, {"batch/eu": {"azure/a": MILLION}})
    assert table.claim("chat/eu") == MILLION
    assert table.weights("batch/eu") == {"azure/a": MILLION}


def test_load_that_is_in_all_full_groups_makes_way() -> None:
    """chat's deployment is in two full groups. Only batch is in both of them; mail is in one, and stays."""
    pools = (
        pool("azure/a", group=("model", "all")),
        pool("azure/b", group=("model", "all")),
        pool("azure/e", group="all"),
        pool("oci/c"),
    )
    works = (
        workload("chat", pinned_pools=("azure/a/d",)),
        workload("mail", "sheddable", pinned_pools=("azure/e/d", "oci/c/d")),
        workload("batch", "sheddable", pinned_pools=("azure/b/d", "oci/c/d")),
    )
    rules = policy(pools, works, groups=(QuotaGroup("model", 100), QuotaGroup("all", 150)))
    table = Table(
        rules,
        {"chat/eu": 70, "mail/eu": 50, "batch/eu": 100},
        {"mail/eu": {"azure/e": MILLION}, "batch/eu": {"azure/b": MILLION}},
    )
    assert table.claim("chat/eu") == 0
    assert table.weights("mail/eu") == {"azure/e": MILLION}
    assert table.weights("batch/eu") == {"azure/b": 300_000, "oci/c": 700_000}


def test_a_chain_takes_no_more_of_a_group_than_all_its_moves_find_there() -> None:
    """chat comes into two groups. What leaves the full one for it comes into the other, which thus takes two
    units for each one of chat's."""
    pools = (
        pool("azure/a", group=("full", "free")),
        pool("azure/b", group="full"),
        pool("azure/e", group="free"),
    )
    works = (
        workload("chat", pinned_pools=("azure/a/d",)),
        workload("batch", "sheddable", pinned_pools=("azure/b/d", "azure/e/d")),
    )
    rules = policy(pools, works, groups=(QuotaGroup("full", 100), QuotaGroup("free", 100)))
    table = Table(rules, {"chat/eu": 70, "batch/eu": 100}, {"batch/eu": {"azure/b": MILLION}})
    assert table.claim("chat/eu") == pytest.approx(MILLION * 20 / 70, abs=1)
    assert table.draft.group_load == pytest.approx([100, 100], abs=0.01)


def test_nothing_is_moved_for_a_route_at_its_largest_share() -> None:
    """api may have a tenth of itself on gcp and has it: batch stays there."""
    works = (
        workload("api", allowed_providers=("gcp",), provider_share_max={"gcp": 0.1}),
        workload("batch", "sheddable"),
    )
    weights = {"api/eu": {"gcp/b": 100_000}, "batch/eu": {"gcp/b": MILLION}}
    table = Table(policy(AB, works), {"api/eu": 100, "batch/eu": 90}, weights)
    assert table.claim("api/eu") == 900_000
    table.draft.shed[0] = 900_000
    assert table.turn_out("api/eu") == 900_000
    assert table.moves == []


def test_load_at_its_largest_share_may_move_within_its_provider() -> None:
    """chat has half of itself on azure, the most: it leaves azure/a for azure/b, not for more of azure."""
    pools = (pool("azure/a"), pool("azure/b"), pool("gcp/c"))
    works = (
        workload("api", pinned_pools=("azure/a/d",)),
        workload("chat", provider_share_max={"azure": 0.5}),
    )
    weights = {"chat/eu": {"azure/a": 500_000, "gcp/c": 500_000}}
    table = Table(policy(pools, works), {"api/eu": 50, "chat/eu": 200}, weights)
    assert table.claim("api/eu") == 0
    assert table.weights("chat/eu") == {"azure/a": 250_000, "azure/b": 250_000, "gcp/c": 500_000}


def test_a_route_met_at_one_pool_may_still_leave_another() -> None:
    """api needs the subscription. chat can't leave gcp/a, as azure has its share; azure/b it can leave."""
    pools = (pool("gcp/a", group="g"), pool("azure/b", group="g"), pool("azure/c"), pool("gcp/d", group="g"))
    works = (
        workload("api", pinned_pools=("gcp/d/d",)),
        workload("chat", provider_share_max={"azure": 0.5}),
    )
    rules = policy(pools, works, groups=(QuotaGroup("g", 100),))
    weights = {"chat/eu": {"gcp/a": 500_000, "azure/b": 500_000}}
    table = Table(rules, {"api/eu": 30, "chat/eu": 100}, weights)
    assert table.claim("api/eu") == 0
    assert table.weights("chat/eu") == {"gcp/a": 500_000, "azure/b": 200_000, "azure/c": 300_000}


def test_more_critical_load_moves_to_healthy_pools_only() -> None:
    """A degraded pool would take chat; for batch chat does not go there, for its equals it does."""
    pins = workload("chat", "critical_plus")
    for criticality, left in (("sheddable", MILLION), ("critical_plus", 0)):
        works = (pins, workload("batch", criticality, exclusive="azure"))  # type: ignore[arg-type]
        weights = {"chat/eu": {"azure/a": MILLION}}
        demand = {"chat/eu": 100.0, "batch/eu": 50.0}
        table = Table(policy(AB, works), demand, weights, grades={"gcp/b": GAINS_LATE})
        assert table.claim("batch/eu") == left


def test_the_least_critical_load_within_reach_gives_way() -> None:
    """batch is not where api may go, but chat is, and chat may take the place of batch: mail stays."""
    works = (
        workload("api", exclusive="azure"),
        workload("chat"),
        workload("mail", "sheddable_plus", exclusive="azure"),
        workload("batch", "sheddable"),
    )
    weights = {
        "chat/eu": {"azure/a": MILLION},
        "mail/eu": {"azure/a": MILLION},
        "batch/eu": {"gcp/b": MILLION},
    }
    demand = {"api/eu": 40, "chat/eu": 50, "mail/eu": 50, "batch/eu": 100}
    table = Table(policy(AB, works), demand, weights)
    assert table.turn_out("api/eu") == 0
    assert table.turned_out() == {"batch/eu": 400_000}
    assert table.weights("mail/eu") == {"azure/a": MILLION}
    assert table.weights("chat/eu") == {"azure/a": 200_000, "gcp/b": 800_000}


def test_equals_are_not_turned_out() -> None:
    """Nothing of the same criticality gives up its place, and nothing above."""
    works = (workload("api"), workload("chat"))
    table = Table(
        policy((pool("azure/a"),), works), {"api/eu": 50, "chat/eu": 100}, {"chat/eu": {"azure/a": MILLION}}
    )
    assert table.turn_out("api/eu") == MILLION
    assert table.moves == []


def test_only_critical_load_moves_on_to_unknown_pools() -> None:
    """Where chains may end on unknown pools they do so for critical movers alone."""
    for criticality, left in (("critical", 0), ("sheddable", MILLION)):
        works = (
            workload("api", exclusive="azure"),
            workload("other", criticality),  # type: ignore[arg-type]
        )
        weights = {"other/eu": {"azure/a": MILLION}}
        demand = {"api/eu": 50.0, "other/eu": 100.0}
        grades = {"gcp/b": GAINS_LAST}
        for with_unknown in (True, False):
            table = Table(policy(AB, works), demand, weights, grades, with_unknown=with_unknown)
            assert table.claim("api/eu") == (left if with_unknown else MILLION)
