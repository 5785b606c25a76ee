"""One `tieline envoy` process: its parts are built, run and closed here."""

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from msgspec import Struct

from controller.envoy.bootstrap import BOOTSTRAP, Front, bootstrap, outcomes_url
from controller.envoy.collector import OutcomeCollector
from controller.envoy.directory import ResourceDirectory
from controller.envoy.discovery import Discovery
from controller.envoy.follower import EnvoyFollower
from controller.envoy.plan import RouteName
from controller.envoy.pools import Places
from controller.envoy.receiver import receiving
from controller.envoy.serving import Serving, served
from controller.process.errors import SettingError
from controller.process.monitor import Vitals, labelled, monitored, single
from controller.process.settings import Settings
from controller.process.supervise import end_on_signals, until_asked
from controller.process.telemetry import logger, without_password
from tieline import AsyncClient
from tieline.cancelling import end_all
from tieline.proxying import Proxied


class EnvoyChoices(Struct, frozen=True):
    """What the operator chose. ``directory``: of the generated files. ``routes``: those that Envoy serves;
    the first is for requests that name none. ``serving``: where Envoy asks for its resources; None for files
    in the directory. The other fields are those of ``Front``, ``Places`` and ``AsyncClient``."""

    directory: Path
    routes: tuple[RouteName, ...]
    front: Front
    credentials: Path | None
    authorities: str
    controller_keys: tuple[Path, ...] = ()
    overlay_keys: tuple[Path, ...] = ()
    pool_hosts: tuple[str, ...] = ()
    serving: Serving | None = None


async def run_envoy(settings: Settings, choices: EnvoyChoices) -> int:
    """Runs until SIGTERM or SIGINT; returns 0 after a clean end. Raises SettingError."""
    log = logger("envoy")
    asked_to_end = end_on_signals()
    path = choices.directory.absolute()
    directory = ResourceDirectory(path)
    places = Places(
        path,
        choices.credentials.absolute() if choices.credentials is not None else None,
        authorities=choices.authorities,
        outcomes_url=outcomes_url(choices.front.outcomes),
        access_log=choices.front.access_log,
        is_served=choices.serving is not None,
    )
    try:
        (path / "last-good").mkdir(parents=True, exist_ok=True)
        directory.write_bootstrap(BOOTSTRAP, bootstrap(choices.front, places))
    except OSError as error:
        raise SettingError(f"{path}: files can't be written there: {error.strerror}") from None
    shelf: ResourceDirectory | Discovery = directory
    async with AsyncExitStack() as closing:
        if choices.serving is not None:
            shelf = await closing.enter_async_context(served(choices.serving))
        clients = {
            workload: await closing.enter_async_context(_client(workload, settings, choices))
            for workload in dict.fromkeys(route.workload for route in choices.routes)
        }
        proxied = {workload: Proxied(client) for workload, client in clients.items()}
        follower = EnvoyFollower(choices.routes, proxied, places, shelf=shelf)
        collector = OutcomeCollector(proxied)
        for client in clients.values():
            client.on_table(lambda _: follower.wake())
            client.on_status(lambda _: follower.wake())

        def take(message: bytes) -> None:
            collector.take(message)
            follower.wake()

        await closing.enter_async_context(receiving(choices.front.outcomes, take))
        await closing.enter_async_context(
            monitored(settings.monitor, lambda: _vitals(follower, collector, list(clients.values()), shelf))
        )
        log.info(
            "telling Envoy the table",
            by="files in the directory" if choices.serving is None else f"answers at {choices.serving.place}",
            directory=str(path),
            routes=[str(route) for route in choices.routes],
            redis=without_password(settings.redis),
            reports="to Kafka" if settings.kafka else "to nobody, as TIELINE_KAFKA is not set",
            start=f"envoy -c {path / BOOTSTRAP}",
        )
        running = asyncio.create_task(follower.run())
        await until_asked(asked_to_end, running)
        log.info("stopping")
        await end_all([running])
    log.info("stopped; Envoy goes on with what it has")
    return 0


def _client(workload: str, settings: Settings, choices: EnvoyChoices) -> AsyncClient:
    origins = [route.origin for route in choices.routes if route.workload == workload]
    return AsyncClient(
        settings.redis,
        workload=workload,
        origin=origins[0],
        origins=origins[1:],
        namespace=settings.namespace,
        kafka=settings.kafka or None,
        last_good=choices.directory.absolute() / "last-good" / workload,
        client_id=f"envoy-{workload[:32]}-{secrets.token_hex(6)}",
        controller_keys=choices.controller_keys,
        overlay_keys=choices.overlay_keys,
        pool_hosts=choices.pool_hosts,
    )


def _vitals(
    follower: EnvoyFollower,
    collector: OutcomeCollector,
    clients: Sequence[AsyncClient],
    shelf: ResourceDirectory | Discovery,
) -> Vitals:
    """It is ready while every workload has a table and the files can be written."""
    missing = follower.without_table
    unready = f"there is no table yet for {', '.join(missing)}" if missing else follower.error
    lines = {"read": collector.lines, "refused": collector.refused, "strange": collector.strange}
    dropped = sum(client.status.reports_dropped for client in clients)
    waiting, refused = (shelf.held, shelf.refused) if isinstance(shelf, Discovery) else (0, 0)
    return Vitals(
        unready,
        (
            labelled("envoy_lines", "Lines of Envoy's by what they were", "what", values=lines, counter=True),
            single("envoy_resources_changed", "Resources of Envoy's that have changed", follower.changed),
            single("envoy_reports_dropped", "Reports given up", dropped),
            single("envoy_polls_held", "Polls that wait for something new", waiting),
            single("envoy_resources_refused", "Answers that an Envoy has not taken over", refused),
        ),
    )
