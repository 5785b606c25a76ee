"""PURE. The file that Envoy is started with: where it listens, and which files it watches."""

from pathlib import Path

from msgspec import Struct

from controller.envoy.plan import RouteName
from controller.envoy.resources import CLUSTERS, LISTENERS, ROUTES
from controller.envoy.routes import ROUTES as ROUTE_TABLE
from controller.envoy.shapes import (
    BODY_BYTES_MAX,
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
    lua,
    outcome_log,
    watched,
)

BOOTSTRAP = "bootstrap.json"
SCRIPT = Path(__file__).with_name("front.lua").read_text("utf-8")
CONNECTIONS_MAX = 20_000  # of callers
REQUEST = "request"
OUTCOMES_PATH = "/v1/logs"
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


class Front(Struct, frozen=True):
    """Where Envoy takes requests, where its admin page is, and where outcomes are sent. ``default``: the
    route of requests that name none. ``access_log``: the file for a line about each request and attempt;
    empty for none."""

    listen: Listening
    admin: Listening
    outcomes: Listening
    default: RouteName
    access_log: str = ""


def outcomes_url(outcomes: Listening) -> str:
    """Where Envoy sends its lines."""
    return f"http://{outcomes.host}:{outcomes.port}{OUTCOMES_PATH}"


def bootstrap(front: Front, directory: Path) -> bytes:
    """The file for ``envoy -c``."""
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
        rds={"route_config_name": ROUTE_TABLE, "config_source": watched(f"{directory}/{ROUTES}")},
    )
    listener = {
        "name": "front",
        "address": front.listen.address,
        "per_connection_buffer_limit_bytes": BODY_BYTES_MAX,
        "filter_chains": [{"filters": [manager]}],
    }
    connections = extension(
        "envoy.resource_monitors.global_downstream_max_connections",
        "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        max_active_downstream_connections=CONNECTIONS_MAX,
    )
    endpoint = {"endpoint": {"address": front.outcomes.address}}
    collector = {
        "name": OUTCOMES_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": OUTCOMES_CLUSTER, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
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
                "cds_config": watched(f"{directory}/{CLUSTERS}"),
                "lds_config": watched(f"{directory}/{LISTENERS}"),
            },
            "static_resources": {"listeners": [listener], "clusters": [collector]},
        }
    )
