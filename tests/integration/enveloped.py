"""The real Envoy over stand-ins, with the parts of `tieline envoy` in the test's own process."""

import asyncio
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

import tieline
from controller.envoy.bootstrap import BOOTSTRAP, Front, Listening, PollPlace, bootstrap, outcomes_url
from controller.envoy.collector import OutcomeCollector
from controller.envoy.directory import ResourceDirectory
from controller.envoy.follower import EnvoyFollower, Shelf
from controller.envoy.plan import RouteName
from controller.envoy.pools import Places
from controller.envoy.receiver import receiving
from controller.envoy.serving import Serving, served
from controller.process.listening import Listen
from controller.web.admission import TOKENS, Tokens
from lab.children import Child
from lab.stack.server import LOOPBACK, free_ports
from tests.integration.certificates import certificate
from tests.integration.routed import MODEL, ORIGIN, WORKLOAD, Reports
from tests.waiting import until
from tieline._tables.last_good import write_last_good
from tieline.cancelling import end_all
from tieline.proxying import Proxied
from tieline.table import RouteTable, slices
from tools.toolchains import envoy

ROUTE = RouteName(WORKLOAD, ORIGIN)
WORKERS = 1
TOKEN = "a-token-of-this-envoy"
READY_WITHIN_S = 120.0


@dataclass
class EnvoyRun:
    """One Envoy. ``directory``: of its files. ``front``: where it listens. ``serving``: where it asks for its
    resources; None for files."""

    front: Front
    directory: Path
    serving: Serving | None = None
    authorities: str = "/etc/ssl/certs/ca-certificates.crt"
    child: Child | None = None
    reports: Reports = field(default_factory=Reports)

    @property
    def url(self) -> str:
        """The base URL for callers."""
        return f"http://{LOOPBACK}:{self.front.listen.port}/v1"

    @property
    def admin(self) -> str:
        """The admin page."""
        return f"http://{LOOPBACK}:{self.front.admin.port}"

    @property
    def table_file(self) -> Path:
        """Where the table lies."""
        return self.directory / "table"

    def publish(self, wanted: RouteTable) -> None:
        """A newer table."""
        parts = {ORIGIN: slices(wanted)[f"{WORKLOAD}/{ORIGIN}"]}
        write_last_good(self.table_file, wanted.generation, parts)

    def places(self) -> Places:
        """As `tieline envoy --credentials` has them."""
        return Places(
            self.directory,
            self.directory / "credentials",
            authorities=self.authorities,
            outcomes_url=outcomes_url(self.front.outcomes),
            is_served=self.serving is not None,
        )

    async def start(self) -> None:
        """The real Envoy; returns when it is live. Its files must be there."""
        program = await asyncio.to_thread(envoy)
        command = (str(program), "-c", str(self.directory / BOOTSTRAP), "--concurrency", str(WORKERS))
        self.child = await Child.start(
            "envoy",
            [*command, "--use-dynamic-base-id", "-l", "warning", "--drain-time-s", "1"],
            log=self.directory / "envoy.log",
        )
        await self.child.until_ready(lambda: asyncio.to_thread(self._is_live), READY_WITHIN_S)

    def _is_live(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.admin}/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def reported(self, name: str) -> Counter[str]:
        """Pool -> attempts of one result class, by the reports so far."""
        counts: Counter[str] = Counter()
        for report in self.reports.kept:
            for row in report.pools:
                counts[row.pool] += getattr(row.outcomes, name)
        return counts


def new_run(directory: Path) -> EnvoyRun:
    """An Envoy that has not started, on ports that are free now."""
    listen, admin, outcomes = (Listening(LOOPBACK, port) for port in free_ports(3))
    return _prepared(EnvoyRun(Front(listen, admin, outcomes, default=ROUTE), directory))


def new_served_run(directory: Path, token: str = TOKEN) -> EnvoyRun:
    """One that asks for its resources over TLS, with this token."""
    listen, admin, outcomes, polls = (Listening(LOOPBACK, port) for port in free_ports(4))
    directory.mkdir(parents=True)
    file = certificate(directory, "tieline")
    shown = directory / "token"
    shown.write_text(token)
    discovery = PollPlace(polls, is_tls=True, token_file=str(shown))
    front = Front(listen, admin, outcomes, default=ROUTE, discovery=discovery)
    serving = Serving(Listen(polls.host, polls.port, file, key=file), Tokens(None, {TOKENS: TOKEN}))
    return _prepared(EnvoyRun(front, directory, serving=serving, authorities=str(file)))


def _prepared(run: EnvoyRun) -> EnvoyRun:
    directory = run.directory
    (directory / "credentials").mkdir(parents=True, exist_ok=True)
    (directory / BOOTSTRAP).write_bytes(bootstrap(run.front, run.places()))
    return run


@asynccontextmanager
async def _shelf(run: EnvoyRun) -> AsyncIterator[Shelf]:
    if run.serving is None:
        yield ResourceDirectory(run.directory)
        return
    async with served(run.serving) as polled:
        yield polled


@asynccontextmanager
async def following(run: EnvoyRun) -> AsyncIterator[EnvoyFollower]:
    """`tieline envoy` in this process, with a file in Redis's place, until the context ends."""
    client = tieline.AsyncClient(run.table_file, workload=WORKLOAD, origin=ORIGIN, kafka=run.reports)
    async with client, _shelf(run) as shelf:
        proxied = {WORKLOAD: Proxied(client)}
        follower = EnvoyFollower((ROUTE,), proxied, run.places(), shelf=shelf)
        collector = OutcomeCollector(proxied)

        def take(message: bytes) -> None:
            collector.take(message)
            follower.wake()

        client.on_table(lambda _: follower.wake())
        async with receiving(run.front.outcomes, take):
            task = asyncio.create_task(follower.run())
            try:
                yield follower
            finally:
                await end_all([task])
    assert (collector.refused, collector.strange) == (0, 0)


async def ask(http: httpx2.AsyncClient, run: EnvoyRun, **more: Any) -> httpx2.Response:
    """One small chat completion."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Where?"}], "max_tokens": 4, **more}
    return await http.post(f"{run.url}/chat/completions", json=body, timeout=60.0)


async def ask_often(run: EnvoyRun, count: int, at_a_time: int = 8) -> Counter[str]:
    """Many of them; how many each pool answered, or by status those that none did."""
    counts: Counter[str] = Counter()
    numbers = iter(range(count))

    async def keep_asking(http: httpx2.AsyncClient) -> None:
        for _ in numbers:
            answer = await ask(http, run)
            counts[
                answer.headers["x-tieline-pool"] if answer.status_code == 200 else str(answer.status_code)
            ] += 1

    async with httpx2.AsyncClient() as http:
        await asyncio.gather(*(keep_asking(http) for _ in range(at_a_time)))
    return counts


async def until_only(run: EnvoyRun, allowed: Mapping[str, object]) -> None:
    """Wait until ten requests in a row go to these pools alone."""

    async def settled() -> bool:
        return set(await ask_often(run, 10, at_a_time=2)) <= set(allowed)

    await until(settled, what=f"nothing but {', '.join(allowed)}")
