"""PURE. One pool as Envoy has it: a listener within Envoy that puts requests into the pool's own form, the
routes behind it, and the cluster with the pool's address.

A listener that changes keeps its open connections as they were, for minutes. So a pool's listener depends
only on its credential, and whatever may change more often is in its routes, which hold from the next
request on.
"""

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from controller.envoy.shapes import (
    BODY_BYTES_MAX,
    CONNECT_TIMEOUT_S,
    COSTLY,
    LOG_FIELDS,
    LUA,
    MODEL,
    ORIGIN,
    STREAM,
    WORKLOAD,
    Resource,
    answer_header,
    extension,
    file_log,
    file_name,
    http_manager,
    literal,
    lua,
    named,
    outcome_log,
    polled,
    present,
    seconds,
    typed,
    watched,
)
from tieline.providers import auth_for, url_for
from tieline.providers.answers import ERRORS, Topic
from tieline.proxying import WHOLE_ANSWER_MS_PER_TOKEN, WHOLE_ANSWER_TOKENS_DEFAULT
from tieline.table import ClientSettings, ModelOffer, PoolInfo

# Errors in a refusal of the caller's request that speak of this pool alone. Whether a prompt is too long for
# other pools as well is not known here.
ELSEWHERE = sorted(
    name
    for row in ERRORS
    if row.reading.elsewhere and row.reading.topic is not Topic.CONTEXT and 400 in row.statuses
    for name in row.names
)
SCRIPT = (
    Path(__file__)
    .with_name("pool.lua")
    .read_text("utf-8")
    .replace("ELSEWHERE = {}", f"ELSEWHERE = {{ {', '.join(f'{name} = true' for name in ELSEWHERE)} }}")
)
POOLS, SECRETS = "pools", "secrets"  # folders of the generated files
ATTEMPT = "attempt"
# What a line about an attempt says, in this order; ``outcomes`` reads it.
ATTEMPT_FIELDS = (
    "%RESPONSE_CODE%",
    "%RESPONSE_CODE_DETAILS%",
    "%RESPONSE_DURATION%",
    "%DURATION%",
    "%RESP(content-type)%",
    "%RESP(retry-after-ms)%",
    "%RESP(retry-after)%",
    "%BYTES_RECEIVED%",
    "%DYNAMIC_METADATA(tieline:usage)%",
    "%DYNAMIC_METADATA(tieline:events)%",
    "%DYNAMIC_METADATA(tieline:done)%",
    "%DYNAMIC_METADATA(tieline:error)%",
    f"%DYNAMIC_METADATA(tieline:{WORKLOAD.removeprefix('x-tieline-')})%",
    f"%DYNAMIC_METADATA(tieline:{ORIGIN.removeprefix('x-tieline-')})%",
    f"%DYNAMIC_METADATA(tieline:{MODEL.removeprefix('x-tieline-')})%",
    f"%DYNAMIC_METADATA(tieline:{STREAM.removeprefix('x-tieline-')})%",
)
_PATH = "/~"  # in the place of what callers ask for
_CLUSTER_KIND = "config.cluster.v3.Cluster"
_TLS = "extensions.transport_sockets.tls.v3."


class Places(Struct, frozen=True):
    """Where Envoy finds what is not in a resource. ``directory``: of the generated files. ``credentials``:
    the operator's directory with a file for each credential, None for none. ``authorities``: a file with the
    certificates of those that TLS trusts. ``outcomes_url``: where outcomes are sent. ``access_log``: as in
    ``Front``. ``is_served``: Envoy asks for resources over HTTP instead of reading files."""

    directory: Path
    credentials: Path | None
    authorities: str
    outcomes_url: str
    access_log: str = ""
    is_served: bool = False

    def path(self, folder: str, name: str) -> str:
        """Where the generated file of one resource lies."""
        return str(self.directory / file_name(folder, name))

    def source(self, folder: str, name: str) -> Resource:
        """Where Envoy gets one resource that has a file for itself."""
        return polled() if self.is_served else watched(self.path(folder, name))

    def whole_source(self, name: str) -> Resource:
        """Where Envoy gets all resources that are in the file ``name`` of the directory."""
        return polled() if self.is_served else watched(f"{self.directory}/{name}")


def listener_name(pool: str) -> str:
    """The name of a pool's listener."""
    return f"pool/{pool}"


def listener(info: PoolInfo, places: Places) -> Resource:
    """The pool's listener, which other listeners of the same Envoy reach."""
    filters = [lua(SCRIPT)]
    if info.credential:
        filters.insert(0, _pool_credential(info, places))
    manager = http_manager(
        "pool",
        filters,
        codec_type="HTTP2",
        generate_request_id=False,
        access_log=[
            outcome_log(ATTEMPT, (literal(info.pool), *ATTEMPT_FIELDS), places.outcomes_url),
            *file_log(places.access_log, ATTEMPT, {**LOG_FIELDS, "pool": literal(info.pool)}),
        ],
        rds={
            "route_config_name": info.pool,
            "config_source": places.source(POOLS, info.pool),
        },
    )
    return typed(
        "config.listener.v3.Listener",
        name=listener_name(info.pool),
        internal_listener={},
        per_connection_buffer_limit_bytes=BODY_BYTES_MAX,
        filter_chains=[{"filters": [manager]}],
    )


def _pool_credential(info: PoolInfo, places: Places) -> Resource:
    """Puts the secret of the operator's file into the header that the pool's provider reads, in the place of
    what the caller sent. Without a file the attempt ends with 401."""
    name, value = auth_for(info.adapter, "~", is_token=False)
    header, prefix = name.decode(), value.decode().removesuffix("~")
    source = {"name": info.credential, "sds_config": places.source(SECRETS, info.credential)}
    return credential_filter(header, source, prefix=prefix)


def credential_filter(header: str, secret_source: Resource, *, prefix: str) -> Resource:
    """Puts a secret into a header of each request, behind ``prefix``."""
    generic = extension(
        "envoy.http.injected_credentials.generic",
        "extensions.http.injected_credentials.generic.v3.Generic",
        header=header,
        credential=secret_source,
        **({"header_value_prefix": prefix} if prefix else {}),
    )
    return extension(
        "envoy.filters.http.credential_injector",
        "extensions.filters.http.credential_injector.v3.CredentialInjector",
        overwrite=True,
        credential=generic,
    )


def secret(name: str, directory: Path) -> Resource:
    """The credential ``name``, as the operator's file has it. Envoy reads it anew when the directory
    changes."""
    source = {"filename": str(directory / name), "watched_directory": {"path": str(directory)}}
    return typed(_TLS + "Secret", name=name, generic_secret={"secret": source})


def routes(info: PoolInfo, settings: ClientSettings) -> Resource:
    """The pool's routes: for each model that it offers, and for requests that name none."""
    offers: Iterable[ModelOffer | None] = (*info.models, None)
    host = {
        "name": info.pool,
        "domains": ["*"],
        "request_headers_to_remove": _not_forwarded(info),
        "response_headers_to_add": [answer_header("x-tieline-pool", literal(info.pool))],
        "routes": [route for offer in offers for route in _routes_of(info, offer, settings)],
    }
    return typed("config.route.v3.RouteConfiguration", name=info.pool, virtual_hosts=[host])


def _not_forwarded(info: PoolInfo) -> list[str]:
    """The caller's own secrets, which no provider may see. Where the pool has one, its header is replaced."""
    header = auth_for(info.adapter, "~", is_token=False)[0].decode() if info.credential else ""
    return [name for name in ("authorization", "api-key") if name != header]


def _routes_of(info: PoolInfo, offer: ModelOffer | None, settings: ClientSettings) -> list[Resource]:
    """Of one model: a costly request has the time that its caller gives it; a stream must begin soon, and may
    not pause for long; a whole answer has the longer the more tokens it may have, unless its offer says."""
    own = offer or ModelOffer("", "")
    first_ms = own.first_token_timeout_ms or settings.first_token_timeout_ms
    idle_ms = max(first_ms, own.idle_timeout_ms or settings.idle_timeout_ms)
    whole_ms, token_ms = first_ms, WHOLE_ANSWER_MS_PER_TOKEN
    if own.whole_answer_timeout_ms:
        whole_ms, token_ms = own.whole_answer_timeout_ms, 0
    of_model = [named(MODEL, offer.model)] if offer is not None else []
    kinds: list[tuple[list[Resource], Resource, Resource]] = [
        ([present(COSTLY)], {}, {}),
        ([present(STREAM)], _begins_within(first_ms), {"idle_timeout": seconds(idle_ms)}),
        ([], _begins_within(whole_ms, token_ms), {}),
    ]
    form = _form(info, offer)
    return [
        {
            "match": {"prefix": "/", "headers": [*of_model, *headers]},
            "route": {
                "cluster": info.pool,
                "host_rewrite_literal": urlsplit(info.url).netloc.rpartition("@")[2],
                "timeout": "0s",
                **more,
            },
            "metadata": {"filter_metadata": {LUA: {**form, **limits}}},
        }
        for headers, limits, more in kinds
    ]


def _begins_within(limit_ms: int, token_ms: int = 0) -> Resource:
    """How long until the first byte of the answer, for the script that knows the request."""
    return {"limit_ms": limit_ms, "token_ms": token_ms, "tokens": WHOLE_ANSWER_TOKENS_DEFAULT}


def _form(info: PoolInfo, offer: ModelOffer | None) -> Resource:
    """What the script needs to write the request as the pool expects it."""
    name = offer.name if offer is not None else ""
    parts = urlsplit(url_for(info.adapter, info.url, path=_PATH, model=name))
    form = {"path": parts.path.removesuffix(_PATH), "query": parts.query}
    return {**form, "name": name} if name else form


def cluster(info: PoolInfo, places: Places) -> Resource:
    """The pool's address. A name is looked up again and again, and connections that are open go on."""
    parts = urlsplit(info.url)
    host, is_tls = parts.hostname or "", parts.scheme == "https"
    address = {"address": host, "port_value": parts.port or (443 if is_tls else 80)}
    endpoint = {"endpoint": {"address": {"socket_address": address}}}
    return typed(
        _CLUSTER_KIND,
        name=info.pool,
        type="STATIC" if is_address(host) else "LOGICAL_DNS",
        connect_timeout=f"{CONNECT_TIMEOUT_S}s",
        per_connection_buffer_limit_bytes=BODY_BYTES_MAX,
        circuit_breakers={"thresholds": [unlimited()]},
        load_assignment={"cluster_name": info.pool, "endpoints": [{"lb_endpoints": [endpoint]}]},
        **({"transport_socket": tls_to(host, places.authorities)} if is_tls else {}),
    )


def unlimited() -> Resource:
    """Envoy's own limits would turn requests away at 1,024; how much a pool may carry is the planner's."""
    return dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), 1_000_000)


def tls_to(host: str, authorities: str) -> Resource:
    """TLS to ``host``, whose certificate must be for it."""
    kind = "DNS" if not is_address(host) else "IP_ADDRESS"
    validation = {
        "trusted_ca": {"filename": authorities},
        "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": host}}],
    }
    return extension(
        "envoy.transport_sockets.tls",
        _TLS + "UpstreamTlsContext",
        common_tls_context={"validation_context": validation},
        **({"sni": host} if kind == "DNS" else {}),
    )


def is_address(host: str) -> bool:
    """Whether this is no name that must be looked up."""
    return ":" in host or host.replace(".", "").isdigit()
