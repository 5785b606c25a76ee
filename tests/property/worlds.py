"""Random policies and random weather for the planner."""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from controller.commands.authority import OrderRules
from controller.commands.log import CommandLog
from controller.core.orders.overridable import OVERRIDABLE
from controller.core.policy.check import faults
from controller.core.policy.lawful import may_serve
from controller.core.policy.policy import Origin, Policy, Pool, Provider, QuotaGroup, Source, Workload
from tests.scenarios.world import World
from tieline.events import Command, Verb
from tieline.table import CRITICALITIES, ModelOffer

ORDERS: tuple[Verb, ...] = ("drain", "freeze", "override", "verdict", "approve", "failback")
PROVIDERS = ("azure", "gcp", "oci")
PLACES = ("eu", "us")
MODELS = ("m", "n")

ORDINARY_SHARE = 3  # an example with a world costs up to seconds


def examples(whole: int) -> settings:
    """Settings for that many examples where new ones are looked for (``HYPOTHESIS_PROFILE=explore``), and for
    a third of them in an ordinary run."""
    explores = os.environ.get("HYPOTHESIS_PROFILE") == "explore"
    count = whole if explores else -(-whole // ORDINARY_SHARE)
    return settings(max_examples=count, suppress_health_check=list(HealthCheck))


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Up to three providers, eight pools, three workloads and two origins, with all kinds of contracts."""
    pools = []
    for number in range(draw(st.integers(2, 8))):
        committed = draw(st.sampled_from([0.0, 100.0, 500.0, 1000.0]))
        pools.append(
            Pool(
                f"{draw(st.sampled_from(PROVIDERS))}/r{number}/d",
                draw(st.sampled_from(PLACES)),
                "http://h",
                tuple(ModelOffer(m, m) for m in draw(st.sampled_from([("m",), ("m", "n")]))),
                committed + draw(st.sampled_from([0.0, 200.0, 1000.0])) or 100.0,
                committed,
                draw(st.sampled_from([1.0, 2.0])),
                quota_group=draw(st.sampled_from(["", "", "shared"])),
                latency_ms={"eu": draw(st.sampled_from([10.0, 80.0]))},
            )
        )
    workloads = tuple(
        Workload(
            f"w{number}",
            draw(st.sampled_from(CRITICALITIES)),
            (draw(st.sampled_from(MODELS)),),
            exclusive_provider=draw(st.sampled_from([None, None, "azure"])),
            allowed_geographies=draw(st.sampled_from([(), (), ("eu",)])),
            provider_share_max=draw(st.sampled_from([{}, {}, {"gcp": 0.5}])),
            expected_units_per_s={"eu": draw(st.sampled_from([0.0, 50.0, 800.0]))},
        )
        for number in range(draw(st.integers(1, 3)))
    )
    origins = tuple(Origin(place, draw(st.sampled_from([(), (place,)]))) for place in PLACES)
    return Policy(
        "property",
        PLACES,
        origins,
        tuple(
            Provider(
                name,
                draw(st.sampled_from(["act", "act", "act", "observe", "recommend"])),
                draw(st.sampled_from(["auto", "auto", "manual"])),
            )
            for name in PROVIDERS
        ),
        tuple(pools),
        tuple(_with_last_resort(draw, one, pools, origins) for one in workloads),
        (QuotaGroup("shared", draw(st.sampled_from([300.0, 5000.0]))),),
        (Source("prober", "probe"), Source("prober-us", "probe"), Source("fleet", "fleet")),
    )


def _with_last_resort(
    draw: st.DrawFn, workload: Workload, pools: list[Pool], origins: tuple[Origin, ...]
) -> Workload:
    """Up to two pools that it may use from somewhere."""
    allowed = [pool.id for pool in pools if any(may_serve(pool, workload, origin) for origin in origins)]
    named = draw(st.lists(st.sampled_from(allowed), unique=True, max_size=2)) if allowed else []
    return replace(workload, last_resort=tuple(named))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """A lawful policy with demand."""
    policy = draw(policies().filter(lambda one: not faults(one)))
    world = World(policy)
    for workload in policy.workloads:
        for origin in policy.origins:
            world.demand[workload.id, origin.id] = draw(st.sampled_from([0.0, 20.0, 300.0, 1500.0]))
    return world


@st.composite
def weather(draw: st.DrawFn, world: World) -> None:
    """Something changes."""
    pool = draw(st.sampled_from(sorted(world.pools)))
    how = world.pools[pool]
    match draw(st.sampled_from(["errors", "capacity", "hang", "demand", "silence", "takeover", "serves"])):
        case "errors":
            how.errors = draw(st.sampled_from([0.0, 0.07, 0.3, 0.7, 1.0]))
            how.result = draw(st.sampled_from(["server_error", "timeout", "auth"]))
        case "capacity":
            how.stated = draw(st.sampled_from([None, 0.0, 50.0, 400.0, 3000.0]))
        case "hang":
            how.hangs = not how.hangs
        case "demand":
            route = draw(st.sampled_from(sorted(world.demand)))
            world.demand[route] = draw(st.sampled_from([0.0, 20.0, 300.0, 2500.0]))
        case "silence":
            world.silent_sources ^= {draw(st.sampled_from(["prober", "prober-us", "fleet"]))}
        case "takeover":
            world.take_over()
        case "serves":
            how.serves = draw(st.sampled_from([None, 10.0, 200.0]))


@st.composite
def scopes(draw: st.DrawFn, world: World) -> str:
    """A provider, a region or a pool of the world."""
    pool = draw(st.sampled_from(sorted(world.pools)))
    return "/".join(pool.split("/")[: draw(st.integers(1, 3))])


@st.composite
def orders(draw: st.DrawFn, world: World, verbs: tuple[Verb, ...] = ORDERS) -> None:
    """An operator orders something that the controllers take."""
    verb = draw(st.sampled_from(verbs))
    scope, guard, state = draw(scopes(world)), "", ""
    if verb == "override":
        guard = draw(st.sampled_from(sorted(OVERRIDABLE)))
        scope = "*" if OVERRIDABLE[guard].smallest == "table" else scope.split("/")[0]
    elif verb == "freeze":
        scope = draw(st.sampled_from([scope, "*"]))
    elif verb == "verdict":
        state = draw(st.sampled_from(["healthy", "degraded", "down"]))
    until_ms = world.now_ms + draw(st.sampled_from([2_000, 30_000, 3_600_000]))
    number = f"{verb}-{len(world.commands)}-{world.now_ms}"
    order = Command(number, verb, scope, "kim", "why", world.now_ms, until_ms)
    log = CommandLog(orders=tuple(world.commands))
    log = log.apply(
        0, world.now_ms, replace(order, guard=guard, state=state), rules=OrderRules(unsigned_allowed=True)
    )
    assert not log.refused
    world.commands = list(log.orders)
