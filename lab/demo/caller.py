"""One calling application: ``python -m lab.demo.caller CONFIG``, until SIGTERM.

Replays the trace as real OpenAI-style requests through ``tieline.AsyncClient``, one client for each workload.
It notes every request, attempt, table and client status as JSON lines in a file or on standard output.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import msgspec
from msgspec import Struct

import tieline
from controller.process import clock, telemetry
from controller.process.monitor import Vitals, monitored, single
from controller.process.settings import read_address
from controller.process.supervise import end_on_signals
from lab.demo import trace
from lab.demo.pacing import Share, anchored, in_proportion, is_streamed, prompt
from lab.demo.records import CallerNote, ClientStatus, PoolAttempt, RequestStart, TableApplied, encode
from lab.demo.request import OutgoingRequest, send_until_whole

IN_FLIGHT_MAX = 2_000
READY_WITHIN_S = 30.0
FINISH_WITHIN_S = 40.0
STATUS_EVERY_S = 1.0
REPLAY_MAX_S = 86_400.0
PROMPT_TOKENS_MAX = 4_000
UNLIMITED = httpx2.Limits(max_connections=None, max_keepalive_connections=None)


class CallerConfig(Struct, frozen=True):
    """``rate_per_s``: mean requests/s. ``token_scale``: factor on the trace's prompts and answers.

    ``first``: the row of the trace to begin with, so that callers differ. ``stream_share``: of the requests.
    ``notes``: a file, or ``-`` for standard output. ``last_good``: the directory of the last good tables,
    default: beside the notes. ``monitor``: host:port, see ``controller.process.monitor``. ``request_ids``:
    what the ids of its requests begin with, default: the name. ``through``: the base URL of a proxy that
    routes the requests; then no client of the library is made, and none notes anything.
    """

    name: str
    redis: str
    kafka: str
    namespace: str
    notes: str
    shares: tuple[Share, ...]
    rate_per_s: float
    token_scale: float
    first: int = 0
    stream_share: float = 0.5
    deadline_s: float = 30.0
    last_good: str = ""
    monitor: str = ""
    request_ids: str = ""
    through: str = ""


class NoteFile:
    """Appends notes. Each is one unbuffered write, so it survives the death of this process."""

    def __init__(self, place: str) -> None:
        if place == "-":
            self._file = open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)  # noqa: SIM115
            return
        path = Path(place)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    def add(self, note: CallerNote) -> None:
        """Appends one line."""
        self._file.write(encode(note))

    def close(self) -> None:
        """Closes the file, but never standard output."""
        self._file.close()


class Caller:
    """Sends the requests of one process."""

    def __init__(self, config: CallerConfig) -> None:
        self._config = config
        self._notes = NoteFile(config.notes)
        self._clients: dict[str, tieline.AsyncClient] = {}
        self._http: dict[str, httpx2.AsyncClient] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._serial = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Sends until ``stop`` is set; requests under way then get up to 40 s to end."""
        async with AsyncExitStack() as undo:
            undo.callback(self._notes.close)
            for workload in sorted({share.workload for share in self._config.shares}):
                await self._open(workload, undo)
            await asyncio.gather(*(client.ready(READY_WITHIN_S) for client in self._clients.values()))
            for workload, client in self._clients.items():
                self._listen(workload, client)
            address = read_address(self._config.monitor)
            await undo.enter_async_context(monitored(address, self._vitals))
            watching = asyncio.create_task(self._watch())
            replaying = asyncio.create_task(self._replay())
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({replaying, stopping, watching}, return_when=asyncio.FIRST_COMPLETED)
            for task in (replaying, stopping):
                task.cancel()
            if self._running:
                await asyncio.wait(self._running, timeout=FINISH_WITHIN_S)
            watching.cancel()
            await asyncio.gather(replaying, stopping, watching, return_exceptions=True)

    async def _open(self, workload: str, undo: AsyncExitStack) -> None:
        config = self._config
        if config.through:
            own_headers = {"x-tieline-workload": workload}
            http = httpx2.AsyncClient(
                timeout=None, base_url=config.through, headers=own_headers, limits=UNLIMITED
            )
            self._http[workload] = await undo.enter_async_context(http)
            return
        origins = list(dict.fromkeys(s.origin for s in config.shares if s.workload == workload))
        client = tieline.AsyncClient(
            config.redis,
            workload=workload,
            origin=origins[0],
            origins=origins[1:],
            namespace=config.namespace,
            kafka=config.kafka,
            last_good=self._last_good(workload),
            client_id=f"{config.name}-{workload}",
        )
        client.core.flights.on_begin.append(lambda pool: self._notes.add(PoolAttempt(clock.now_ms(), pool)))
        self._clients[workload] = await undo.enter_async_context(client)
        self._http[workload] = await undo.enter_async_context(client.http_client(timeout=None))

    def _last_good(self, workload: str) -> Path:
        config = self._config
        if config.last_good:
            return Path(config.last_good) / f"{config.name}.{workload}.last-good"
        return Path(config.notes).with_suffix(f".{workload}.last-good")

    def _vitals(self) -> Vitals:
        """The application is well while every client follows the source of its tables."""
        states = {workload: client.status.state for workload, client in self._clients.items()}
        complaints = [
            f"{name} is {state}" for name, state in states.items() if state is not tieline.State.LIVE
        ]
        under_way = single("requests_under_way", "Requests without an end yet", len(self._running))
        return Vitals(", ".join(complaints), (under_way,))

    def _listen(self, workload: str, client: tieline.AsyncClient) -> None:
        def on_table(table: tieline.Applied) -> None:
            self._notes.add(
                TableApplied(table.at_ms, workload, generation=table.generation, urgent=table.urgent)
            )

        client.on_table(on_table)
        client.on_status(lambda _: self._note_status(workload))
        self._note_status(workload)

    def _note_status(self, workload: str) -> None:
        status = self._clients[workload].status
        self._notes.add(
            ClientStatus(
                clock.now_ms(),
                workload,
                status.state.value,
                generation=status.generation,
                age_ms=status.age_ms,
                error=status.error,
            )
        )

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(STATUS_EVERY_S)
            for workload in self._clients:
                self._note_status(workload)

    async def _replay(self) -> None:
        """Starts a task for every request of the trace when it is due."""
        config = self._config
        rows = trace.begin_at(trace.read(), config.first)
        rate_factor = config.rate_per_s / trace.rate_per_s(rows)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        shares = in_proportion(config.shares)
        for row in trace.replay(rows, rate_factor=rate_factor, duration_s=REPLAY_MAX_S):
            began_s = anchored(began_s, row.offset_s, loop.time())
            await asyncio.sleep(max(0.0, began_s + row.offset_s - loop.time()))
            while len(self._running) >= IN_FLIGHT_MAX:
                await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            task = asyncio.create_task(self._request(row, next(shares)))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _request(self, row: trace.TraceRequest, share: Share) -> None:
        config = self._config
        self._serial += 1
        stream = is_streamed(self._serial, config.stream_share)
        prompt_tokens = min(max(1, round(row.context_tokens * config.token_scale)), PROMPT_TOKENS_MAX)
        answer_tokens = max(1, round(row.generated_tokens * config.token_scale))
        body = msgspec.json.encode(
            {
                "model": share.model,
                "messages": [{"role": "user", "content": prompt(prompt_tokens)}],
                "max_tokens": answer_tokens,
                "stream": stream,
                **({"stream_options": {"include_usage": True}} if stream else {}),
            }
        )
        start = RequestStart(
            f"{config.request_ids or config.name}-{self._serial}",
            clock.now_ms(),
            share.workload,
            origin=share.origin,
            stream=stream,
            tokens=prompt_tokens + answer_tokens,
        )
        self._notes.add(start)
        base_url = config.through or self._clients[share.workload].base_url
        url = f"{base_url}/chat/completions"
        request = OutgoingRequest(start, url, body, deadline_s=config.deadline_s)
        self._notes.add(await send_until_whole(self._http[share.workload], request))


async def _main(config: CallerConfig) -> None:
    await Caller(config).run(end_on_signals())


def main(arguments: list[str]) -> int:
    """Exit status 0 after SIGTERM."""
    import uvloop

    telemetry.configure()
    config = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=CallerConfig)
    uvloop.run(_main(config))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
