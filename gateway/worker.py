"""One worker: its parts are built, run and ended here."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from controller.process.clock import monotonic_ms
from controller.process.errors import SettingError
from controller.process.listening import Listen, read_listen
from controller.process.monitor import Vitals, monitored
from controller.process.settings import Settings
from controller.process.supervise import end_on_signals, together, until_asked
from controller.process.telemetry import logger
from gateway.access_log import AccessLog
from gateway.callers import Callers
from gateway.configuration import GatewayFile
from gateway.draining import Drain
from gateway.figures import Figures
from gateway.handling import Handling
from gateway.levels import Levels
from gateway.limits import Limits
from gateway.placing import Placing
from gateway.rereading import Rereading
from gateway.server import Listener
from gateway.serving import client_of, without_table
from gateway.sheets import WRITE_EVERY_S, read_sheets, sheet_of, vitals_of, write_sheet
from gateway.visit import Visit
from gateway.workers import drain_on_signals, end_without
from tieline import AsyncClient
from tieline.cancelling import end_all
from tieline.forwarding import Forwarder

MIB = 1024 * 1024
SWEEP_EVERY_S = 5.0
TELL_WITHIN_S = 5.0
FLUSH_EVERY_S = 0.25
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


class Post(NamedTuple):
    """What a worker shares with the others. ``folder``: their files. ``parent``: the process that keeps them
    running, 0 for a worker that is alone. ``config``: the file, whose tokens are read anew when it changes;
    None for one that nobody changes."""

    number: int
    workers: int
    folder: Path
    parent: int = 0
    config: Path | None = None


class Worker(NamedTuple):
    """The parts of a worker that serves: whatever else it has works for these."""

    drain: Drain
    listener: Listener
    figures: Figures
    clients: Mapping[str, AsyncClient]
    jobs: Mapping[str, Coroutine[Any, Any, None]]


async def run_worker(file: GatewayFile, settings: Settings, sock: socket.socket, post: Post) -> int:
    """Serves until SIGTERM or SIGINT; returns 0 after a clean end. Raises ``SettingError``."""
    asked_to_end = drain_on_signals() if post.parent else end_on_signals()
    async with serving(file, settings, sock, post) as worker:
        running = asyncio.create_task(together(dict(worker.jobs)))
        await until_asked(asked_to_end, running)
        await _drained(file, worker.drain, worker.listener)
        await end_all([running])
    logger("gateway").info("stopped")
    return 0


@asynccontextmanager
async def serving(
    file: GatewayFile, settings: Settings, sock: socket.socket, post: Post
) -> AsyncIterator[Worker]:
    """Serves as long as the context lasts. Whoever enters it runs the worker's ``jobs``."""
    listen, drain = listen_of(file), Drain()
    clients = {each.workload: client_of(file, each, settings, os.environ) for each in file.workloads}
    figures = Figures(clients, drain)

    def unready() -> str:
        return DRAINING if drain.is_unready else without_table(clients)

    async with AsyncExitStack() as closing:
        access_log = AccessLog(file.access_log)
        closing.callback(access_log.close)
        levels = Levels(post.folder / "levels")
        closing.callback(levels.close)
        rereading = Rereading(post.config, file, os.environ)
        callers = rereading.first()
        for client in clients.values():
            await closing.enter_async_context(client)

        def note(visit: Visit) -> None:
            figures.note(visit)
            access_log.note(visit)

        handling = Handling(
            callers,
            Placing(file),
            {name: Forwarder(client, processes=post.workers) for name, client in clients.items()},
            drain=drain,
            body_max_bytes=file.body_max_mib * MIB,
            unready=unready,
            limits=Limits(callers.everybody, levels),
            note=note,
        )

        def take(callers: Callers) -> None:
            handling.limits = Limits(callers.everybody, levels)
            handling.callers = callers

        listener = Listener(
            sock,
            handling.answer,
            connections_max=file.connections_max,
            count=lambda why: figures.turned_away.update((why,)),
        )
        if not post.parent:
            await closing.enter_async_context(monitored(settings.monitor, lambda: figures.vitals(unready)))
        await closing.enter_async_context(listener.listening(listen))
        logger("gateway").info("listening", url=_url(listen, sock), worker=post.number, callers=len(callers))
        jobs = {"sweep": _sweep(drain, post), "access log": _flush(access_log)}
        if post.config is not None:
            jobs["tokens"] = rereading.run(take)
        if post.parent:
            jobs["sheet"] = _write_sheets(lambda: figures.vitals(unready), post)
        yield Worker(drain, listener, figures, clients=clients, jobs=jobs)


async def run_watch(settings: Settings, post: Post) -> int:
    """Answers at ``--monitor`` for all workers, until SIGTERM."""
    asked_to_end = drain_on_signals()

    def vitals() -> Vitals:
        return vitals_of(read_sheets(post.folder, post.workers), monotonic_ms())

    async with monitored(settings.monitor, vitals):
        running = asyncio.create_task(_orphaned(post))
        await until_asked(asked_to_end, running)
        await end_all([running])
    return 0


async def _drained(file: GatewayFile, drain: Drain, listener: Listener) -> None:
    """The three stages of the end; see ``draining``."""
    log = logger("gateway")
    drain.is_unready = True
    log.info("stopping: not ready from now on", notice_s=file.draining.notice_s, under_way=len(drain))
    await asyncio.sleep(file.draining.notice_s)
    drain.refuses = True
    listener.close()
    if await drain.emptied(file.draining.within_s):
        return
    log.warning("requests are still under way, and are told", count=drain.tell())
    await drain.emptied(TELL_WITHIN_S)


async def _sweep(drain: Drain, post: Post) -> None:
    """Ends connections whose callers take nothing, and this process if its parent has ended. Runs until
    cancelled."""
    log = logger("gateway")
    while True:
        await asyncio.sleep(SWEEP_EVERY_S)
        if count := drain.end_untaken(monotonic_ms()):
            log.warning("callers did not take their answers, and were cut off", count=count)
        if post.parent:
            end_without(post.parent)


async def _orphaned(post: Post) -> None:
    while True:
        await asyncio.sleep(SWEEP_EVERY_S)
        end_without(post.parent)


async def _flush(access_log: AccessLog) -> None:
    """Writes the access log, until cancelled."""
    while True:
        await asyncio.sleep(FLUSH_EVERY_S)
        access_log.flush()


async def _write_sheets(vitals: Callable[[], Vitals], post: Post) -> None:
    """Tells the monitor about this worker, until cancelled."""
    while True:
        sheet = sheet_of(vitals(), monotonic_ms())
        await asyncio.to_thread(write_sheet, post.folder, post.number, sheet)
        await asyncio.sleep(WRITE_EVERY_S)


def _url(listen: Listen, sock: socket.socket) -> str:
    host = f"[{listen.host}]" if ":" in listen.host else listen.host
    return f"http{'s' if listen.certificate else ''}://{host}:{sock.getsockname()[1]}/v1"
