"""PURE. What the front listener does with a request: the route table of Envoy, and each lane's cluster of
pools with their weights.

Requests are told apart by headers: workload and origin, which the caller names or the front listener fills
in, and the model, which the front listener reads in the body.
"""

from collections.abc import Sequence

import msgspec

from controller.envoy.plan import ANY_MODEL, EnvoyPlan, Lane, RouteName
from controller.envoy.pools import listener_name, unlimited
from controller.envoy.shapes import (
    BODY_BYTES_MAX,
    CONNECT_TIMEOUT_S,
    COSTLY,
    ELSEWHERE,
    MODEL,
    ORIGIN,
    WORKLOAD,
    Resource,
    answer_header,
    extension,
    http_protocol,
    literal,
    named,
    present,
    typed,
)
from tieline import Reason, Shed
from tieline.providers.answers import reading_of_status
from tieline.proxying import (
    STRAIGHT_FAILURES,
    TRIAL_FIRST_S,
    TRIAL_LONGEST_S,
    WINDOW_REQUESTS_MIN,
    Share,
)
from tieline.table import MILLION, ClientSettings

ROUTES = "tieline"
DEADLINE_DEFAULT = "600s"
SHED, NOWHERE = "shed", "nowhere"  # the first word of the name of a route that answers by itself
# Another pool may answer differently after these, as after every status of 500 and above.
RETRIED_STATUSES = [
    status for status in range(400, 500) if reading_of_status(status, names_model=True).elsewhere
]
# A costly request may be under way, and billed, where nothing was heard of it: it is not sent again then, but
# it is after any failure that its pool answered.
RETRIED_IF_COSTLY = [*RETRIED_STATUSES, *range(500, 600)]
# Passing over the pools that were tried takes as many draws as a small weight needs.
DRAWS_MAX = 300
BUDGET_PERCENT, BUDGET_REQUESTS_MIN = 25.0, 50
SWEEP = "1s"
FAILED_PERCENT = 51
# Envoy moves load to the second priority as the first has fewer healthy hosts, unless this is high.
NEVER_OVERFLOW = 1_000_000
_STATUS = {Reason.SHED: 429, Reason.THROTTLED: 429}  # else 503, as the client answers
_KIND = {429: "rate_limit_error"}
TEXT_MAX, ANSWER_BYTES_MAX = 2_000, 16 * 1024  # of an answer that Envoy gives by itself


def route_table(plan: EnvoyPlan) -> Resource:
    """The routes of everything that is followed. What names another workload, origin or model is told so."""
    routes = [entry for name, lanes in plan.routes().items() for entry in _entries(plan, name, lanes)]
    followed = ", ".join(map(str, plan.routes()))
    unknown = Shed(Reason.NO_ROUTE, f"this Envoy has no such workload and origin; it has {followed}")
    host = {
        "name": ROUTES,
        "domains": ["*"],
        "routes": [*routes, _answer(NOWHERE, [], unknown)],
        "response_headers_to_add": [answer_header("x-should-retry", "false")],
        "response_headers_to_remove": [ELSEWHERE],
        "request_body_buffer_limit": BODY_BYTES_MAX,
    }
    return typed(
        "config.route.v3.RouteConfiguration",
        name=ROUTES,
        virtual_hosts=[host],
        max_direct_response_body_size_bytes=ANSWER_BYTES_MAX,
    )


def _entries(plan: EnvoyPlan, name: RouteName, lanes: Sequence[Lane]) -> list[Resource]:
    own = [named(WORKLOAD, name.workload), named(ORIGIN, name.origin)]
    settings, generation = plan.settings[name.workload], plan.generations[name.workload]
    entries: list[Resource] = []
    for lane in sorted(lanes, key=lambda lane: lane.model == ANY_MODEL):
        of_model = named(MODEL, lane.model) if lane.model != ANY_MODEL else _absent(MODEL)
        # Without a table nobody knows the models: whatever they ask for, callers are told that.
        of_lane = [*own, of_model] if generation else own
        entries += _of_lane(lane, of_lane, settings, generation=generation)
    models = ", ".join(lane.model for lane in lanes if lane.model != ANY_MODEL)
    missing = Shed(Reason.NO_MODEL, f"no pool of {name} serves this model; it has {models or 'none'}")
    return [*entries, _answer(f"{NOWHERE} {name}", own, missing)]


def _of_lane(
    lane: Lane, headers: list[Resource], settings: ClientSettings, *, generation: str
) -> list[Resource]:
    """First the share that is shed, then the requests that may be sent again only in part, then all
    others."""
    shares, entries = lane.shares, []
    if shares.shed_ppm and shares.shed is not None:
        entries.append(_answer(f"{SHED} {lane.route}", headers, shares.shed, share_ppm=shares.shed_ppm))
    if shares.shed_ppm == MILLION:
        return entries
    stamps = [
        answer_header("x-tieline-attempts", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
        answer_header("x-tieline-generation", literal(generation)),
    ]
    for more, statuses, conditions in (
        ([present(COSTLY)], RETRIED_IF_COSTLY, "connect-failure,refused-stream"),
        ([], RETRIED_STATUSES, "5xx"),
    ):
        entries.append(
            {
                "name": lane.name,
                "match": {"prefix": "/v1/", "headers": [*headers, *more]},
                "route": {
                    "cluster": lane.name,
                    "timeout": DEADLINE_DEFAULT,
                    **_retries(lane, settings, statuses, conditions=conditions),
                },
                "response_headers_to_add": stamps,
            }
        )
    return entries


def _retries(lane: Lane, settings: ClientSettings, statuses: list[int], *, conditions: str) -> Resource:
    """Further attempts at pools that this request has not tried; the last one may be at a fallback."""
    count = settings.attempts_max - 1
    if count < 1 or len(lane.shares.pools) + len(lane.shares.fallbacks) < 1:
        return {}
    policy: Resource = {
        "retry_on": f"{conditions},retriable-status-codes,retriable-headers",
        "num_retries": count,
        "retriable_status_codes": statuses,
        "retriable_headers": [present(ELSEWHERE), named("x-should-retry", "true")],
        "host_selection_retry_max_attempts": DRAWS_MAX,
        "retry_host_predicate": [
            extension(
                "envoy.retry_host_predicates.previous_hosts",
                "extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
            )
        ],
        "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.010s"},
    }
    if lane.shares.fallbacks:
        policy["retry_priority"] = extension(
            "envoy.retry_priorities.previous_priorities",
            "extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
            update_frequency=max(1, min(count, len(lane.shares.pools))),
        )
    return {"retry_policy": policy}


def _answer(name: str, headers: list[Resource], shed: Shed, *, share_ppm: int = MILLION) -> Resource:
    """Answers ``share_ppm`` parts per million of the requests as the client answers one that it sheds."""
    status = _STATUS.get(shed.reason, 503)
    error = {
        "message": shed.text[:TEXT_MAX],
        "type": _KIND.get(status, "server_error"),
        "param": None,
        "code": f"tieline_{shed.reason}",
    }
    match: Resource = {"prefix": "/", "headers": headers}
    if share_ppm < MILLION:
        match["runtime_fraction"] = {"default_value": {"numerator": share_ppm, "denominator": "MILLION"}}
    body = msgspec.json.encode({"error": error}).decode()
    return {
        "name": name,
        "match": match,
        "direct_response": {"status": status, "body": {"inline_string": body}},
        "response_headers_to_add": [
            answer_header("x-tieline-reason", shed.reason),
            answer_header("content-type", "application/json"),
        ],
    }


def _absent(header: str) -> Resource:
    return {"name": header, "present_match": True, "invert_match": True}


def lane_cluster(lane: Lane, endpoints_source: Resource) -> Resource:
    """The cluster of a lane: its hosts are the listeners of its pools. Envoy leaves a pool by the client's
    own rules as far as it can: five failures in a row, or more than half of at least ten within a second.
    When it has left every pool it uses all of them again."""
    budget = {"budget_percent": {"value": BUDGET_PERCENT}, "min_retry_concurrency": BUDGET_REQUESTS_MIN}
    return typed(
        "config.cluster.v3.Cluster",
        name=lane.name,
        type="EDS",
        lb_policy="ROUND_ROBIN",
        connect_timeout=f"{CONNECT_TIMEOUT_S}s",
        per_connection_buffer_limit_bytes=BODY_BYTES_MAX,
        eds_cluster_config={"eds_config": endpoints_source},
        common_lb_config={"healthy_panic_threshold": {"value": 1}},
        **http_protocol(explicit_http_config={"http2_protocol_options": {}}),
        circuit_breakers={"thresholds": [{**unlimited(), "retry_budget": budget}]},
        outlier_detection={
            "consecutive_5xx": STRAIGHT_FAILURES,
            "interval": SWEEP,
            "base_ejection_time": f"{TRIAL_FIRST_S:g}s",
            "max_ejection_time": f"{TRIAL_LONGEST_S:g}s",
            "max_ejection_percent": 100,
            "enforcing_success_rate": 0,
            "failure_percentage_threshold": FAILED_PERCENT,
            "enforcing_failure_percentage": 100,
            "failure_percentage_minimum_hosts": 1,
            "failure_percentage_request_volume": WINDOW_REQUESTS_MIN,
        },
    )


def endpoints(lane: Lane) -> Resource:
    """The pools of a lane with their weights; its fallbacks come after them."""
    groups: list[Resource] = [{"lb_endpoints": [_host(share) for share in lane.shares.pools]}]
    if lane.shares.fallbacks:
        groups.append({"priority": 1, "lb_endpoints": [_host(share) for share in lane.shares.fallbacks]})
    return typed(
        "config.endpoint.v3.ClusterLoadAssignment",
        cluster_name=lane.name,
        endpoints=groups,
        policy={"overprovisioning_factor": NEVER_OVERFLOW},
    )


def _host(share: Share) -> Resource:
    address = {"envoy_internal_address": {"server_listener_name": listener_name(share.info.pool)}}
    return {"endpoint": {"address": address}, "load_balancing_weight": share.weight}
