"""PURE. The shapes that Envoy's resources have in common, and their bytes.

A resource is a mapping as Envoy's v3 API has it in JSON, which is also YAML. Its fields are explained at
https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/api.
"""

import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, TypeAlias

import msgspec

Resource: TypeAlias = dict[str, Any]
TYPES = "type.googleapis.com/envoy."
BODY_BYTES_MAX = 64 * 1024 * 1024  # of a request, which Envoy holds for further attempts
CONNECT_TIMEOUT_S = 3
WORKLOAD, ORIGIN, MODEL = "x-tieline-workload", "x-tieline-origin", "x-tieline-model"
STREAM, COSTLY, MODEL_AT = "x-tieline-stream", "x-tieline-costly", "x-tieline-model-at"
ELSEWHERE = "x-tieline-elsewhere"  # a pool's listener to the front: another pool may answer differently
OUTPUT_MAX, DEADLINE = "x-tieline-output-max", "x-tieline-deadline"
LUA = "envoy.filters.http.lua"
ROUTER = "envoy.filters.http.router"
OUTCOMES_CLUSTER, DISCOVERY_CLUSTER = "tieline-outcomes", "tieline-discovery"
POLL_AGAIN_S, POLL_HELD_S = 0.1, 30
LOG_EVERY = "0.2s"
# What both kinds of line in the access log have. A request and its attempts have the same id.
LOG_FIELDS = {
    "began": "%START_TIME%",
    "id": "%REQ(X-REQUEST-ID)%",
    "status": "%RESPONSE_CODE%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
    "first_byte_ms": "%RESPONSE_DURATION%",
    "took_ms": "%DURATION%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
    "upstream": "%UPSTREAM_HOST%",
    "failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
}
NAME_MAX = 100
_UNSAFE = re.compile(r"[^A-Za-z0-9_.]+")
_encoder = msgspec.json.Encoder(order="deterministic")


def typed(type_name: str, /, **fields: Any) -> Resource:
    """A message with its type, by the name behind ``envoy.``."""
    return {"@type": TYPES + type_name, **fields}


def extension(extension_name: str, type_name: str, /, **fields: Any) -> Resource:
    """An extension's name and its typed configuration."""
    return {"name": extension_name, "typed_config": typed(type_name, **fields)}


def seconds(milliseconds: int) -> str:
    """A duration as Envoy writes it."""
    return f"{milliseconds / 1_000:g}s"


def file_of(resources: Sequence[Resource]) -> bytes:
    """The bytes of a file with these resources: the same for the same resources."""
    return encoded({"resources": list(resources)})


def encoded(message: Mapping[str, Any]) -> bytes:
    """A message as JSON, indented, so that people can read and compare it."""
    return msgspec.json.format(_encoder.encode(message), indent=1) + b"\n"


def file_name(folder: str, name: str) -> str:
    """The file for one resource, as Envoy reads endpoints, a pool's routes and secrets from one file each."""
    digest = blake2b(name.encode(), digest_size=6).hexdigest()
    return f"{folder}/{_UNSAFE.sub('-', name)[:NAME_MAX]}-{digest}.json"


def watched(path: str) -> Resource:
    """A source of resources: a file that Envoy reads anew when another is renamed to its name."""
    return {"path_config_source": {"path": path}, "initial_fetch_timeout": "1s", "resource_api_version": "V3"}


def polled() -> Resource:
    """A source of resources: `tieline envoy`, which answers a poll when there is something new, and otherwise
    after ``POLL_HELD_S``."""
    polls = {
        "api_type": "REST",
        "transport_api_version": "V3",
        "cluster_names": [DISCOVERY_CLUSTER],
        "refresh_delay": f"{POLL_AGAIN_S}s",
        "request_timeout": f"{POLL_HELD_S + 10}s",
    }
    return {"api_config_source": polls, "initial_fetch_timeout": "1s", "resource_api_version": "V3"}


def named(header: str, value: str) -> Resource:
    """A request whose header has exactly this value."""
    return {"name": header, "string_match": {"exact": value}}


def present(header: str) -> Resource:
    """A request that has the header."""
    return {"name": header, "present_match": True}


def literal(text: str) -> str:
    """The text as it is, where Envoy would take a percent sign for the beginning of a command."""
    return text.replace("%", "%%")


def answer_header(name: str, value: str) -> Resource:
    """A header of every answer, in the place of one of that name. ``value`` may have Envoy's commands."""
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def http_manager(stat_prefix: str, filters: Sequence[Resource], **fields: Any) -> Resource:
    """What a listener does with connections: HTTP, through these filters and then on by the routes. Time
    limits are the routes', so there is none on a stream here."""
    router = extension(ROUTER, "extensions.filters.http.router.v3.Router", suppress_envoy_headers=True)
    return extension(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=stat_prefix,
        stream_idle_timeout="0s",
        skip_xff_append=True,
        server_header_transformation="PASS_THROUGH",
        http_filters=[*filters, router],
        **fields,
    )


def http_protocol(**options: Any) -> Resource:
    """The field of a cluster that says how HTTP is spoken to its hosts."""
    name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "typed_extension_protocol_options": {
            name: typed("extensions.upstreams.http.v3.HttpProtocolOptions", **options)
        }
    }


def lua(script: str) -> Resource:
    """A filter that runs a script."""
    return extension(LUA, "extensions.filters.http.lua.v3.Lua", default_source_code={"inline_string": script})


def file_log(path: str, kind: str, fields: Mapping[str, str]) -> list[Resource]:
    """Writes one line of JSON for each request that has ended into a file of this machine; ``path`` empty:
    none. ``fields``: Envoy's commands by the name in the line. ``kind`` is the first field."""
    if not path:
        return []
    log = extension(
        "envoy.access_loggers.file",
        "extensions.access_loggers.file.v3.FileAccessLog",
        path=path,
        log_format={"json_format": {"line": kind, **fields}},
    )
    return [log]


def outcome_log(name: str, fields: Sequence[str], url: str) -> Resource:
    """Sends one line for each request that has ended, its fields parted by tabs, to ``url`` (OTLP over
    HTTP)."""
    return extension(
        "envoy.access_loggers.open_telemetry",
        "extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig",
        http_service={"http_uri": {"uri": url, "cluster": OUTCOMES_CLUSTER, "timeout": "2s"}},
        log_name=name,
        disable_builtin_labels=True,
        buffer_flush_interval=LOG_EVERY,
        body={"string_value": "\t".join((name, *fields))},
    )
