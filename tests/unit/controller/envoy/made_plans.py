"""Tables and plans for Envoy, by hand or at random from a seed; and all of a plan as one static file, which
`envoy --mode validate` reads as a whole."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controller.envoy.bootstrap import Front, Listening, bootstrap, outcomes_url
from controller.envoy.plan import ANY_MODEL, EnvoyPlan, Lane, RouteName
from controller.envoy.pools import Places
from controller.envoy.resources import Resources
from controller.envoy.shapes import encoded
from tests.unit.client.made_tables import Time
from tieline._routing.router import Router
from tieline._routing.slices import ClientTable
from tieline.table import (
    MILLION,
    Adapter,
    ClientSettings,
    Generation,
    ModelOffer,
    PoolInfo,
    Route,
    RouteTable,
    Slice,
    Split,
    decode_slice,
    manifest,
    slices,
)
from tieline.table import decode_manifest as read_manifest

ADAPTERS: tuple[Adapter, ...] = ("openai", "azure", "azure_classic", "vertex", "oci")
MODELS = ("chat-large", "chat.small", "embed+1:x", "o4_mini")
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
FRONT = Front(
    Listening("127.0.0.1", 10_000),
    Listening("127.0.0.1", 9_901),
    Listening("127.0.0.1", 9_902),
    default=RouteName("chat", "eu"),
)


def places(directory: Path) -> Places:
    """Generated files in ``directory``, credentials beside them."""
    return Places(
        directory,
        directory / "credentials",
        authorities=AUTHORITIES,
        outcomes_url=outcomes_url(FRONT.outcomes),
    )


def router_of(part: Slice, time: Time | None = None, generation: Generation | None = None) -> Router:
    """A client's router with this slice in force."""
    route = part.route
    router = Router(route.workload, route.origin, clock=time or Time(), phase=0.0, chance=lambda: 1.0)
    router.apply(ClientTable(generation or Generation("test", 1, 1), {route.origin: part}))
    return router


def lanes_of(router: Router, name: RouteName) -> tuple[Lane, ...]:
    """The lanes of one route, by what its router says now."""
    assert router.table is not None
    part = router.table.parts[name.origin]
    models = sorted({offer.model for info in part.pools for offer in info.models})
    return tuple(
        Lane(name, model, shares=router.shares(model, name.origin)) for model in (*models, ANY_MODEL)
    )


def plan_of(table: RouteTable) -> EnvoyPlan:
    """The plan for all routes of a table, as clients that have just read it see it."""
    parts = slices(table)
    sums = read_manifest(manifest(table, parts, urgent_seq=0)).slices
    lanes: list[Lane] = []
    listed: dict[str, dict[str, PoolInfo]] = {}
    for route in table.routes:
        part = decode_slice(parts[route.name], sums[route.name])
        router = router_of(part, generation=table.generation)
        lanes += lanes_of(router, RouteName(route.workload, route.origin))
        listed.setdefault(route.workload, {}).update({info.pool: info for info in part.pools})
    workloads = {route.workload for route in table.routes}
    return EnvoyPlan(
        tuple(lanes),
        dict.fromkeys(workloads, str(table.generation)),
        dict.fromkeys(workloads, table.settings),
        listed={workload: tuple(infos.values()) for workload, infos in listed.items()},
    )


def random_table(seed: int) -> RouteTable:
    """A table that any controller could publish: 1 to 12 pools, 1 to 6 routes, every adapter and form."""
    chance = random.Random(seed)
    pools = tuple(_pool(chance, number) for number in range(chance.randint(1, 12)))
    places_of = [(workload, origin) for workload in ("chat", "batch", "api") for origin in ("eu", "us")]
    routes = tuple(
        _route(chance, workload, origin, pools)
        for workload, origin in sorted(chance.sample(places_of, chance.randint(1, 6)))
    )
    settings = ClientSettings(
        attempts_max=chance.randint(1, 5), first_token_timeout_ms=chance.choice((1, 2_500, 10_000))
    )
    return RouteTable(Generation(f"l{seed}%1", 1, seed), 1_790_000_000_000, pools, routes, settings)


def _pool(chance: random.Random, number: int) -> PoolInfo:
    provider = chance.choice(("azure", "gcp", "oci", "coreweave"))
    models = tuple(
        ModelOffer(
            model,
            chance.choice((model, f"own-{number}", "own/é name")),
            first_token_timeout_ms=chance.choice((0, 500)),
            whole_answer_timeout_ms=chance.choice((0, 5_000)),
            idle_timeout_ms=chance.choice((0, 700)),
        )
        for model in sorted(chance.sample(MODELS, chance.randint(0, 3)))
    )
    host = chance.choice(
        (f"p{number}.example.com", "127.0.0.1:8000", "[::1]:8001", f"u:w@h{number}.internal:8443")
    )
    scheme = chance.choice(("http", "https"))
    path = chance.choice(("", "/v1", "/v1/projects/p/locations/l/endpoints/openapi", "/openai/v1/"))
    return PoolInfo(
        pool=f"{provider}/region{number % 3}/deployment-{number}.{chance.randint(0, 9)}",
        geography="eu",
        url=f"{scheme}://{host}{path}",
        adapter=chance.choice(ADAPTERS),
        credential=chance.choice(("", "azure-eu", "other")),
        models=models,
    )


def _route(chance: random.Random, workload: str, origin: str, pools: tuple[PoolInfo, ...]) -> Route:
    lawful = sorted(chance.sample(range(len(pools)), chance.randint(1, len(pools))))
    shed = chance.choice((0, 0, 0, 1, 250_000, 999_999, MILLION))
    lost = {pools[index].provider for index in lawful}
    on_loss = {}
    for provider in sorted(lost):
        others = [index for index in lawful if pools[index].provider != provider]
        if others and chance.random() < 0.7:
            on_loss[provider] = _split(chance, others, 0)
    return Route(
        workload,
        origin,
        "critical",
        split=_split(chance, lawful, shed),
        shed_reason="no room: 50% 'shed' \"now\"" if shed else "",
        on_loss=on_loss,
        last_resort=tuple(chance.sample(lawful, chance.randint(0, len(lawful)))),
    )


def _split(chance: random.Random, indices: list[int], shed: int) -> Split:
    left = MILLION - shed
    weights = []
    for _ in indices[:-1]:
        weights.append(chance.choice((0, 1, chance.randint(0, left))) if left else 0)
        left -= weights[-1]
    return Split(tuple(indices), (*weights, left), shed)


def static(resources: Resources, directory: Path, front: Front = FRONT) -> bytes:
    """All resources in one file that refers to no other, as far as Envoy lets it: what is read from a file
    while Envoy runs stands where it is used."""
    text: Any = _inlined(resources, directory, front)
    return encoded(text)


def _inlined(resources: Resources, directory: Path, front_place: Front) -> Mapping[str, Any]:
    import msgspec

    message: dict[str, Any] = msgspec.json.decode(bootstrap(front_place, places(directory)))
    del message["dynamic_resources"]
    front = message["static_resources"]["listeners"]
    listeners = msgspec.json.decode(msgspec.json.encode(list(resources.listeners.values())))
    clusters = msgspec.json.decode(msgspec.json.encode(list(resources.clusters.values())))
    tables = {**resources.routes, **resources.pool_routes}
    for listener in (*front, *listeners):
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        manager["route_config"] = _bare(tables[manager.pop("rds")["route_config_name"]])
        for http_filter in manager["http_filters"]:
            if "credential" in http_filter["typed_config"]:
                generic = http_filter["typed_config"]["credential"]["typed_config"]
                generic["credential"].pop("sds_config")
    for cluster in clusters:
        if cluster["type"] == "EDS":
            cluster["type"] = "STATIC"
            del cluster["eds_cluster_config"]
            cluster["load_assignment"] = _bare(resources.endpoints[cluster["name"]])
    message["static_resources"]["listeners"] = [*front, *map(_bare, listeners)]
    message["static_resources"]["clusters"] += map(_bare, clusters)
    message["static_resources"]["secrets"] = [_bare(secret) for secret in resources.secrets.values()]
    return message


def _bare(message: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in message.items() if key != "@type"}
