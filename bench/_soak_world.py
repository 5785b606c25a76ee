"""Everything at once: Kafka, Valkey, two controllers, prober, collector with hooks, web, notifier, two
calling applications, and those who use them from outside: a status page, a chat that takes notifications,
an application and a browser at the web, a producer that sends what nobody can read, and strangers.

The processes are those of the demo (lab/demo/fleet.py), and what the demo lacks is started beside them.
"""

import asyncio
import contextlib
import json
import os
import sys
import uuid
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
from aiohttp import web

import tieline
from controller.process.clock import now_ms
from lab.children import Child
from lab.demo import trace
from lab.demo.command import demo_plan
from lab.demo.fleet import NAMESPACE, Fleet
from lab.demo.plan import FAST
from lab.stack.server import LOOPBACK, free_ports
from tieline.events import Demand, Flow
from tieline.producer import Producer
from tieline.topics import Topics

REQUESTS_PER_S = 8.0
STRANGERS = 20
DROPPED_STREAMS = 3
SECRET = "soak-secret-of-a-hook"
WORKLOAD, ORIGIN = "chat", "eu"
COLLECTORS = """\
collectors:
  - {{kind: statuspage, name: status-gcp, url: "{page}/summary.json", interval_s: 10, provider: gcp,
     regions: {{Iowa: [us-central1]}}, products: {{Vertex: []}}, addresses: [127.0.0.0/8]}}
webhook:
  listen: 127.0.0.1:{port}
  hooks:
    - {{kind: alertmanager, name: status-azure, secret: {secret}, expires_after_s: 60}}
"""
TARGETS = """\
targets:
  - {{name: chat, kind: webhook, url: "{page}/told", repeat_after_s: 0, per_minute: 100,
     body: {{text: "{{text}}"}}}}
"""


class Installation:
    """``async with Installation.start(directory)``. ``monitors``: name of a process -> its host:port."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._undo = AsyncExitStack()
        self._page_is_ill = False
        self.fleet: Fleet
        self.http: aiohttp.ClientSession
        self.monitors: dict[str, str] = {}
        self._hook = ""
        self._web = ""
        self._producer: Producer
        self._reader: asyncio.Task[None]

    @property
    def children(self) -> dict[str, Child]:
        """Every process of ours by its name."""
        return self.fleet.children

    async def start(self) -> None:
        """Returns when everything runs. Raises ChildError or StackError."""
        self.http = await self._undo.enter_async_context(aiohttp.ClientSession())
        ports = [f"{LOOPBACK}:{port}" for port in free_ports(7)]
        controller, second, collect, notify, site, hook, _ = ports
        self._hook, self._web = f"http://{hook}/v1/hooks/status-azure", f"http://{site}"
        os.environ["TIELINE_MONITOR"] = controller  # the first controller's, as Fleet says
        pace = FAST.__class__(
            requests_per_s=REQUESTS_PER_S,
            load=0.6,
            callers=2,
            thresholds=FAST.thresholds,
            clients=FAST.clients,
        )
        self.fleet = Fleet(demo_plan(pace), self._directory, lambda _words: None)
        self._undo.push_async_callback(self.fleet.stop)
        await self.fleet.start(len(trace.read()))
        self.fleet.controllers.append(
            await self.fleet.start_command("controller-2", "controller", "--monitor", second)
        )
        await self._start_rims(collect, notify, site=site, hook=hook)
        self.monitors = {
            "controller-1": controller,
            "controller-2": second,
            "collect": collect,
            "notify": notify,
        }
        stack = self.fleet.stack
        self._producer = await self._undo.enter_async_context(
            Producer(stack.kafka_bootstrap, prefix=NAMESPACE)
        )
        client = tieline.AsyncClient(
            self._web, workload=WORKLOAD, origin=ORIGIN, namespace=NAMESPACE, client_id="over-http"
        )
        await self._undo.enter_async_context(client)
        self._reader = asyncio.create_task(self._browse())
        self._undo.callback(self._reader.cancel)

    async def _start_rims(self, collect: str, notify: str, *, site: str, hook: str) -> None:
        page = await self._serve_page()
        collectors, targets = self._directory / "collectors.yaml", self._directory / "targets.yaml"
        collectors.write_text(COLLECTORS.format(page=page, port=hook.rpartition(":")[2], secret=SECRET))
        targets.write_text(TARGETS.format(page=page))
        start = self.fleet.start_command
        await start("collect", "collect", str(collectors), "--monitor", collect)
        await start("notify", "notify", str(targets), "--monitor", notify)
        await start("web", "web", "--listen", site, "--monitor", "")

    async def _serve_page(self) -> str:
        """The status page that is collected, and whoever takes notifications."""

        async def summary(_request: web.Request) -> web.Response:
            status = "partial_outage" if self._page_is_ill else "operational"
            component = {"id": "c", "name": "Vertex", "group_id": "g", "status": status}
            group = {"id": "g", "name": "Iowa", "group": True}
            body = {"components": [group, component], "incidents": [], "scheduled_maintenances": []}
            return web.json_response(body)

        async def told(request: web.Request) -> web.Response:
            await request.read()
            return web.Response()

        application = web.Application()
        application.add_routes([web.get("/summary.json", summary), web.post("/told", told)])
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        self._undo.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, LOOPBACK, 0).start()
        return f"http://{LOOPBACK}:{runner.addresses[0][1]}"

    async def _browse(self) -> None:
        """Keeps the live page open, as a browser does: it connects anew when the stream ends."""
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                limit = aiohttp.ClientTimeout(total=None, sock_read=60)
                async with self.http.get(f"{self._web}/live/events", timeout=limit) as answer:
                    async for _ in answer.content.iter_any():
                        pass
            await asyncio.sleep(1)

    async def outsiders(self, cycle: int, *, ill: bool) -> None:
        """What comes with every incident: the page and an alert say so, strangers report demand, somebody
        sends what can't be read, browsers go away without a word, and an operator drains a pool."""
        self._page_is_ill = ill
        await self._alert(ill=ill)
        if ill:
            for number in range(STRANGERS):
                self._producer.post(stranger(cycle, number))
            await self._poison(cycle)
            await self._leave_streams()
            await self._drain()

    async def _alert(self, *, ill: bool) -> None:
        labels = {"alertname": "Slow", "severity": "warning", "provider": "azure", "region": "westus3"}
        alert = {"status": "firing" if ill else "resolved", "labels": labels, "fingerprint": "slow"}
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            await self.http.post(
                self._hook,
                data=json.dumps({"version": "4", "alerts": [{**alert, "annotations": {}}]}),
                headers={"authorization": f"Bearer {SECRET}"},
                timeout=aiohttp.ClientTimeout(total=10),
            )

    async def _poison(self, cycle: int) -> None:
        from aiokafka import AIOKafkaProducer

        async with AIOKafkaProducer(bootstrap_servers=self.fleet.stack.kafka_bootstrap) as producer:
            for topic in (Topics(NAMESPACE).reports, Topics(NAMESPACE).demand):
                await producer.send_and_wait(topic.name, f"no event, {cycle}".encode())

    async def _leave_streams(self) -> None:
        for _ in range(DROPPED_STREAMS):
            host, port = self._web.rpartition("/")[2].split(":")
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET /v1/events?workload=chat HTTP/1.1\r\nhost: soak\r\n\r\n")
            await writer.drain()
            writer.transport.abort()

    async def _drain(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "controller.cli", "drain", "oci/uk-london-1/gpt-oss", "--for", "60s"),
            *("--reason", "soak", "--yes", "--within", "60s"),
            env={**os.environ, **self.fleet.environment},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await process.wait()

    async def stop(self) -> None:
        """Ends everything."""
        await self._undo.aclose()


def stranger(cycle: int, number: int) -> Demand:
    """The only report of a client whose name never comes again."""
    at_ms = now_ms()
    name = f"stranger-{cycle}-{number}-{uuid.uuid4().hex[:8]}"
    flows = (Flow(WORKLOAD, ORIGIN, 1, offered_units=1.0),)
    return Demand(name, "once", 1, window_start_ms=at_ms - 1_000, window_end_ms=at_ms,
                  interval_ms=1_000, flows=flows)  # fmt: skip
