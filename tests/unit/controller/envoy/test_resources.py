"""What Envoy's files say, for tables made at random: the table's weights, its law, and nothing secret."""

from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from controller.envoy.bootstrap import bootstrap
from controller.envoy.plan import ANY_MODEL, EnvoyPlan
from controller.envoy.resources import ResourceMaker, Resources, resources
from controller.envoy.routes import RETRIED_IF_COSTLY, RETRIED_STATUSES, SHED
from controller.envoy.shapes import COSTLY, LUA
from tests.unit.controller.envoy.made_plans import FRONT, places, plan_of, random_table
from tieline.table import MILLION, Route, RouteTable, Split

SEEDS = range(40)
UINT32_MAX = 2**32 - 1
DIRECTORY = Path("/var/lib/tieline/envoy")


@cache
def made(seed: int) -> tuple[RouteTable, EnvoyPlan, Resources]:
    """A table, its plan, and Envoy's resources."""
    table = random_table(seed)
    plan = plan_of(table)
    return table, plan, resources(plan, places(DIRECTORY))


def hosts(endpoints: dict[str, Any], priority: int) -> dict[str, int]:
    """Pool -> weight of one priority."""
    groups = [group for group in endpoints["endpoints"] if group.get("priority", 0) == priority]
    return {
        host["endpoint"]["address"]["envoy_internal_address"]["server_listener_name"].removeprefix(
            "pool/"
        ): host["load_balancing_weight"]
        for group in groups
        for host in group["lb_endpoints"]
    }


def split_of(table: RouteTable, split: Split, model: str) -> dict[str, int]:
    """Pool -> weight of those that serve the model."""
    rows = ((table.pools[index], weight) for index, weight in zip(split.pools, split.weights, strict=True))
    return {info.pool: weight for info, weight in rows if weight and _serves(info, model)}


def _serves(info: Any, model: str) -> bool:
    return model == ANY_MODEL or any(offer.model == model for offer in info.models)


def allowed(table: RouteTable, route: Route) -> set[str]:
    """Every pool that the route may use for anything."""
    splits = [route.split, *route.on_loss.values()]
    indices = {index for split in splits for index in split.pools} | {*route.last_resort}
    return {table.pools[index].pool for index in indices}


def test_weights_are_exactly_the_tables() -> None:
    """For each lane: the weight of each pool that serves the model, and the share to shed, in millionths."""
    for seed in SEEDS:
        table, plan, files = made(seed)
        by_name = {route.name: route for route in table.routes}
        for lane in plan.lanes:
            route = by_name[str(lane.route)]
            wanted = split_of(table, route.split, lane.model)
            if lane.name not in files.endpoints:
                assert lane.shares.shed_ppm == MILLION
                continue
            assert sum(hosts(files.endpoints[lane.name], 0).values()) <= UINT32_MAX
            if wanted:
                assert hosts(files.endpoints[lane.name], 0) == wanted
                assert lane.shares.shed_ppm == route.split.shed


def test_only_pools_of_the_route_are_named_for_it() -> None:
    """Neither by weight nor as a fallback, and no pool has a cluster that no route may use."""
    for seed in SEEDS:
        table, plan, files = made(seed)
        by_name = {route.name: route for route in table.routes}
        everything: set[str] = set()
        for lane in plan.lanes:
            law = allowed(table, by_name[str(lane.route)])
            everything |= law
            if lane.name in files.endpoints:
                named = (
                    hosts(files.endpoints[lane.name], 0).keys() | hosts(files.endpoints[lane.name], 1).keys()
                )
                assert named <= law
                infos = {info.pool: info for info in table.pools}
                assert all(_serves(infos[pool], lane.model) for pool in named)
        lanes = {lane.name for lane in plan.lanes}
        assert {name.removeprefix("pool/") for name in files.listeners} <= everything
        assert set(files.clusters) - lanes <= everything
        assert set(files.pool_routes) <= everything


def test_what_is_named_is_there() -> None:
    """Routes' clusters, hosts' listeners, listeners' routes, pools' clusters and secrets."""
    for seed in SEEDS:
        _, _, files = made(seed)
        (table,) = files.routes.values()
        for route in table["virtual_hosts"][0]["routes"]:
            if "route" in route:
                assert route["route"]["cluster"] in files.clusters
                assert route["route"]["cluster"] in files.endpoints
        for endpoints in files.endpoints.values():
            for pool in (*hosts(endpoints, 0), *hosts(endpoints, 1)):
                assert f"pool/{pool}" in files.listeners
                assert pool in files.clusters
                assert pool in files.pool_routes
        text = msgspec.json.encode(files.listeners).decode()
        assert all(f'"name":"{name}"' in text for name in files.secrets)


def test_the_same_plan_gives_the_same_bytes() -> None:
    """So that a file is renamed only when something has changed."""
    for seed in SEEDS:
        _, plan, files = made(seed)
        assert resources(plan, places(DIRECTORY)).files() == files.files()


def test_what_has_not_changed_is_not_made_again() -> None:
    """Pools and lanes of the former plan stay the same objects, and a plan through many others is made as
    from nothing."""
    for seed in SEEDS:
        _, plan, files = made(seed)
        maker = ResourceMaker(places(DIRECTORY))
        first = maker.make(plan)
        other = maker.make(made((seed + 1) % len(SEEDS))[1])
        assert other == made((seed + 1) % len(SEEDS))[2]
        assert maker.make(plan) == files == first
        lanes = (replace(plan.lanes[0], model="another"), *plan.lanes[1:])
        again = maker.make(replace(plan, lanes=lanes))
        assert all(again.listeners[name] is row for name, row in maker.make(plan).listeners.items())
        assert all(
            again.endpoints[lane.name] is maker.make(plan).endpoints[lane.name]
            for lane in lanes[1:]
            if lane.shares.pools
        )


def test_a_part_is_shed_before_anything_is_routed() -> None:
    """With the table's reason and the client's status; where all is shed, nothing is routed."""
    seen = set()
    for seed in SEEDS:
        table, _, files = made(seed)
        by_name = {route.name: route for route in table.routes}
        entries = files.routes["tieline"]["virtual_hosts"][0]["routes"]
        for entry in entries:
            if not entry["name"].startswith(SHED):
                continue
            route = by_name[entry["name"].removeprefix(f"{SHED} ")]
            fraction = entry["match"].get("runtime_fraction")
            share = fraction["default_value"]["numerator"] if fraction else MILLION
            body = msgspec.json.decode(entry["direct_response"]["body"]["inline_string"])
            if route.split.shed and share == route.split.shed:
                assert entry["direct_response"]["status"] == 429
                assert body["error"]["message"] == route.shed_reason
                seen.add(share)
    assert seen == {1, 250_000, 999_999, MILLION}


def test_statuses_are_retried_as_the_client_does() -> None:
    """A mistake of the caller is not. A costly request is after any failure that its pool answered; it is not
    after a connection that broke before the answer."""
    assert {401, 403, 404, 429} <= set(RETRIED_STATUSES)
    assert not {400, 406, 413, 422} & set(RETRIED_STATUSES)
    assert {408, 504, 529} <= set(RETRIED_IF_COSTLY)
    assert not {400, 406, 413, 422} & set(RETRIED_IF_COSTLY)
    for seed in SEEDS:
        for entry in made(seed)[2].routes["tieline"]["virtual_hosts"][0]["routes"]:
            words = entry.get("route", {}).get("retry_policy", {}).get("retry_on", "").split(",")
            is_costly = any(match["name"] == COSTLY for match in entry["match"].get("headers", ()))
            assert ("5xx" in words) is (words != [""] and not is_costly)


def test_errors_of_one_pool_alone_are_known_by_their_codes() -> None:
    """The pool's script marks an answer with one of them, and the front sends the request again for the mark.
    A prompt that is too long and a refused content are the caller's own."""
    _, _, files = made(3)
    (first, *_) = files.listeners.values()
    filters = first["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    (script,) = (
        row["typed_config"]["default_source_code"]["inline_string"] for row in filters if row["name"] == LUA
    )
    line = next(line for line in script.splitlines() if line.startswith("local ELSEWHERE"))
    assert "unsupported_parameter = true" in line
    assert "model_not_found = true" in line
    assert "content_filter" not in line
    assert "context_length_exceeded" not in line
    hosts_of_all = [made(seed)[2].routes["tieline"]["virtual_hosts"][0] for seed in SEEDS]
    entries = [row.get("route", {}) for host in hosts_of_all for row in host["routes"]]
    policies = [route["retry_policy"] for route in entries if "retry_policy" in route]
    assert policies
    for policy in policies:
        assert policy["retry_on"].endswith("retriable-headers")
        assert {row["name"] for row in policy["retriable_headers"]} == {
            "x-tieline-elsewhere",
            "x-should-retry",
        }
    assert all(host["response_headers_to_remove"] == ["x-tieline-elsewhere"] for host in hosts_of_all)


def test_attempts_are_the_tables() -> None:
    """One attempt and no more where the table says so."""
    for seed in range(20):
        table, _, files = made(seed)
        for entry in files.routes["tieline"]["virtual_hosts"][0]["routes"]:
            if "route" in entry:
                policy = entry["route"].get("retry_policy", {"num_retries": 0})
                assert policy["num_retries"] == table.settings.attempts_max - 1


def test_the_access_log_is_one_file_for_requests_and_attempts() -> None:
    """Both have the request's id, so that one finds the attempts of a request. Without it there is none."""
    _, plan, files = made(3)
    front = replace(FRONT, access_log="/var/log/envoy.jsonl")
    logged = resources(plan, replace(places(DIRECTORY), access_log=front.access_log))
    started = msgspec.json.decode(bootstrap(front, places(DIRECTORY)))
    for listener in (*logged.listeners.values(), *started["static_resources"]["listeners"]):
        (line,) = file_logs(listener)
        assert line["path"] == front.access_log
        assert line["log_format"]["json_format"]["id"] == "%REQ(X-REQUEST-ID)%"
    assert [row for listener in files.listeners.values() for row in file_logs(listener)] == []


def file_logs(listener: dict[str, Any]) -> list[dict[str, Any]]:
    """The configurations of a listener's logs that are files."""
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return [log["typed_config"] for log in manager["access_log"] if log["name"].endswith("file")]
