"""Everything that runs: stack, two controllers, a prober, stand-ins for providers and calling processes.

Each part reaches Kafka and Redis by links of its own (``links``), so that the way of one part can be broken
while the others go on.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from controller.core.policy.policy import Policy
from controller.policy_file import load_policy
from lab.chaos.links import Link
from lab.chaos.recorder import Places, Recorder
from lab.chaos.servers import ChaosCluster, ChaosKafka, ChaosValkey, ShimClock, build_shim
from lab.children import Child
from lab.demo import plan as plans
from lab.demo import trace
from lab.demo.caller import CallerConfig
from lab.demo.command import POLICY
from lab.demo.examples import example
from lab.demo.observer import GrowingFile
from lab.demo.plan import Pace, Plan, plan
from lab.stack.cache import RunDirectory, cache_directory
from lab.stack.jars import ensure_jars
from lab.stack.server import LOOPBACK
from lab.stack.stack import silent
from lab.standins.process import StandinProcess

NAMESPACE = "chaos"
CONTROLLERS = ("controller-a", "controller-b")
PROBER, STANDINS, CALLERS = "prober", "standins", "callers"
POOLS = (
    "azure/eastus2/gpt-4o",
    "azure/swedencentral/gpt-4o",
    "gcp/us-central1/gemini-pro",
    "gcp/europe-west4/gemini-pro",
)
PACE = Pace(
    requests_per_s=16.0,
    load=0.35,
    callers=2,
    thresholds={"hold_down_min_ms": 3_000, "ramp_step_min_ms": 1_000, "clear_after_ms": 3_000},
    clients={"first_token_timeout_ms": 2_500, "idle_timeout_ms": 3_000},
)


class ControllerLog:
    """What a controller has logged, read as it grows."""

    def __init__(self, path: Path) -> None:
        self._file = GrowingFile(path)
        self.lines: list[dict[str, Any]] = []

    def read(self) -> list[dict[str, Any]]:
        """All lines so far that are events."""
        for line in self._file.new_lines().splitlines():
            if line.startswith(b"{"):
                self.lines.append(json.loads(line))
        return self.lines


class World:
    """The parts by name. ``patience`` multiplies how long clients wait for providers.

    ``with_clocks``: the clocks of controllers and of Kafka can be set (``ShimClock``). ``brokers``: of
    several nobody's way to Kafka has a link, and each broker can be struck by itself.
    """

    def __init__(
        self, directory: Path, *, patience: float = 1.0, with_clocks: bool = False, brokers: int = 1
    ) -> None:
        self.directory = directory
        self.kafka_links = {
            name: Link(f"{name} to Kafka") for name in (*CONTROLLERS, PROBER, STANDINS, CALLERS)
        }
        self.redis_links = {name: Link(f"{name} to Redis") for name in (*CONTROLLERS, CALLERS)}
        self.controllers: dict[str, Child] = {}
        self.logs = {name: ControllerLog(directory / f"{name}.log") for name in CONTROLLERS}
        self.standins: dict[str, StandinProcess] = {}
        self.callers: dict[str, Child] = {}
        self.clocks: dict[str, ShimClock] = {}
        self.plan = self._plan(patience)
        self.brokers = brokers
        self._with_clocks = with_clocks
        self._lives = 0
        self._undo = AsyncExitStack()
        self._kafka: ChaosKafka | None = None
        self._cluster: ChaosCluster | None = None
        self._valkey: ChaosValkey | None = None
        self._recorder: Recorder | None = None
        self._prober: Child | None = None

    @staticmethod
    def _plan(patience: float) -> Plan:
        """The demo's policy with four pools of two providers, and without what the others bring."""
        policy = load_policy(example(POLICY))
        workloads = tuple(replace(workload, last_resort=()) for workload in policy.workloads)
        mean_tokens = trace.mean_tokens(trace.read())
        whole = replace(policy, workloads=workloads, sources=())
        limits_ms = {name: round(patience * value) for name, value in PACE.clients.items()}
        return plan(whole, replace(PACE, clients=limits_ms), mean_tokens, only=POOLS)

    @property
    def policy(self) -> Policy:
        """The policy of the run; its pools have no addresses."""
        return self.plan.policy

    @property
    def kafka(self) -> ChaosKafka:
        """The only broker."""
        assert self._kafka is not None
        return self._kafka

    @property
    def cluster(self) -> ChaosCluster:
        """The brokers of a world that has several."""
        assert self._cluster is not None
        return self._cluster

    @property
    def bootstrap(self) -> str:
        """The way to Kafka past all links."""
        return (self._kafka or self.cluster).bootstrap

    def kafka_address(self, name: str) -> str:
        """The way of a part to Kafka: its own link, where there is one broker."""
        return f"{LOOPBACK}:{self.kafka_links[name].port}" if self._kafka else self.bootstrap

    @property
    def valkey(self) -> ChaosValkey:
        """The Redis."""
        assert self._valkey is not None
        return self._valkey

    @property
    def recorder(self) -> Recorder:
        """What sees everything."""
        assert self._recorder is not None
        return self._recorder

    @property
    def prober(self) -> Child:
        """The prober of the present or the last life."""
        assert self._prober is not None
        return self._prober

    @property
    def policy_path(self) -> Path:
        """The policy file of the controllers."""
        return self.directory / "policy.yaml"

    async def start(self) -> None:
        """Starts everything. Raises ChildError or StackError."""
        for link in (*self.kafka_links.values(), *self.redis_links.values()):
            await link.start()
            self._undo.push_async_callback(link.stop)
        if self._with_clocks:
            library = await asyncio.to_thread(build_shim, self.directory)
            for name in (*CONTROLLERS, *self._broker_names()):
                self.clocks[name] = ShimClock(library, self.directory / f"{name}.clock")
        await self._start_servers()
        self._recorder = Recorder(Places(self.bootstrap, self.valkey.url, NAMESPACE))
        await self._start_standins()
        urls = {pool: standin.url(pool) for standin in self.standins.values() for pool in standin.ports}
        self.write_policy(plans.addressed(self.policy, urls))
        for name in CONTROLLERS:
            await self.start_controller(name)
            if name == CONTROLLERS[0]:
                await self._until_topics()
        await self.start_prober()
        self.recorder.watch_logs([standin.log_path for standin in self.standins.values()])
        self.recorder.start()
        self._undo.push_async_callback(self.recorder.stop)
        for number in range(PACE.callers):
            await self.start_caller(number)

    def write_policy(self, policy: Policy) -> None:
        """The file that controllers read when they start."""
        self.policy_path.write_text(plans.as_yaml(policy), "utf-8")

    async def _start_servers(self) -> None:
        jars = await asyncio.to_thread(ensure_jars, cache_directory(), silent)
        claim = RunDirectory.claim(cache_directory() / "stack")
        self._undo.callback(claim.release)
        shims = [self.clocks[name].environment if self._with_clocks else {} for name in self._broker_names()]
        kafka = self._make_kafka(claim.path / "kafka", jars, shims)
        self._valkey = ChaosValkey(claim.path / "valkey")
        self._undo.push_async_callback(self._valkey.kill)
        self._undo.push_async_callback(kafka.kill)
        await asyncio.gather(kafka.start(), self._valkey.start())
        for link in self.redis_links.values():
            link.target_port = self._valkey.port

    def _broker_names(self) -> list[str]:
        """The names of the brokers' clocks."""
        return ["kafka"] if self.brokers == 1 else [f"kafka-{n + 1}" for n in range(self.brokers)]

    def _make_kafka(
        self, place: Path, jars: list[Path], shims: list[dict[str, str]]
    ) -> ChaosKafka | ChaosCluster:
        if self.brokers > 1:
            self._cluster = ChaosCluster(place, jars, self.brokers, shims=shims)
            return self._cluster
        doors = tuple(self.kafka_links.values())
        self._kafka = ChaosKafka(place, jars, doors, environment=shims[0])
        return self._kafka

    async def _start_standins(self) -> None:
        configs = plans.standins(
            self.plan,
            log_dir=str(self.directory / "standins"),
            kafka=self.kafka_address(STANDINS),
            namespace=NAMESPACE,
        )
        self._undo.push_async_callback(self._stop_standins)
        for standin in await asyncio.gather(*(StandinProcess.spawn(config) for config in configs)):
            self.standins[standin.name] = standin

    async def _stop_standins(self) -> None:
        await asyncio.gather(*(standin.stop() for standin in self.standins.values()))

    async def _until_topics(self) -> None:
        """Until the first controller leads, so that the second finds the topics."""
        log = self.logs[CONTROLLERS[0]]

        async def leads() -> bool:
            return any(line["event"] == "leads now" for line in log.read())

        await self.controllers[CONTROLLERS[0]].until_ready(leads, 90)

    def settings(self, name: str) -> dict[str, str]:
        """The environment of a command that goes by the links of a part."""
        redis = self.redis_links.get(name, self.redis_links[CALLERS])
        return {
            "TIELINE_KAFKA": self.kafka_address(name),
            "TIELINE_REPLICATION": str(self.brokers),
            "TIELINE_REDIS": f"redis://{LOOPBACK}:{redis.port}/0",
            "TIELINE_NAMESPACE": NAMESPACE,
            "TIELINE_POLICY": str(self.policy_path),
            "TIELINE_UNSIGNED_DEV_MODE": "1",
        }

    @property
    def direct_settings(self) -> dict[str, str]:
        """The environment of a command that goes past all links."""
        return {
            **self.settings(CALLERS),
            "TIELINE_KAFKA": self.bootstrap,
            "TIELINE_REDIS": self.valkey.url,
        }

    async def start_controller(self, name: str) -> None:
        """Starts a controller, in the place of one that has ended."""
        shim = self.clocks[name].environment if name in self.clocks else {}
        self.controllers[name] = await self._start(name, ["controller"], {**self.settings(name), **shim})

    async def start_prober(self) -> None:
        """Starts the prober."""
        self._prober = await self._start(
            PROBER, ["probe", "--source", plans.PROBER_SOURCE], self.settings(PROBER)
        )

    async def _start(self, name: str, arguments: list[str], environment: Mapping[str, str]) -> Child:
        child = await Child.start(
            name,
            [sys.executable, "-m", "controller.cli", *arguments],
            log=self.directory / f"{name}.log",
            environment=environment,
        )
        self._undo.push_async_callback(child.stop)
        return child

    async def start_caller(self, number: int, *prefix: str) -> str:
        """Starts a calling process, in the place of one that has ended. Returns the name of its life."""
        self._lives += 1
        name, life = f"app-{number + 1}", f"app-{number + 1}.{self._lives}"
        rows = len(trace.read())
        config = CallerConfig(
            name=name,
            redis=f"redis://{LOOPBACK}:{self.redis_links[CALLERS].port}/0",
            kafka=self.kafka_address(CALLERS),
            namespace=NAMESPACE,
            notes=str(self.directory / f"{life}.jsonl"),
            shares=plans.shares(self.policy),
            rate_per_s=PACE.requests_per_s / PACE.callers,
            token_scale=PACE.token_scale,
            first=self._lives * rows // (2 * PACE.callers) % rows,
            last_good=str(self.directory / "last-good"),
            request_ids=life,
        )
        (self.directory / "last-good").mkdir(exist_ok=True)
        path = self.directory / f"{life}.json"
        path.write_bytes(msgspec.json.encode(config))
        self.recorder.watch_caller(life, Path(config.notes))
        command = [*prefix, sys.executable, "-m", "lab.demo.caller", str(path)]
        child = await Child.start(life, command, log=self.directory / f"{life}.log")
        self.callers[life] = child
        self._undo.push_async_callback(child.kill)
        return life

    async def revive_standin(self, region: str) -> None:
        """Starts another stand-in at the addresses of a dead one."""
        self.standins[region] = await StandinProcess.spawn(self.standins[region].config_as_run)

    def leader(self) -> str | None:
        """The controller that leads by its own log; None if none does. The highest epoch wins."""
        leading = {}
        for name in CONTROLLERS:
            if not self.controllers[name].running:
                continue
            for line in self.logs[name].read():
                match line["event"]:
                    case "leads now":
                        leading[name] = int(line["generation"].rsplit(":", 2)[1])
                    case "stands by now" | "starting" | "resigned":
                        leading.pop(name, None)
        return max(leading, key=lambda name: leading[name], default=None)

    def other(self, name: str) -> str:
        """The controller beside this one."""
        return next(other for other in CONTROLLERS if other != name)

    async def stop(self) -> None:
        """Ends everything, the last started first."""
        await self._undo.aclose()
