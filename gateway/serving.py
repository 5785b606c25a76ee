"""The clients of a worker: one for each workload, which all requests of that share."""

from collections.abc import Mapping
from pathlib import Path

import tieline
from controller.process.secret_places import read_secret
from controller.process.settings import Settings
from gateway.configuration import GatewayFile, ServedWorkload
from gateway.credentials import credentials_of


def client_of(
    file: GatewayFile, served: ServedWorkload, settings: Settings, environment: Mapping[str, str]
) -> tieline.AsyncClient:
    """The client of one workload, not started yet. Raises ``ConfigurationError`` for settings that can't
    work, ``UserError`` for a token that can't be read or an identity that can't be had."""
    token = file.tables_token
    return tieline.AsyncClient(
        file.tables or settings.redis,
        workload=served.workload,
        origin=served.origins[0],
        origins=served.origins[1:],
        namespace=settings.namespace,
        token=read_secret(token, environment, "tables_token") if token is not None else None,
        kafka=settings.kafka or None,
        credentials=credentials_of(file),
        last_good=Path(file.last_good) / f"{served.workload}.bin" if file.last_good else None,
        pool_hosts=file.pool_hosts,
        overlay_keys=file.overlay_keys,
        controller_keys=(settings.controller_keys,) if settings.controller_keys is not None else (),
        stream_recovery=file.stream_recovery,
        tracing=file.tracing,
        holders=settings.redis if settings.redis and file.share_holders else None,
    )


def without_table(clients: Mapping[str, tieline.AsyncClient]) -> str:
    """Which workload has no table yet, and why, in words; "" if all have one. A table that is old is one:
    requests go by it."""
    complaints = [
        f"{workload} has no route table: {client.status.error or 'none has come yet'}"
        for workload, client in clients.items()
        if not client.status.generation
    ]
    return "; ".join(complaints)
