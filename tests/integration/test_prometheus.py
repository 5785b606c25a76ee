"""A real Prometheus scrapes each kind of process, and answers every panel and every
alert."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from aiokafka import AIOKafkaProducer

from controller.process.clock import now_ms
from controller.process.settings import Settings
from lab.stack.server import free_ports
from tests.integration.controllers import ControllerProcess, settings_of
from tests.places import ROOT
from tests.waiting import until
from tieline.cloudevents import encode
from tieline.events import Demand, Flow, Outcomes, PoolObservation
from tieline.keys import MANIFEST_FIELD
from tieline.redis_client import connect
from tieline.table import decode_manifest
from tools import prometheus
from tools.dashboards import DASHBOARDS, PLACE

ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
FAILING, WORKING = "azure/norwayeast/gpt-4o", "azure/swedencentral/gpt-4o"
CLIENTS = 4
EVERY_S = 0.5
NAMES = ("leader", "standby", "web", "prober", "notify")
TARGETS = "targets: [{name: nobody, kind: webhook, url: 'http://127.0.0.1:9/'}]\n"
FAMILY = re.compile(r"tieline_[a-z_0-9]+")
PART = re.compile(r"_(bucket|count|sum|total)$")


class Callers:
    """Four clients of `api` that report each half second; with ``failing`` all their requests fail at one
    pool."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sequence = 0
        self.failing = False
        self.ended = asyncio.Event()

    async def run(self) -> None:
        """Until ``ended`` is set."""
        producer = AIOKafkaProducer(bootstrap_servers=str(self._settings.kafka), acks="all")
        await producer.start()
        try:
            async with connect(self._settings.redis, self._settings.keys) as redis:
                while not self.ended.is_set():
                    manifest: Any = await redis.hget(self._settings.keys.routes, MANIFEST_FIELD)
                    generation = str(decode_manifest(manifest).generation) if manifest else ""
                    await self._report(producer, generation)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self.ended.wait(), EVERY_S)
        finally:
            await producer.stop()

    async def _report(self, producer: AIOKafkaProducer, generation: str) -> None:
        self._sequence += 1
        at_ms = now_ms()
        bad = Outcomes(server_error=30) if self.failing else Outcomes(ok=30)
        pools = (
            PoolObservation(WORKING, Outcomes(ok=30), 300.0),
            PoolObservation(FAILING, bad, 0.0 if self.failing else 300.0),
        )
        for number in range(CLIENTS):
            event = Demand(
                f"app-{number}",
                "one",
                self._sequence,
                window_start_ms=at_ms - 500,
                window_end_ms=at_ms,
                interval_ms=500,
                generation=generation,
                flows=(Flow("api", "eu", requests=60, offered_units=600.0),),
                pools=pools,
            )
            key, value, headers = encode(event, time_ms=at_ms)
            topic = self._settings.topics.demand.name
            await producer.send(topic, value, key=key, headers=headers)


class Watched:
    """What is scraped, by name, and the Prometheus that does it."""

    def __init__(self, ports: dict[str, int], url: str, http: httpx.AsyncClient, callers: Callers) -> None:
        self.ports = ports
        self.callers = callers
        self._url = url
        self._http = http

    async def ask(self, name: str, path: str) -> httpx.Response:
        """One question to a process itself."""
        return await self._http.get(f"http://127.0.0.1:{self.ports[name]}/{path}")

    async def query(self, expr: str) -> list[dict[str, Any]]:
        """The samples that Prometheus answers now."""
        answer = await self._http.get(f"{self._url}/api/v1/query", params={"query": expr})
        if answer.status_code == 503:  # it still starts
            return []
        assert answer.status_code == 200, (expr, answer.text)
        samples: list[dict[str, Any]] = answer.json()["data"]["result"]
        return samples

    async def value(self, expr: str) -> float | None:
        """The only sample, or None; also while Prometheus starts."""
        try:
            samples = await self.query(expr)
        except httpx.TransportError:
            return None
        return float(samples[0]["value"][1]) if len(samples) == 1 else None

    async def until_at_least(self, expr: str, least: float) -> None:
        """Returns once the expression has one sample of at least that value."""

        async def is_so() -> bool:
            value = await self.value(expr)
            return value is not None and value >= least

        await until(is_so, what=f"{expr} >= {least}")

    async def until_ready(self, name: str) -> None:
        """Returns once the process says that it is ready."""

        async def is_ready() -> bool:
            try:
                return (await self.ask(name, "readyz")).status_code == 200
            except httpx.TransportError:
                return False

        await until(is_ready, what=f"{name} is ready")

    async def families(self) -> set[str]:
        """The names of all families that the processes tell, also of those without a sample now."""
        names: set[str] = set()
        for name in NAMES:
            text = (await self.ask(name, "metrics")).text
            names |= {PART.sub("", word) for word in re.findall(r"^# HELP (\S+)", text, re.MULTILINE)}
        return names


def expressions() -> list[str]:
    """Those of all panels and alerts."""
    panels = [
        target["expr"]
        for uid in DASHBOARDS
        for panel in json.loads((PLACE / f"{uid}.json").read_text())["panels"]
        for target in panel.get("targets", ())
    ]
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return panels + [rule["expr"] for group in groups for rule in group["rules"]]


@asynccontextmanager
async def processes(settings: Settings, ports: dict[str, int], directory: Path) -> AsyncIterator[None]:
    """A leader, then a standby, a web, a notifier and a prober of one pool, each with its monitor. They end
    with the context."""
    commands = {
        "leader": ("controller",),
        "standby": ("controller",),
        "web": ("web", "--listen", "127.0.0.1:0"),
        "notify": ("notify", str(directory / "targets.yaml")),
        "prober": ("probe", "--pool", "oci/us-chicago-1/gpt-oss", "--interval-ms", "1000"),
    }
    (directory / "targets.yaml").write_text(TARGETS)
    running: list[ControllerProcess] = []
    secrets = {"TIELINE_CREDENTIAL_OCI": "a-secret-of-the-test"}
    try:
        for name in NAMES:
            command = (*commands[name], "--monitor", f"127.0.0.1:{ports[name]}")
            process = ControllerProcess(settings, directory / f"{name}.log", *command, **secrets)
            running.append(await process.start())
            if name == "leader":
                await process.until_said("decides now")
        yield
    finally:
        for process in running:
            await process.kill()


@pytest.fixture
async def watched(
    kafka_bootstrap: str, redis_url: str, prefix: str, tmp_path: Path
) -> AsyncIterator[Watched]:
    settings = settings_of(kafka_bootstrap, redis_url, prefix)
    *monitors, own_port = free_ports(len(NAMES) + 1)
    ports = dict(zip(NAMES, monitors, strict=True))
    config = tmp_path / "prometheus.yaml"
    targets = [f"127.0.0.1:{port}" for port in ports.values()]
    config.write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(ALERTS)],
                "scrape_configs": [{"job_name": "tieline", "static_configs": [{"targets": targets}]}],
            }
        )
    )
    callers = Callers(settings)
    async with (
        processes(settings, ports, tmp_path),
        prometheus.running(config, tmp_path, own_port) as url,
        httpx.AsyncClient(timeout=60) as http,
    ):
        calling = asyncio.create_task(callers.run())
        yield Watched(ports, url, http, callers)
        callers.ended.set()
        await calling


async def test_prometheus_knows_what_the_processes_tell(watched: Watched) -> None:
    """Each process is alive and ready; the leader tells pools, load, clients and margins; a pool that fails
    is down, and the time from the event to Redis and to the clients is known. Every panel and alert can be
    answered, and uses no name that no process tells."""
    for name in NAMES:
        await watched.until_ready(name)
        assert (await watched.ask(name, "livez")).text == "ok\n"
    for expr, least in (
        ("sum(up)", len(NAMES)),
        ("sum(tieline_leading)", 1),
        ("sum(tieline_fit)", 2),
        ("count(tieline_pool_state)", 10),
        ("sum(tieline_pool_load_units_per_second)", 1),
        ('sum(tieline_clients{behind!="other"})', CLIENTS),
        ("count(tieline_n_minus_1_margin_ratio)", 1),
    ):
        await watched.until_at_least(expr, least)

    watched.callers.failing = True
    await watched.until_at_least(f'tieline_pool_state{{pool="{FAILING}",state="down"}}', 1)
    for stage in ("projected", "applied"):
        await watched.until_at_least(f"sum(tieline_event_to_{stage}_seconds_count)", 1)
    took_s = await watched.value(
        "sum(tieline_event_to_projected_seconds_sum) / sum(tieline_event_to_projected_seconds_count)"
    )
    assert took_s is not None
    assert 0 < took_s < 60

    async def is_unusable() -> bool:
        return await watched.value(f'tieline_pool_usable_units_per_second{{pool="{FAILING}"}}') == 0

    await until(is_unusable, what="the failing pool has no usable capacity")

    families = await watched.families()
    for expr in expressions():
        await watched.query(expr)
        names = {PART.sub("", name) for name in FAMILY.findall(expr)}
        assert names <= families, (expr, names - families)
