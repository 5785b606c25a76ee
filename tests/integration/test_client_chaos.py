"""One application at 100 requests a second while half of what it uses hangs, then most of it refuses, and the
control plane is gone: nothing is lost, and nobody else is overloaded."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path

import httpx2
import msgspec
import pytest

import tieline
from lab.stack.stack import Stack
from lab.standins import ledger
from lab.standins.config import Latency
from lab.standins.process import StandinProcess
from tests.integration.replicated import create_topics
from tests.integration.routed import MODEL, ORIGIN, SETTINGS, WORKLOAD, infos, publisher, standin, table
from tests.waiting import SAFETY_NET_S, until
from tieline.table import Split
from tieline.topics import Topics

A, B, C, D = "azure/uksouth/gpt", "gcp/europe-west4/gpt", "oci/uk-london-1/gpt", "coreweave/eu-west/gpt"
WEIGHTS = (500_000, 200_000, 150_000, 150_000)
# What the planner would have prepared: the others carry it, and keep a fifth of their capacity free.
LOST = {
    "azure": Split((1, 2, 3), (400_000, 300_000, 300_000)),
    "gcp": Split((0, 2, 3), (500_000, 250_000, 250_000)),
}
RATE_PER_S = 100
TOKENS = 16
CAPACITY = {A: 4_000.0, B: 4_000.0, C: 4_000.0, D: 4_000.0}  # tokens/s; a request takes about 40
LATENCY = Latency(first_token_ms=20, spread=0.1, load_growth=0, token_ms=1)
WINDOW_MS = 2_000


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[dict[str, StandinProcess]]:
    processes: dict[str, StandinProcess] = {}
    try:
        for pool, tokens_per_s in CAPACITY.items():
            provider, region, _ = pool.split("/")
            config = standin(provider, region, tmp_path, tokens_per_s=tokens_per_s, latency=LATENCY)
            processes[pool] = await StandinProcess.spawn(config)
        yield processes
    finally:
        for process in processes.values():
            await process.stop()


class Application:
    """Asks at a steady rate, whatever becomes of what it has asked; half of it streamed."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.results: dict[str, ledger.CallerResult] = {}
        self.failures: list[str] = []
        self.pools: list[str] = []
        self.asked = 0
        self._http = http
        self._asked: set[asyncio.Task[None]] = set()
        self._ids: Iterator[int] = count(1)

    async def run(self, seconds: float, until: Callable[[], bool] = lambda: True) -> None:
        """Ask for so long, and on until the condition holds. Raises TimeoutError after the safety net."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        async with asyncio.timeout(SAFETY_NET_S):
            for number in count():
                await self._reached(began_s + number / RATE_PER_S)
                if number >= seconds * RATE_PER_S and until():
                    break
                task = asyncio.create_task(self._ask(f"chaos-{next(self._ids)}"))
                self._asked.add(task)
                self.asked += 1
                task.add_done_callback(self._asked.discard)

    async def _reached(self, due_s: float) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() < due_s:
            await until(lambda: loop.time() >= due_s, what="the time of the next request")

    async def settle(self) -> None:
        """Until everything asked has ended."""
        await asyncio.gather(*self._asked)

    async def _ask(self, request_id: str) -> None:
        stream = request_id[-1] in "02468"
        messages = [{"role": "user", "content": "Where does it flow, and when will it arrive there?"}]
        body = {"model": MODEL, "messages": messages, "max_tokens": TOKENS, "stream": stream}
        headers = {"x-request-id": request_id, "x-tieline-deadline": "60"}
        try:
            answer = await self._http.post("/chat/completions", json=body, headers=headers)
        except httpx2.TransportError as error:
            self._failed(request_id, None, repr(error))
            return
        whole = answer.status_code == 200 and (not stream or "data: [DONE]" in answer.text)
        self.pools.append(answer.headers.get("x-tieline-pool", ""))
        if whole:
            self.results[request_id] = ledger.CallerResult("ok", 200)
        else:
            self._failed(request_id, answer.status_code, answer.text[:300])

    def _failed(self, request_id: str, status: int | None, text: str) -> None:
        self.results[request_id] = ledger.CallerResult("failed", status)
        self.failures.append(f"{request_id}: {status} {text}")


async def test_nothing_is_lost(
    own_stack: Stack,
    prefix: str,
    tmp_path: Path,
    running: dict[str, StandinProcess],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Half of the weight hangs; then Kafka and Redis stop and 70 % of the weight refuses. Every request is
    answered well within three attempts, the failing pools are left, and by the stand-ins' own logs no other
    pool was ever sent more than it can carry. The client closes without a traceback."""
    settings = msgspec.structs.replace(SETTINGS, first_token_timeout_ms=3_000, idle_timeout_ms=10_000)
    await create_topics(own_stack.kafka_bootstrap, Topics(prefix))
    async with publisher(own_stack.redis_url, prefix) as tables:
        await tables.publish(table(infos(running), WEIGHTS, settings=settings, on_loss=LOST))
        last_good = tmp_path / "routes.bin"
        client = tieline.AsyncClient(
            own_stack.redis_url,
            workload=WORKLOAD,
            origin=ORIGIN,
            namespace=prefix,
            kafka=own_stack.kafka_bootstrap,
            last_good=last_good,
        )
        async with client, client.http_client(base_url=client.base_url, timeout=60) as http:
            assert await client.ready(60), client.status
            application = Application(http)
            await application.run(3)
            await running[A].fault("hang")
            await application.run(6, lambda: left(client) == {A})
            await until(last_good.exists, what="the last good table")
            await own_stack.kafka.kill()
            await own_stack.valkey.kill()
            for pool in (A, B):
                await running[pool].clear()
                await running[pool].fault("refuse")
            await application.run(
                6, lambda: left(client) == {A, B} and client.status.state is tieline.State.STALE
            )
            await application.settle()
        await own_stack.valkey.start()
        await tables.connection.connection_pool.disconnect()
    assert "Exception in callback" not in caplog.text
    lines = [ledger.parse(p.log_path.read_bytes().splitlines(keepends=True)) for p in running.values()]
    seen = ledger.attempts(line for log in lines for line in log)
    assert application.failures == []
    told = ledger.reconcile(application.results, seen)
    assert len(told.succeeded) == len(application.results) == application.asked
    assert (told.lost, told.unproven) == ((), ())
    steps = ledger.capacities(line for log in lines for line in log)
    for pool in (B, C, D):
        fullest = ledger.largest_overload(seen, steps[pool], pool, WINDOW_MS, admitted_only=False)
        assert fullest is not None
        assert fullest.ratio <= 1.0, fullest
    await restarted(last_good)


def left(client: tieline.AsyncClient) -> set[str]:
    """Pools that this process keeps away from."""
    return set(client._core.router.outs())


async def restarted(last_good: Path) -> None:
    """Without any control plane, the application's next life serves by the file of this one."""
    nowhere = "redis://127.0.0.1:1"
    async with tieline.AsyncClient(nowhere, workload=WORKLOAD, origin=ORIGIN, last_good=last_good) as client:
        assert client.status.state is tieline.State.LAST_GOOD
        assert isinstance(client.pick(MODEL), tieline.Route)
