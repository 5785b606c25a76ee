"""Why a pool has no share of a route: each rule is named, with whom or what it names."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from controller.core.inspect.explain import explain
from controller.core.inspect.why_no_share import NoShare
from controller.core.model.reasons import Reason
from controller.core.model.words import WORDS
from controller.core.policy.policy import Origin, Policy, Provider, QuotaGroup, Source
from tests.scenarios.world import START_MS, World
from tests.unit.controller.core.made import policy, pool, workload
from tieline.events import Claim, Command
from tieline.table import ModelOffer

HOUR_MS = 3_600_000


def two(**more: object) -> Policy:
    """One workload, chat, for which azure comes before gcp in merit order."""
    pools = (pool("azure/r"), pool("gcp/r", committed=0.0, price=9.0))
    return replace(policy(pools), **more)


def world_of(rules: Policy, **demand: float) -> World:
    """A settled world with stated capacity; ``demand`` is the units/s of each workload from eu."""
    world = World(replace(rules, sources=(Source("fleet", "fleet"), Source("prober", "probe"))))
    world.demand = {(name, "eu"): units for name, units in demand.items()}
    world.voluntary_after_ms = START_MS + 5_000  # a prober has spoken of every pool by then
    world.decide()
    list(world.run(40_000))
    return world


def no_share(world: World, name: str = "gcp/r/d", route: str = "chat/eu") -> NoShare:
    """Why this pool has no share of this route."""
    return explain(world.snapshot(), world.now_ms).routes[route].nothing[name]


@pytest.mark.parametrize(
    ("change", "reason", "named"),
    [
        ({"exclusive_provider": "azure"}, Reason.EXCLUSIVE_ELSEWHERE, ("azure",)),
        ({"allowed_providers": ("azure", "oci")}, Reason.PROVIDER_NOT_ALLOWED, ("azure", "oci")),
        ({"pinned_pools": ("azure/r/d",)}, Reason.PINNED_ELSEWHERE, ("azure/r/d",)),
        ({"allowed_geographies": ("eu",)}, Reason.RESIDENCY_OF_WORKLOAD, ("eu",)),
        ({"allowed_geographies_by_origin": {"eu": ("eu", "uk")}}, Reason.RESIDENCY_OF_WORKLOAD, ("eu", "uk")),
        ({"models": ("m", "n")}, Reason.MODEL_NOT_OFFERED, ("n",)),
    ],
)
def test_the_law_names_its_rule(change: dict[str, object], reason: Reason, named: tuple[str, ...]) -> None:
    """A pool that may not serve a route says which clause forbids it and what that clause asks for."""
    rules = two()
    first, second = rules.pools
    both = (ModelOffer("m", "m"), ModelOffer("n", "n"))
    pools = (replace(first, models=both), replace(second, geography="us"))
    work = replace(rules.workloads[0], **change)
    answer = no_share(world_of(replace(rules, pools=pools, workloads=(work,)), chat=50.0))
    assert (answer.verdict.reason, answer.named) == (reason, named)


def test_residency_of_the_origin_is_told_from_that_of_the_workload() -> None:
    """Where data from an origin may go at all is a reason of its own."""
    rules = two(origins=(Origin("eu", ("eu",)),))
    pools = (rules.pools[0], replace(rules.pools[1], geography="us"))
    answer = no_share(world_of(replace(rules, pools=pools), chat=50.0))
    assert (answer.verdict.reason, answer.named) == (Reason.RESIDENCY_OF_ORIGIN, ("eu",))


def test_a_drain_names_who_and_why_since_and_until() -> None:
    """The operator's name and words, and both ends of the drain."""
    world = world_of(two(), chat=50.0)
    since, until = world.now_ms - 5, world.now_ms + HOUR_MS
    world.commands.append(Command("c", "drain", "gcp", "kim", "repair", since, until))
    list(world.run(1_000))
    answer = no_share(world)
    assert (answer.verdict.reason, answer.named) == (Reason.DRAINED, ("kim: repair",))
    assert (answer.verdict.since_ms, answer.verdict.until_ms) == (since, until)


def test_maintenance_names_its_source() -> None:
    """The source that announced it, its words, and the end of the maintenance."""
    world = world_of(two(), chat=50.0)
    claim = Claim("maintenance", world.now_ms + HOUR_MS, text="new racks")
    world.claims["gcp/r"] = ("maintenance", claim)
    list(world.run(1_000))
    answer = no_share(world)
    assert (answer.verdict.reason, answer.verdict.until_ms) == (Reason.MAINTENANCE, claim.expires_ms)
    assert answer.named
    assert "new racks" in answer.named[0]


def test_down_has_its_finding_since_and_until() -> None:
    """The finding, since when, and until when the pool is held down."""
    world = world_of(two(), chat=150.0)
    world.pools["gcp/r/d"].errors = 1.0
    world.demand["chat", "eu"] = 90.0  # the other pool can carry this alone
    list(world.run(20_000))
    answer = no_share(world).verdict
    assert (answer.after, answer.since_ms > START_MS, (answer.until_ms or 0) > world.now_ms) == (
        "down",
        True,
        True,
    )


def _expired(world: World) -> None:
    world.silent_sources = {"fleet"}


def _nothing_stated(world: World) -> None:
    world.pools["gcp/r/d"].stated = 0.0


@pytest.mark.parametrize(
    ("happens", "reason"), [(_expired, Reason.CAPACITY_EXPIRED), (_nothing_stated, Reason.NO_CAPACITY)]
)
def test_capacity_that_is_not_there(happens: Callable[[World], None], reason: Reason) -> None:
    """Capacity that expired and a stated limit of zero have different reasons."""
    world = world_of(two(), chat=50.0)
    happens(world)
    list(world.run(40_000))
    assert no_share(world).verdict.reason is reason


@pytest.mark.parametrize(
    ("mode", "reason"), [("observe", Reason.MODE_OBSERVE), ("recommend", Reason.MODE_RECOMMEND)]
)
def test_a_mode_that_moves_nothing_is_named(mode: str, reason: Reason) -> None:
    """Nothing is moved onto the pools of a provider in mode observe or recommend."""
    providers = (Provider("azure"), Provider("gcp", mode))  # type: ignore[arg-type]
    assert no_share(world_of(two(providers=providers), chat=50.0)).verdict.reason is reason


def test_unknown_comes_last_and_degraded_late() -> None:
    """A pool that is unknown or degraded only comes later; the pools that carry the route are named."""
    world = world_of(two(), chat=50.0)
    world.pools["gcp/r/d"].probed = False
    reports = world.reporting.reports
    world.reporting.reports = {name: row for name, row in reports.items() if "gcp" not in name}
    world.memory = replace(world.memory, pools={"azure/r/d": world.memory.pools["azure/r/d"]})  # type: ignore[union-attr,type-var]
    answer = no_share(world)
    assert (answer.verdict.reason, answer.named) == (Reason.UNKNOWN_LAST, ("azure/r/d",))
    world = world_of(two(), chat=50.0)
    world.claims["gcp/r"] = ("status", Claim("degraded", world.now_ms + HOUR_MS))
    list(world.run(2_000))
    answer = no_share(world)
    assert (answer.verdict.reason, answer.verdict.after) == (Reason.DEGRADED_LATE, "degraded")


def test_a_pool_further_down_the_merit_order_names_those_before_it() -> None:
    """The pools before it carry all load of the route."""
    answer = no_share(world_of(two(), chat=50.0))
    assert (answer.verdict.reason, answer.named) == (Reason.LATER_IN_MERIT, ("azure/r/d",))


def test_other_load_that_fills_the_pool_is_named() -> None:
    """A more critical workload takes all the room of the pool."""
    rules = two(
        workloads=(
            workload("chat", "sheddable"),
            workload("voice", "critical_plus", exclusive="gcp"),
        )
    )
    answer = no_share(world_of(rules, chat=50.0, voice=100.0))
    assert (answer.verdict.reason, answer.named) == (Reason.NO_ROOM, ("voice/eu",))


def test_a_full_quota_group_is_named() -> None:
    """The pool's own limit leaves room, that of its quota group does not."""
    rules = two(
        pools=(pool("azure/r", group="shared"), pool("gcp/r", committed=0.0, group="shared")),
        quota_groups=(QuotaGroup("shared", 60.0),),
    )
    answer = no_share(world_of(rules, chat=80.0))
    assert (answer.verdict.reason, answer.named) == (Reason.GROUP_FULL, ("shared",))


def test_the_fullest_of_its_quota_groups_is_named() -> None:
    """Of two groups with less room than the pool, the one with the least."""
    rules = two(
        pools=(
            pool("azure/r", group=("wide", "tight")),
            pool("gcp/r", committed=0.0, group=("wide", "tight")),
        ),
        quota_groups=(QuotaGroup("wide", 75.0), QuotaGroup("tight", 60.0)),
    )
    answer = no_share(world_of(rules, chat=80.0))
    assert (answer.verdict.reason, answer.named) == (Reason.GROUP_FULL, ("tight",))


def test_a_provider_that_has_its_largest_share() -> None:
    """The provider's other pool carries the largest share that the policy allows."""
    rules = policy(
        (pool("gcp/a"), pool("gcp/r", committed=0.0, price=9.0), pool("azure/r", committed=0.0, price=99.0)),
        (replace(workload("chat"), provider_share_max={"gcp": 0.5}),),
    )
    answer = no_share(world_of(rules, chat=50.0))
    assert (answer.verdict.reason, answer.verdict.value) == (Reason.PROVIDER_SHARE_FULL, 0.5)


def test_load_that_comes_with_the_next_moves() -> None:
    """Merit order puts load on the pool, but moves by choice take time, or wait for silent sources."""
    probers = tuple(Source(name, "probe") for name in ("prober", "prober-b", "prober-c"))
    world = World(replace(two(), sources=(Source("fleet", "fleet"), *probers)))
    world.demand = {("chat", "eu"): 50.0}
    world.commands.append(Command("c", "drain", "azure", "kim", "r", START_MS, START_MS + 20_000))
    world.decide()
    list(world.run(19_000))
    world.now_ms = START_MS + 20_000
    answer = no_share(world, "azure/r/d").verdict
    assert (answer.reason, answer.value) == (Reason.MOVE_DUE, 1.0)
    world.silent_sources = {"prober-b", "prober-c"}
    world.now_ms += 30_000
    world._observe()
    assert no_share(world, "azure/r/d").verdict.reason is Reason.SOURCES_UNHEARD


def test_every_reason_has_words() -> None:
    """Every reason that a verdict can have has a sentence."""
    assert set(WORDS) == set(Reason)
