"""Every process of a run: stack, stand-ins, controllers, prober, callers; ended in the reverse order."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from itertools import takewhile
from pathlib import Path

import msgspec

from lab.children import Child
from lab.demo import plan as plans
from lab.demo.plan import Plan
from lab.demo.through_envoy import READY_WITHIN_S, EnvoyPlace
from lab.demo.through_gateway import GatewayPlace
from lab.errors import ChildError
from lab.stack.stack import BROKERS, ClusterStack, Stack
from lab.standins.process import StandinProcess

NAMESPACE = "demo"
CALLER_STOP_WITHIN_S = 45.0
STATUS_WITHIN_S = 15.0
PROXIES = ("envoy-files", "envoy", "gateway")
STATUS_COLUMNS = 1_000  # one sentence a line, however long it is


class Fleet:
    """The processes of a run. ``standins``: by provider/region. ``children``: our own processes by their
    names, also those that have ended. ``cluster``: ``sentinel`` or ``cluster`` for servers that outlive the
    loss of one, see ``ClusterStack``. ``through``: ``envoy`` or ``gateway`` for
    applications that send through Envoy or a gateway."""

    def __init__(
        self,
        plan: Plan,
        directory: Path,
        say: Callable[[str], None],
        cluster: str | None = None,
        *,
        through: str | None = None,
    ) -> None:
        self.plan = plan
        self.directory = directory
        self.policy_path = directory / "policy.yaml"
        self.standins: dict[str, StandinProcess] = {}
        self.callers: list[Child] = []
        self._say = say
        self._undo = AsyncExitStack()
        self._cluster = cluster
        self._through = through
        self._proxy: EnvoyPlace | GatewayPlace | None = None
        self._servers: Stack | ClusterStack | None = None
        self.controllers: list[Child] = []
        self.children: dict[str, Child] = {}
        self._controllers_started = 0
        self.controller_module = "controller.cli"  # what controllers run; for what is measured beside it

    @property
    def servers(self) -> Stack | ClusterStack:
        """Kafka and Valkey. Raises ChildError before they were started."""
        if self._servers is None:
            raise ChildError("the stack is not running")
        return self._servers

    @property
    def stack(self) -> Stack:
        """One Kafka and one Valkey. Raises ChildError for a run on clusters."""
        if not isinstance(self.servers, Stack):
            raise ChildError("this run is on clusters, and the drill needs one Kafka and one Valkey")
        return self.servers

    @property
    def cluster_stack(self) -> ClusterStack:
        """Raises ChildError for a run whose servers don't outlive a loss."""
        if not isinstance(self.servers, ClusterStack):
            raise ChildError("this run has one broker and one Valkey")
        return self.servers

    @property
    def controller(self) -> Child:
        """The one that led last, before any leads the first. Raises ChildError while there is none."""
        if not self.controllers:
            raise ChildError("the controller is not running")
        return max(self.controllers, key=_epoch_led)

    @property
    def environment(self) -> dict[str, str]:
        """The settings of our own commands."""
        return {
            "TIELINE_KAFKA": self.servers.kafka_bootstrap,
            "TIELINE_REDIS": self.servers.redis_url,
            "TIELINE_NAMESPACE": NAMESPACE,
            "TIELINE_POLICY": str(self.policy_path),
            "TIELINE_UNSIGNED_DEV_MODE": "1",
            "TIELINE_REPLICATION": str(self.replication),
        }

    @property
    def replication(self) -> int:
        """Replicas of the topics."""
        return BROKERS if self._cluster else 1

    async def start(self, trace_rows: int) -> None:
        """Starts everything, each part after those that it needs. Raises ChildError or StackError."""
        self._say("starting Kafka and Valkey")
        if self._cluster:
            self._servers = await ClusterStack.start(redis=self._cluster, say=self._say)
        else:
            self._servers = await Stack.start(say=self._say)
        self._undo.push_async_callback(self._servers.stop)
        self._say(f"starting stand-ins for {len(self.plan.policy.pools)} pools")
        await self._start_standins()
        urls = {pool: standin.url(pool) for standin in self.standins.values() for pool in standin.ports}
        self.policy_path.write_text(plans.as_yaml(plans.addressed(self.plan.policy, urls)), "utf-8")
        self._say("starting controllers and the prober")
        await self.start_controller()
        if self._cluster:
            await self.start_controller()
        # An address in TIELINE_MONITOR is the controller's: two processes can't listen at it.
        await self.start_command("prober", "probe", "--source", plans.PROBER_SOURCE, "--monitor", "")
        if self._through == "gateway":
            await self._start_gateway()
        elif self._through:
            await self._start_envoy()
        self._say(f"starting {self.plan.pace.callers} calling applications")
        await self._start_callers(trace_rows)

    async def _start_standins(self) -> None:
        configs = plans.standins(
            self.plan,
            log_dir=str(self.directory / "standins"),
            kafka=self.servers.kafka_bootstrap,
            namespace=NAMESPACE,
        )
        results = await asyncio.gather(
            *(StandinProcess.spawn(config) for config in configs), return_exceptions=True
        )
        self._undo.push_async_callback(self._stop_standins)
        for result in results:
            if isinstance(result, StandinProcess):
                self.standins[result.name] = result
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def start_controller(self, tree: Path | None = None) -> None:
        """Starts a controller: the first, another beside it, or one in the place of one that was killed.
        ``tree``: a directory with the code of another version, which it then runs."""
        self._controllers_started += 1
        name = f"controller-{self._controllers_started}"
        # Two processes can't listen at the one address in TIELINE_MONITOR: it is the first controller's.
        elsewhere = ("--monitor", "") if self.controllers else ()
        program = (self.controller_module, "controller", *elsewhere)
        self.controllers.append(await self._start_program(name, *program, tree=tree))

    async def kill_controller(self) -> None:
        """SIGKILL of the one that leads. Returns when the process is gone."""
        controller = self.controller
        self.controllers.remove(controller)
        await controller.kill()

    async def stop_controller(self) -> int:
        """SIGTERM to the one that leads. Returns its exit status."""
        controller = self.controller
        self.controllers.remove(controller)
        return await controller.stop()

    async def _start_envoy(self) -> None:
        self._say("starting Envoy, and what writes its files")
        routes = [f"{share.workload}/{share.origin}" for share in plans.shares(self.plan.policy)]
        place = self._proxy = EnvoyPlace(self.directory / "envoy", routes)
        writer = await self.start_command("envoy-files", *place.arguments)
        await writer.until_ready(place.is_written, READY_WITHIN_S)
        child = await Child.start("envoy", place.command, log=self.directory / "envoy.log")
        self._undo.push_async_callback(child.stop)
        self.children["envoy"] = child
        await child.until_ready(place.is_live, READY_WITHIN_S)

    async def _start_gateway(self) -> None:
        self._say("starting the gateway")
        routes = [(share.workload, share.origin) for share in plans.shares(self.plan.policy)]
        place = self._proxy = GatewayPlace(self.directory / "gateway.yaml", routes)
        child = await self.start_command("gateway", *place.arguments)
        await child.until_ready(place.is_ready, READY_WITHIN_S)

    async def _start_callers(self, trace_rows: int) -> None:
        configs = plans.callers(
            self.plan,
            trace_rows,
            redis=self.servers.redis_url,
            kafka=self.servers.kafka_bootstrap,
            namespace=NAMESPACE,
            directory=str(self.directory),
            through=self._proxy.url if self._proxy is not None else "",
        )
        for config in configs:
            path = self.directory / f"{config.name}.json"
            path.write_bytes(msgspec.json.encode(config))
            self.callers.append(await self._start_program(config.name, "lab.demo.caller", str(path)))

    async def start_command(self, name: str, *arguments: str, tree: Path | None = None) -> Child:
        """Starts a subcommand of `tieline`, which is ended with the others."""
        return await self._start_program(name, "controller.cli", *arguments, tree=tree)

    async def _start_program(
        self, name: str, module: str, *arguments: str, tree: Path | None = None
    ) -> Child:
        # Python looks for a module in the directory that it runs in before any other place.
        elsewhere = {} if tree is None else {"PYTHONPATH": str(tree / "client")}
        child = await Child.start(
            name,
            [sys.executable, "-m", module, *arguments],
            log=self.directory / f"{name}.log",
            directory=tree,
            environment={**self.environment, **elsewhere},
        )
        self._undo.push_async_callback(child.stop)
        self.children[name] = child
        return child

    async def status_head(self) -> list[str]:
        """What `tieline status` says above its tables now, or why it could not be asked."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "controller.cli", "status"),
            env={**os.environ, **self.environment, "COLUMNS": str(STATUS_COLUMNS)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            text, _ = await asyncio.wait_for(process.communicate(), STATUS_WITHIN_S)
        except TimeoutError:
            process.kill()
            await process.wait()
            return [f"tieline status took more than {STATUS_WITHIN_S:g} s"]
        lines = (line.rstrip() for line in text.decode("utf-8", "replace").splitlines())
        return list(takewhile(lambda line: line not in ("orders in force", "providers"), lines))

    def proxy_lines(self, request_ids: Collection[str]) -> list[str]:
        """What Envoy wrote about these requests and their attempts; nothing without Envoy."""
        return self._proxy.log_lines(request_ids) if isinstance(self._proxy, EnvoyPlace) else []

    def require_running(self) -> None:
        """Raises ChildError when a part has ended by itself."""
        proxies = [self.children[name] for name in PROXIES if name in self.children]
        for child in (*self.callers, *self.controllers, *proxies):
            if not child.running:
                raise ChildError(f"{child.name} ended by itself: {child.last_words()}")

    async def revive(self, region: str) -> None:
        """Starts another stand-in on the ports of a dead one, with the same log."""
        self.standins[region] = await StandinProcess.spawn(self.standins[region].config_as_run)

    async def stop_callers(self) -> None:
        """Stops sending; requests under way may end."""
        await asyncio.gather(*(caller.stop(CALLER_STOP_WITHIN_S) for caller in self.callers))

    async def _stop_standins(self) -> None:
        await asyncio.gather(*(standin.stop() for standin in self.standins.values()))

    async def stop(self) -> None:
        """Ends everything that still runs, the last started first."""
        await self._undo.aclose()


def _epoch_led(controller: Child) -> int:
    """The last epoch that a controller has led in, by its log; -1 for none."""
    lines = controller.log.read_text("utf-8", "replace").splitlines()
    generations = [json.loads(line)["generation"] for line in lines if '"leads now"' in line]
    return int(generations[-1].split(":")[1]) if generations else -1
