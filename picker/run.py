"""One process of `tieline picker`: its parts are built, run and closed here."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

import tieline
from controller.process.clock import monotonic_ms
from controller.process.monitor import Figure, Vitals, labelled, monitored, single
from controller.process.settings import Settings
from controller.process.supervise import collect_seldom, end_on_signals, until_asked
from picker.choosing import Desk
from picker.endpoints import Endpoints
from picker.server import PickerServer
from picker.settings import PickerFile, listen_of
from tieline.cancelling import end_all

READY_WITHIN_S = 2.0


async def run_picker(settings: Settings, file: PickerFile) -> int:
    """Runs until SIGTERM or SIGINT; returns 0. Raises SettingError or ConfigurationError for what can't
    work."""
    log = structlog.get_logger("picker")
    asked_to_end = end_on_signals()
    clients = clients_of(settings, file)
    endpoints = Endpoints(file.endpoints)
    server = PickerServer(
        file, Desk(file, clients, endpoints), clock=monotonic_ms, is_ready=lambda: not _unready(clients)
    )
    async with AsyncExitStack() as closing:
        for name, client in clients.items():
            client.on_table(_follower(endpoints, name, client))
            await closing.enter_async_context(client)
        await asyncio.gather(*(client.ready(READY_WITHIN_S) for client in clients.values()))
        for name, client in clients.items():  # a last good file is in force before anybody listens
            _follow(endpoints, name, client)
        await closing.enter_async_context(
            monitored(settings.monitor, lambda: vitals_of(server, clients, endpoints))
        )
        lookups = asyncio.create_task(endpoints.run(file.resolve_every_s))
        closing.push_async_callback(end_all, [lookups])
        address = await closing.enter_async_context(server.listening())
        log.info("listening", address=address, workloads=sorted(clients), destination=file.destination)
        if not file.client_ca and not listen_of(file).is_loopback:
            log.warning(
                "whoever reaches this address can say that pools fail: give client_ca, or keep it private"
            )
        collect_seldom()
        await until_asked(asked_to_end, lookups)
        server.stop()
        log.info("stopping", open_streams=server.open, drain_s=file.drain_s)
        await asyncio.sleep(file.drain_s)
    log.info("stopped")
    return 0


def clients_of(settings: Settings, file: PickerFile) -> dict[str, tieline.AsyncClient]:
    """A client for each workload, which follows all origins that the rules name."""
    origins: dict[str, list[str]] = {}
    for rule in file.routes:
        origins.setdefault(rule.workload, []).append(rule.origin)
    keys = [settings.controller_keys] if settings.controller_keys is not None else []
    return {
        workload: tieline.AsyncClient(
            file.tables or settings.redis,
            workload=workload,
            origin=names[0],
            origins=names,
            namespace=settings.namespace,
            kafka=settings.kafka or None,
            controller_keys=keys,
            last_good=Path(file.last_good) / f"{workload}.bin" if file.last_good else None,
        )
        for workload, names in origins.items()
    }


def vitals_of(
    server: PickerServer, clients: Mapping[str, tieline.AsyncClient], endpoints: Endpoints
) -> Vitals:
    """Ready while every workload has a table and nobody has asked the process to end."""
    unready = _unready(clients)
    if not unready and not server.is_serving:
        unready = "the picker is stopping"
    return Vitals(unready, tuple(_figures(server, clients, endpoints)))


def _unready(clients: Mapping[str, tieline.AsyncClient]) -> str:
    for workload, client in clients.items():
        if client.core.router.table is None:
            return f"{workload}: {client.status.error or 'no table has come yet'}"
    return ""


def _figures(
    server: PickerServer, clients: Mapping[str, tieline.AsyncClient], endpoints: Endpoints
) -> Iterable[Figure]:
    picks = {reason: float(count) for reason, count in server.counts.items()}
    yield labelled(
        "picker_picks",
        "requests by why they go where they go, or nowhere",
        "reason",
        values=picks,
        counter=True,
    )
    yield single("picker_streams", "requests that are open", server.open)
    yield single("picker_errors", "requests that failed inside the picker", server.errors)
    yield single("picker_pools_without_address", "pools that no request can go to", len(endpoints.unknown()))
    ages = {
        name: age / 1_000 for name, client in clients.items() if (age := client.status.age_ms) is not None
    }
    yield labelled(
        "picker_table_age_seconds", "time since the source of tables answered", "workload", values=ages
    )
    dropped = {name: float(client.status.reports_dropped) for name, client in clients.items()}
    yield labelled("picker_reports_dropped", "reports given up", "workload", values=dropped, counter=True)


def _follower(endpoints: Endpoints, name: str, client: tieline.AsyncClient) -> Callable[[object], None]:
    return lambda _applied: _follow(endpoints, name, client)


def _follow(endpoints: Endpoints, name: str, client: tieline.AsyncClient) -> None:
    table = client.core.router.table
    if table is not None:
        endpoints.follow(name, (info for part in table.parts.values() for info in part.pools))
