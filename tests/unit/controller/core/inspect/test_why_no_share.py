"""Why a pool gets nothing of a route: each rule by its name, with whom or what it names."""

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
    """azure before gcp in merit order, for the workload chat alone."""
    pools = (pool("azure/r"), pool("gcp/r", committed=0.0, price=9.0))
    return replace(policy(pools), **more)


def world_of(given: Policy, **demand: float) -> World:
    """Settled, with capacity stated and load as given for eu."""
    world = World(replace(given, sources=(Source("fleet", "fleet"), Source("prober", "probe"))))
    world.demand = {(name, "eu"): units for name, units in demand.items()}
    world.voluntary_after_ms = START_MS + 5_000  # a prober has spoken of every pool by then
    world.decide()
    list(world.run(40_000))
    return world


def asked(world: World, name: str = "gcp/r/d", route: str = "chat/eu") -> NoShare:
    """Why this pool gets nothing of this route."""
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
    given = two()
    first, second = given.pools
    both = (ModelOffer("m", "m"), ModelOffer("n", "n"))
    pools = (replace(first, models=both), replace(second, geography="us"))
    work = replace(given.workloads[0], **change)
    found = asked(world_of(replace(given, pools=pools, workloads=(work,)), chat=50.0))
    assert (found.verdict.reason, found.named) == (reason, named)


def test_residency_of_the_origin_is_told_from_that_of_the_workload() -> None:
    """Where data from an origin may go at all."""
    given = two(origins=(Origin("eu", ("eu",)),))
    pools = (given.pools[0], replace(given.pools[1], geography="us"))
    found = asked(world_of(replace(given, pools=pools), chat=50.0))
    assert (found.verdict.reason, found.named) == (Reason.RESIDENCY_OF_ORIGIN, ("eu",))


def test_a_drain_names_who_and_why_since_and_until() -> None:
    """The operator's own words, and both ends."""
    world = world_of(two(), chat=50.0)
    since, until = world.now_ms - 5, world.now_ms + HOUR_MS
    world.commands.append(Command("c", "drain", "gcp", "kim", "repair", since, until))
    list(world.run(1_000))
    found = asked(world)
    assert (found.verdict.reason, found.named) == (Reason.DRAINED, ("kim: repair",))
    assert (found.verdict.since_ms, found.verdict.until_ms) == (since, until)


def test_maintenance_names_its_source() -> None:
    """Announced, until its end."""
    world = world_of(two(), chat=50.0)
    claim = Claim("maintenance", world.now_ms + HOUR_MS, text="new racks")
    world.claims["gcp/r"] = ("maintenance", claim)
    list(world.run(1_000))
    found = asked(world)
    assert (found.verdict.reason, found.verdict.until_ms) == (Reason.MAINTENANCE, claim.expires_ms)
    assert found.named
    assert "new racks" in found.named[0]


def test_down_has_its_finding_since_and_until() -> None:
    """What was found, when, and to when the hold-down lasts."""
    world = world_of(two(), chat=150.0)
    world.pools["gcp/r/d"].errors = 1.0
    world.demand["chat", "eu"] = 90.0  # the other pool can carry this alone
    list(world.run(20_000))
    found = asked(world).verdict
    assert (found.after, found.since_ms > START_MS, (found.until_ms or 0) > world.now_ms) == (
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
    """Expired capacity and a stated limit of nothing are told apart."""
    world = world_of(two(), chat=50.0)
    happens(world)
    list(world.run(40_000))
    assert asked(world).verdict.reason is reason


@pytest.mark.parametrize(
    ("mode", "reason"), [("observe", Reason.MODE_OBSERVE), ("recommend", Reason.MODE_RECOMMEND)]
)
def test_a_mode_that_moves_nothing_says_so(mode: str, reason: Reason) -> None:
    """In observe and recommend nothing is moved onto a provider's pools."""
    providers = (Provider("azure"), Provider("gcp", mode))  # type: ignore[arg-type]
    assert asked(world_of(two(providers=providers), chat=50.0)).verdict.reason is reason


def test_unknown_comes_last_and_degraded_late() -> None:
    """Health short of down changes only the order; the pools that carry instead are named."""
    world = world_of(two(), chat=50.0)
    world.pools["gcp/r/d"].probed = False
    reports = world.reporting.reports
    world.reporting.reports = {name: row for name, row in reports.items() if "gcp" not in name}
    world.memory = replace(world.memory, pools={"azure/r/d": world.memory.pools["azure/r/d"]})  # type: ignore[union-attr,type-var]
    found = asked(world)
    assert (found.verdict.reason, found.named) == (Reason.UNKNOWN_LAST, ("azure/r/d",))
    world = world_of(two(), chat=50.0)
    world.claims["gcp/r"] = ("status", Claim("degraded", world.now_ms + HOUR_MS))
    list(world.run(2_000))
    found = asked(world)
    assert (found.verdict.reason, found.verdict.after) == (Reason.DEGRADED_LATE, "degraded")


def test_further_down_the_merit_order_with_none_left() -> None:
    """Pools before it carry everything, and are named."""
    found = asked(world_of(two(), chat=50.0))
    assert (found.verdict.reason, found.named) == (Reason.LATER_IN_MERIT, ("azure/r/d",))


def test_other_load_that_fills_the_pool_is_named() -> None:
    """A more critical workload has all the room."""
    given = two(
        workloads=(
            workload("chat", "sheddable"),
            workload("voice", "critical_plus", exclusive="gcp"),
        )
    )
    found = asked(world_of(given, chat=50.0, voice=100.0))
    assert (found.verdict.reason, found.named) == (Reason.NO_ROOM, ("voice/eu",))


def test_a_full_quota_group_is_named() -> None:
    """Its own limit has room, its group's has not."""
    given = two(
        pools=(pool("azure/r", group="shared"), pool("gcp/r", committed=0.0, group="shared")),
        quota_groups=(QuotaGroup("shared", 60.0),),
    )
    found = asked(world_of(given, chat=80.0))
    assert (found.verdict.reason, found.named) == (Reason.GROUP_FULL, ("shared",))


def test_a_provider_with_its_whole_share() -> None:
    """The policy's largest share of the workload is reached by the provider's other pool."""
    given = policy(
        (pool("gcp/a"), pool("gcp/r", committed=0.0, price=9.0), pool("azure/r", committed=0.0, price=99.0)),
        (replace(workload("chat"), provider_share_max={"gcp": 0.5}),),
    )
    found = asked(world_of(given, chat=50.0))
    assert (found.verdict.reason, found.verdict.value) == (Reason.PROVIDER_SHARE_FULL, 0.5)


def test_load_that_comes_with_the_next_moves() -> None:
    """Merit order would have it there; moves by choice are bounded and come later, or wait for sources."""
    probers = tuple(Source(name, "probe") for name in ("prober", "prober-b", "prober-c"))
    world = World(replace(two(), sources=(Source("fleet", "fleet"), *probers)))
    world.demand = {("chat", "eu"): 50.0}
    world.commands.append(Command("c", "drain", "azure", "kim", "r", START_MS, START_MS + 20_000))
    world.decide()
    list(world.run(19_000))
    world.now_ms = START_MS + 20_000
    found = asked(world, "azure/r/d").verdict
    assert (found.reason, found.value) == (Reason.MOVE_DUE, 1.0)
    world.silent_sources = {"prober-b", "prober-c"}
    world.now_ms += 30_000
    world._observe()
    assert asked(world, "azure/r/d").verdict.reason is Reason.SOURCES_UNHEARD


def test_every_reason_has_words() -> None:
    """No verdict is ever without a sentence."""
    assert set(WORDS) == set(Reason)
