"""A real Envoy before a picker, on loopback: one listener for each way in which Envoy can ask it.

Used by `bench.picker` and tests/integration/test_picker.py, which say where the program is; docs/picker.md
shows the same configuration as YAML.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.stack.server import LOOPBACK, Server

# Without a picker, then by what Envoy sends it: the request's headers alone; both sides' headers; the
# request's body as a whole; both bodies as they come, as gateways of the Inference Extension do.
LISTENERS: Mapping[str, Mapping[str, str] | None] = {
    "bare": None,
    "request": {"response_header_mode": "SKIP"},
    "headers": {},
    "buffered": {"request_body_mode": "BUFFERED"},
    "duplex": {
        "request_body_mode": "FULL_DUPLEX_STREAMED",
        "response_body_mode": "FULL_DUPLEX_STREAMED",
        "request_trailer_mode": "SEND",
        "response_trailer_mode": "SEND",
    },
}
ANSWER_WITHIN_S = 1.0
_API = "type.googleapis.com/envoy."
_ENDPOINT = "x-gateway-destination-endpoint"


class PickedEnvoy(Server):
    """``program``: Envoy. ``picker``: where the picker listens. ``pools``: every address to which it may send
    a request. ``by_name``: pools that Envoy itself knows (``destination: pool``), each with its address.
    ``fails_open``: what happens to requests while the picker is away."""

    name = "Envoy"
    ports_needed = len(LISTENERS) + 1

    def __init__(
        self,
        place: Path,
        program: Path,
        *,
        picker: str,
        pools: Sequence[str],
        by_name: Mapping[str, str] | None = None,
        fails_open: bool = False,
    ) -> None:
        super().__init__(place)
        self._program, self._picker, self._pools, self._fails_open = program, picker, list(pools), fails_open
        self._by_name = dict(by_name or {})

    def url(self, listener: str) -> str:
        """Base URL of one of ``LISTENERS``."""
        return f"http://{LOOPBACK}:{self.ports[list(LISTENERS).index(listener)]}"

    @property
    def admin(self) -> str:
        """Base URL of Envoy's own statistics."""
        return f"http://{LOOPBACK}:{self.ports[-1]}"

    async def prepare(self) -> None:
        """Writes the configuration."""
        (self.place / "envoy.json").write_text(json.dumps(self._configuration(), indent=1))

    def command(self) -> list[str]:
        """Envoy with one worker, as the picker has one."""
        file = str(self.place / "envoy.json")
        return [
            str(self._program),
            "-c",
            file,
            "--concurrency",
            "1",
            "--log-level",
            "warning",
            "--use-dynamic-base-id",
        ]

    async def answers(self) -> bool:
        """Whether it is ready, by its own word."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                reader, writer = await asyncio.open_connection(LOOPBACK, self.ports[-1])
                writer.write(b"GET /ready HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\n\r\n")
                answer = await reader.read()
                writer.close()
        except (OSError, TimeoutError):
            return False
        return b"LIVE" in answer

    def _configuration(self) -> dict[str, Any]:
        listeners = [
            self._listener(name, port, mode)
            for (name, mode), port in zip(LISTENERS.items(), self.ports, strict=False)
        ]
        return {
            "admin": {"address": _address(f"{LOOPBACK}:{self.ports[-1]}")},
            "static_resources": {"listeners": listeners, "clusters": self._clusters()},
        }

    def _listener(self, name: str, port: int, mode: Mapping[str, str] | None) -> dict[str, Any]:
        router = {
            "name": "router",
            "typed_config": {"@type": f"{_API}extensions.filters.http.router.v3.Router"},
        }
        manager = {
            "@type": f"{_API}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": name,
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": self._routes()}]},
            "http_filters": [router] if mode is None else [self._filter(mode), router],
        }
        return {
            "name": name,
            "address": _address(f"{LOOPBACK}:{port}"),
            "filter_chains": [{"filters": [{"name": "manager", "typed_config": manager}]}],
        }

    def _routes(self) -> list[dict[str, Any]]:
        retries = {"retry_on": "connect-failure,refused-stream,reset,5xx", "num_retries": 1}
        whole: dict[str, Any] = {"timeout": "0s", "retry_policy": retries}
        named = [
            {
                "match": {
                    "prefix": "/",
                    "headers": [{"name": "x-tieline-pool", "string_match": {"exact": pool}}],
                },
                "route": {"cluster": f"pool {pool}", **whole},
            }
            for pool in self._by_name
        ]
        return [*named, {"match": {"prefix": "/"}, "route": {"cluster": "pools", **whole}}]

    def _filter(self, mode: Mapping[str, str]) -> dict[str, Any]:
        config = {
            "@type": f"{_API}extensions.filters.http.ext_proc.v3.ExternalProcessor",
            "grpc_service": {"envoy_grpc": {"cluster_name": "picker"}, "timeout": "0s"},
            "message_timeout": "10s",
            "failure_mode_allow": self._fails_open,
            "processing_mode": {"request_header_mode": "SEND", "response_header_mode": "SEND", **mode},
            "metadata_options": {
                "receiving_namespaces": {"untyped": ["envoy.lb"]},
                "forwarding_namespaces": {"untyped": ["envoy.lb", "envoy.lb.subset_hint"]},
            },
        }
        return {"name": "envoy.filters.http.ext_proc", "typed_config": config}

    def _clusters(self) -> list[dict[str, Any]]:
        picker = _cluster("picker", [self._picker])
        picker["typed_extension_protocol_options"] = {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_API}extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        }
        pools = _cluster("pools", self._pools)
        pools["load_balancing_policy"] = _policy("override_host.v3.OverrideHost", **_OVERRIDE)
        return [picker, pools, *(_cluster(f"pool {pool}", [place]) for pool, place in self._by_name.items())]


def _address(place: str) -> dict[str, Any]:
    host, _, port = place.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def _cluster(name: str, places: Sequence[str]) -> dict[str, Any]:
    endpoints = [{"endpoint": {"address": _address(place)}} for place in places]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    }


def _policy(name: str, **settings: Any) -> dict[str, Any]:
    config = {"@type": f"{_API}extensions.load_balancing_policies.{name}", **settings}
    return {"policies": [{"typed_extension_config": {"name": name, "typed_config": config}}]}


def _key(name: str) -> dict[str, Any]:
    return {"key": "envoy.lb", "path": [{"key": name}]}


# By metadata alone: a header could come from the caller while the picker is away.
_OVERRIDE = {
    "override_host_sources": [{"metadata": _key(_ENDPOINT)}],
    "selected_host_key": _key(f"{_ENDPOINT}-served"),
    "fallback_policy": _policy("round_robin.v3.RoundRobin"),
}
