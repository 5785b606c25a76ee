"""PURE. The file that Envoy is started with: where it listens, and where it gets its resources."""

from pathlib import Path

from msgspec import Struct

from controller.envoy.plan import RouteName
from controller.envoy.pools import Places, credential_filter, is_address, tls_to, unlimited
from controller.envoy.resources import CLUSTERS, LISTENERS, ROUTES
from controller.envoy.routes import ROUTES as ROUTE_TABLE
from controller.envoy.shapes import (
    BODY_BYTES_MAX,
    DISCOVERY_CLUSTER,
    LOG_FIELDS,
    MODEL,
    ORIGIN,
    OUTCOMES_CLUSTER,
    OUTPUT_MAX,
    WORKLOAD,
    Resource,
    encoded,
    extension,
    file_log,
    http_manager,
    http_protocol,
    lua,
    outcome_log,
)

BOOTSTRAP = "bootstrap.json"
SCRIPT = Path(__file__).with_name("front.lua").read_text("utf-8")
CONNECTIONS_MAX = 20_000  # of callers
REQUEST = "request"
OUTCOMES_PATH = "/v1/logs"
TOKEN = "tieline-token"  # the name of the secret that polls show
# What a line about a request says, in this order; ``outcomes`` reads it.
REQUEST_FIELDS = (
    "%ROUTE_NAME%",
    "%RESPONSE_CODE%",
    "%RESPONSE_CODE_DETAILS%",
    "%BYTES_RECEIVED%",
    f"%REQ({OUTPUT_MAX})%",
    f"%REQ({WORKLOAD})%",
    f"%REQ({ORIGIN})%",
    f"%REQ({MODEL})%",
)


# What a line about a request has besides in the operator's access log.
REQUEST_LOG_FIELDS = {
    **LOG_FIELDS,
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "route": "%ROUTE_NAME%",
    "cluster": "%UPSTREAM_CLUSTER%",
    "workload": f"%REQ({WORKLOAD})%",
    "origin": f"%REQ({ORIGIN})%",
    "model": f"%REQ({MODEL})%",
}


class Listening(Struct, frozen=True):
    """An address and a port."""

    host: str
    port: int

    @property
    def address(self) -> Resource:
        """As Envoy writes it."""
        return {"socket_address": {"address": self.host, "port_value": self.port}}


class PollPlace(Struct, frozen=True):
    """Where Envoy asks `tieline envoy` for its resources. ``token_file``: on Envoy's machine, with the token
    that it shows; empty for none."""

    place: Listening
    is_tls: bool = False
    token_file: str = ""


class Front(Struct, frozen=True):
    """Where Envoy takes requests, where its admin page is, and where outcomes are sent. ``default``: the
    route of requests that name none. ``access_log``: the file for a line about each request and attempt;
    empty for none. ``discovery`` None: Envoy reads its resources from files."""

    listen: Listening
    admin: Listening
    outcomes: Listening
    default: RouteName
    access_log: str = ""
    discovery: PollPlace | None = None


def outcomes_url(outcomes: Listening) -> str:
    """Where Envoy sends its lines."""
    return f"http://{outcomes.host}:{outcomes.port}{OUTCOMES_PATH}"


def bootstrap(front: Front, places: Places) -> bytes:
    """The file for ``envoy -c``."""
    connections = extension(
        "envoy.resource_monitors.global_downstream_max_connections",
        "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        max_active_downstream_connections=CONNECTIONS_MAX,
    )
    clusters = [_cluster(OUTCOMES_CLUSTER, front.outcomes)]
    if front.discovery is not None:
        clusters.append(_discovery_cluster(front.discovery, places.authorities))
    return encoded(
        {
            "node": {"id": "tieline", "cluster": "tieline"},
            "overload_manager": {"resource_monitors": [connections]},
            "admin": {"address": front.admin.address},
            "bootstrap_extensions": [
                extension(
                    "envoy.bootstrap.internal_listener",
                    "extensions.bootstrap.internal_listener.v3.InternalListener",
                )
            ],
            "dynamic_resources": {
                "cds_config": places.whole_source(CLUSTERS),
                "lds_config": places.whole_source(LISTENERS),
            },
            "static_resources": {
                "listeners": [_front_listener(front, places)],
                "clusters": clusters,
                **_secrets(front.discovery),
            },
        }
    )


def _secrets(discovery: PollPlace | None) -> Resource:
    if discovery is None or not discovery.token_file:
        return {}
    token = {"name": TOKEN, "generic_secret": {"secret": {"filename": discovery.token_file}}}
    return {"secrets": [token]}


def _front_listener(front: Front, places: Places) -> Resource:
    """The listener that takes requests."""
    script = SCRIPT.replace('"WORKLOAD"', f'"{front.default.workload}"').replace(
        '"ORIGIN"', f'"{front.default.origin}"'
    )
    manager = http_manager(
        "front",
        [lua(script)],
        preserve_external_request_id=True,
        use_remote_address=False,
        access_log=[
            outcome_log(REQUEST, REQUEST_FIELDS, outcomes_url(front.outcomes)),
            *file_log(front.access_log, REQUEST, REQUEST_LOG_FIELDS),
        ],
        rds={"route_config_name": ROUTE_TABLE, "config_source": places.whole_source(ROUTES)},
    )
    return {
        "name": "front",
        "address": front.listen.address,
        "per_connection_buffer_limit_bytes": BODY_BYTES_MAX,
        "filter_chains": [{"filters": [manager]}],
    }


def _cluster(name: str, place: Listening) -> Resource:
    """A part of Tieline that Envoy reaches."""
    endpoint = {"endpoint": {"address": place.address}}
    return {
        "name": name,
        "type": "STATIC" if is_address(place.host) else "LOGICAL_DNS",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _discovery_cluster(discovery: PollPlace, authorities: str) -> Resource:
    """`tieline envoy` as the source of resources. Each poll has a connection for itself, so there is no limit
    to them here; with a token every poll shows it."""
    cluster = {
        **_cluster(DISCOVERY_CLUSTER, discovery.place),
        "circuit_breakers": {"thresholds": [unlimited()]},
    }
    if discovery.is_tls:
        cluster["transport_socket"] = tls_to(discovery.place.host, authorities)
    if discovery.token_file:
        codec = extension(
            "envoy.filters.http.upstream_codec", "extensions.filters.http.upstream_codec.v3.UpstreamCodec"
        )
        shown = credential_filter("authorization", {"name": TOKEN}, prefix="Bearer ")
        plain: Resource = {"http_protocol_options": {}}
        cluster.update(http_protocol(http_filters=[shown, codec], explicit_http_config=plain))
    return cluster
