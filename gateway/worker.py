"""One worker: its parts are built, run and ended here."""

import asyncio
import os
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

from controller.process.clock import monotonic_ms
from controller.process.errors import SettingError
from controller.process.listening import Listen, read_listen
from controller.process.monitor import monitored
from controller.process.settings import Settings
from controller.process.supervise import end_on_signals, together, until_asked
from gateway.callers import Callers
from gateway.configuration import GatewayFile
from gateway.draining import Drain
from gateway.figures import Figures
from gateway.handling import Handling
from gateway.placing import Placing
from gateway.server import Listener
from gateway.serving import client_of, without_table
from tieline.cancelling import end_all
from tieline.forwarding import Forwarder

MIB = 1024 * 1024
SWEEP_EVERY_S = 5.0
TELL_WITHIN_S = 5.0
DRAINING = "this gateway is about to end"


def listen_of(file: GatewayFile) -> Listen:
    """Where to listen. Raises ``SettingError`` for a place that can't be, and for one that others can reach
    without tokens."""
    certificate = Path(file.tls.certificate) if file.tls is not None else None
    key = Path(file.tls.key) if file.tls is not None else None
    listen = read_listen(file.listen, certificate, key, setting="listen")
    if not listen.is_loopback and not file.tokens:
        raise SettingError(
            f"listen {file.listen}: other machines can reach this address, so it needs tokens: name them "
            "under tokens"
        )
    return listen


async def run_worker(file: GatewayFile, settings: Settings, sock: socket.socket) -> int:
    """Serves until SIGTERM or SIGINT; returns 0 after a clean end. Raises ``SettingError``."""
    log = structlog.get_logger("gateway")
    asked_to_end = end_on_signals()
    listen, callers, drain = listen_of(file), Callers(file, os.environ), Drain()
    clients = {each.workload: client_of(file, each, settings, os.environ) for each in file.workloads}
    figures = Figures(clients, drain)

    def unready() -> str:
        return DRAINING if drain.is_unready else without_table(clients)

    async with AsyncExitStack() as closing:
        for client in clients.values():
            await closing.enter_async_context(client)
        handling = Handling(
            callers,
            Placing(file),
            {workload: Forwarder(client) for workload, client in clients.items()},
            drain=drain,
            body_max_bytes=file.body_max_mib * MIB,
            unready=unready,
            note=figures.note,
        )
        listener = Listener(
            sock,
            handling.answer,
            connections_max=file.connections_max,
            count=lambda why: figures.turned_away.update((why,)),
        )
        await closing.enter_async_context(monitored(settings.monitor, lambda: figures.vitals(unready)))
        await closing.enter_async_context(listener.listening(listen))
        log.info("listening", url=_url(listen, sock), callers=len(callers), workloads=sorted(clients))
        if not listen.is_loopback and listen.certificate is None:
            log.warning("callers' tokens travel unencrypted: give tls, or put TLS in front")
        running = asyncio.create_task(together({"sweep": _sweep(drain)}))
        await until_asked(asked_to_end, running)
        await _drained(file, drain, listener)
        await end_all([running])
    log.info("stopped")
    return 0


async def _drained(file: GatewayFile, drain: Drain, listener: Listener) -> None:
    """The three stages of the end; see ``draining``."""
    log = structlog.get_logger("gateway")
    drain.is_unready = True
    log.info("stopping: not ready from now on", notice_s=file.draining.notice_s, under_way=len(drain))
    await asyncio.sleep(file.draining.notice_s)
    drain.refuses = True
    listener.close()
    if await drain.emptied(file.draining.within_s):
        return
    log.warning("requests are still under way, and are told", count=drain.tell())
    await drain.emptied(TELL_WITHIN_S)


async def _sweep(drain: Drain) -> None:
    """Ends connections whose callers take nothing, until cancelled."""
    log = structlog.get_logger("gateway")
    while True:
        await asyncio.sleep(SWEEP_EVERY_S)
        if count := drain.end_untaken(monotonic_ms()):
            log.warning("callers did not take their answers, and were cut off", count=count)


def _url(listen: Listen, sock: socket.socket) -> str:
    host = f"[{listen.host}]" if ":" in listen.host else listen.host
    return f"http{'s' if listen.certificate else ''}://{host}:{sock.getsockname()[1]}/v1"
