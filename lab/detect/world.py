"""An installation for detection: stand-ins, a controller and two probers on a given Kafka and Redis."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from controller.core.model.memory import PoolMemory
from controller.core.model.reasons import State
from controller.core.policy.policy import Origin, Policy, Pool, Provider, Source, Workload
from controller.leading.routes_reader import RoutesReader
from controller.probe.region import Pace
from controller.process.errors import TopicMissingError
from controller.process.settings import Settings
from lab.children import Child
from lab.detect.cases import MODELS, Case
from lab.errors import ChildError
from lab.standins.config import Latency, PoolConfig, StandinConfig
from lab.standins.process import StandinProcess
from tieline.table import ModelOffer

PROVIDERS = ("azure", "coreweave", "gcp", "oci")
PROBERS = ("prober-east", "prober-west")
SHARED = "shared"  # the region of faults that do not strike a whole process
CONTROL = "control"
STARTED_WITHIN_S = 180.0
DEFAULT_TIMEOUT_MS = Pace().timeout_ms
LIMIT_UNITS_PER_S = 10_000.0
PRICE = 5.0


class Place(NamedTuple):
    """Where a case is tried: the provider/region of the stand-in, and the name of the deployment."""

    case: Case
    region: str
    deployment: str

    @property
    def pool(self) -> str:
        """The id of the pool."""
        return f"{self.region}/{self.deployment}"


def placed(cases: Sequence[Case]) -> list[Place]:
    """Every replica of every case, spread over the providers. A fault of a process has its own region."""
    places: list[Place] = []
    for number, case in enumerate(cases):
        for replica in range(case.replicas):
            provider = PROVIDERS[len(places) % len(PROVIDERS)]
            region = f"{case.kind}-{number}-{replica}" if case.is_of_process else SHARED
            places.append(Place(case, f"{provider}/{region}", f"case-{number}-{replica}"))
    return places


def standins(places: Sequence[Place], log_dir: str) -> list[StandinConfig]:
    """One for each provider-region; those that cases share have a pool without a fault as well."""
    deployments: dict[str, list[str]] = {f"{provider}/{SHARED}": [CONTROL] for provider in PROVIDERS}
    for place in places:
        deployments.setdefault(place.region, []).append(place.deployment)
    return [
        StandinConfig(
            provider=region.split("/")[0],
            region=region.split("/")[1],
            pools=tuple(
                PoolConfig(name, MODELS, LIMIT_UNITS_PER_S, latency=Latency(first_token_ms=20, token_ms=2))
                for name in names
            ),
            log_dir=log_dir,
        )
        for region, names in sorted(deployments.items())
    ]


def policy_of(lineage: str, urls: dict[str, str]) -> Policy:
    """The pools at these addresses, each with two models, and two probers."""
    offers = tuple(ModelOffer(f"logical-{name}", name) for name in MODELS)
    pools = tuple(
        Pool(
            pool,
            "us",
            url,
            models=offers,
            limit_units_per_s=LIMIT_UNITS_PER_S,
            committed_units_per_s=LIMIT_UNITS_PER_S,
            price_per_million_units=PRICE,
        )
        for pool, url in sorted(urls.items())
    )
    workload = Workload(
        "chat", "critical", tuple(offer.model for offer in offers), expected_units_per_s={"us": 1_000.0}
    )
    return Policy(
        lineage,
        ("us",),
        (Origin("us"),),
        providers=tuple(Provider(name) for name in PROVIDERS),
        pools=pools,
        workloads=(workload,),
        sources=tuple(Source(name, "probe", vantage=name) for name in PROBERS),
    )


class World(NamedTuple):
    """A running installation, with every pool healthy. ``standins``: by provider/region."""

    standins: dict[str, StandinProcess]
    routes: RoutesReader
    parts: list[Child]

    def require_running(self) -> None:
        """Raises ChildError when a part has ended by itself."""
        for child in self.parts:
            if not child.running:
                raise ChildError(f"{child.name} ended by itself: {child.last_words()}")


def published_states(routes: RoutesReader) -> dict[str, PoolMemory]:
    """What the planner remembers of each pool, as it was published last."""
    record = routes.newest()
    return record.memory.pools if record is not None and record.memory is not None else {}


@asynccontextmanager
async def running(
    places: Sequence[Place],
    *,
    kafka: str,
    redis: str,
    namespace: str,
    directory: Path,
    probe_timeout_ms: int = DEFAULT_TIMEOUT_MS,
) -> AsyncIterator[World]:
    """Starts everything, and yields once every pool is healthy. Raises ChildError."""
    async with AsyncExitStack() as undo:
        processes: dict[str, StandinProcess] = {}
        for config in standins(places, str(directory / "standins")):
            process = await undo.enter_async_context(await StandinProcess.spawn(config))
            processes[process.name] = process
        urls = {pool: process.url(pool) for process in processes.values() for pool in process.ports}
        file = directory / "policy.yaml"
        file.write_bytes(msgspec.json.encode(policy_of(namespace.strip(".") or "detect", urls)))
        environment = {
            "TIELINE_KAFKA": kafka,
            "TIELINE_REDIS": redis,
            "TIELINE_NAMESPACE": namespace.rstrip("."),
            "TIELINE_UNSIGNED_DEV_MODE": "1",
            "TIELINE_POLICY": "",
        }

        async def start(name: str, *arguments: str) -> Child:
            child = await Child.start(
                name,
                [sys.executable, "-m", "controller.cli", *arguments],
                log=directory / f"{name}.log",
                environment=environment,
            )
            undo.push_async_callback(child.stop)
            return child

        parts = [await start("controller", "controller", "--policy", str(file))]
        settings = Settings(kafka, redis, namespace.rstrip("."))
        routes = await undo.enter_async_context(await _published(settings, parts[0]))
        choices = ("--timeout-ms", str(probe_timeout_ms))
        parts += [await start(name, "probe", "--source", name, *choices) for name in PROBERS]
        world = World(processes, routes, parts)
        await _until_healthy(world, urls)
        yield world


async def _published(settings: Settings, controller: Child) -> RoutesReader:
    """A reader of the routes log, once the controller has made its topics."""
    async with asyncio.timeout(STARTED_WITHIN_S):
        while controller.running:
            reader = RoutesReader(settings)
            try:
                async with reader:
                    if await reader.until(lambda record: record.table is not None, STARTED_WITHIN_S):
                        return RoutesReader(settings)
            except TopicMissingError:
                await asyncio.sleep(0.2)
    raise ChildError(f"the controller ended by itself: {controller.last_words()}")


async def _until_healthy(world: World, pools: dict[str, str]) -> None:
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + STARTED_WITHIN_S
    while loop.time() < deadline_s:
        world.require_running()
        states = published_states(world.routes)
        if all(pool in states and states[pool].state is State.HEALTHY for pool in pools):
            return
        await world.routes.moved_past(world.routes.next_offset, 1.0)
    raise ChildError("the pools did not become healthy: look at the logs of the probers")
