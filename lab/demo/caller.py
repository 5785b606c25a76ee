"""One calling application: ``python -m lab.demo.caller CONFIG``, until SIGTERM.

Replays the trace as real OpenAI-style requests through ``tieline.AsyncClient``, one client for each workload,
and notes every request, attempt, table and state of its own in a JSONL file, or on standard output. An
application that gets half an answer asks again, as applications do: the library never splices two answers. It
repeats nothing else.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from msgspec import Struct

import tieline
from controller.process import clock, telemetry
from controller.process.monitor import Figure, Vitals, monitored, read_address
from lab.demo import trace
from lab.demo.records import AppliedLine, Began, CallerLine, Ended, StatusLine, Tried, encode
from tieline import State

IN_FLIGHT_MAX = 2_000
ASKED_MAX = 5
READY_WITHIN_S = 30.0
FINISH_WITHIN_S = 40.0
STATUS_EVERY_S = 1.0
LATE_MAX_S = 0.5
TURN_MAX_S = 3_600.0
PROMPT_TOKENS_MAX = 4_000
PROMPT = "the tie-line carries "


class Share(Struct, frozen=True):
    """The part of the requests that belongs to one (workload, origin)."""

    workload: str
    origin: str
    share: float
    model: str


class CallerConfig(Struct, frozen=True):
    """``rate_per_s``: mean requests per second. ``token_scale``: of the trace's prompts and answers.
    ``first``: where in the trace to begin, so that callers differ. ``stream_share``: of the requests.
    ``notes``: a file, or ``-``; ``last_good``: directory of the last good tables, else beside the notes.
    ``monitor``: host:port, see ``controller.process.monitor``."""

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


class Notes:
    """Appends lines; each is one write, so that what was noted survives this process."""

    def __init__(self, place: str) -> None:
        if place == "-":
            self._file = open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)  # noqa: SIM115
            return
        path = Path(place)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    def add(self, line: CallerLine) -> None:
        self._file.write(encode(line))

    def close(self) -> None:
        self._file.close()


def spread(shares: Sequence[Share]) -> Iterator[Share]:
    """PURE: shares in an order that keeps every stretch close to the mix: always the one most behind."""
    total = sum(share.share for share in shares)
    owed = [0.0] * len(shares)
    while True:
        for index, share in enumerate(shares):
            owed[index] += share.share / total
        chosen = max(range(len(shares)), key=lambda index: owed[index])
        owed[chosen] -= 1.0
        yield shares[chosen]


class Caller:
    """Sends the requests of one process."""

    def __init__(self, config: CallerConfig) -> None:
        self._config = config
        self._notes = Notes(config.notes)
        self._clients: dict[str, tieline.AsyncClient] = {}
        self._http: dict[str, httpx2.AsyncClient] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._serial = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``; then requests under way get their time to end."""
        async with AsyncExitStack() as undo:
            undo.callback(self._notes.close)
            for workload in sorted({share.workload for share in self._config.shares}):
                await self._open(workload, undo)
            ready = [client.ready(READY_WITHIN_S) for client in self._clients.values()]
            await asyncio.gather(*ready)
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
        client.core.flights.on_begin.append(lambda pool: self._notes.add(Tried(clock.now_ms(), "", pool)))
        self._clients[workload] = await undo.enter_async_context(client)
        self._http[workload] = await undo.enter_async_context(client.http_client(timeout=None))

    def _last_good(self, workload: str) -> Path:
        config = self._config
        if config.last_good:
            return Path(config.last_good) / f"{config.name}.{workload}.last-good"
        return Path(config.notes).with_suffix(f".{workload}.last-good")

    def _vitals(self) -> Vitals:
        """Well: every client follows its source."""
        statuses = {workload: client.status for workload, client in self._clients.items()}
        not_live = [f"{name} is {one.state}" for name, one in statuses.items() if one.state is not State.LIVE]
        under_way = Figure("requests_under_way", "requests without an end yet", {"": len(self._running)})
        return Vitals(", ".join(not_live), (under_way,))

    def _listen(self, workload: str, client: tieline.AsyncClient) -> None:
        def applied(one: tieline.Applied) -> None:
            self._notes.add(AppliedLine(one.at_ms, workload, one.generation, one.urgent))

        client.on_table(applied)
        client.on_status(lambda _: self._note_status(workload))
        self._note_status(workload)

    def _note_status(self, workload: str) -> None:
        status = self._clients[workload].status
        self._notes.add(
            StatusLine(
                clock.now_ms(), workload, status.state.value, status.generation, status.age_ms, status.error
            )
        )

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(STATUS_EVERY_S)
            for workload in self._clients:
                self._note_status(workload)

    async def _replay(self) -> None:
        config = self._config
        requests = trace.read()
        turned = requests[config.first :] or requests
        shifted = [one._replace(offset_s=one.offset_s - turned[0].offset_s) for one in turned]
        own_rate_per_s = len(shifted) / max(shifted[-1].offset_s, 1.0)
        factor = config.rate_per_s / own_rate_per_s
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        shares = spread(config.shares)
        for one in trace.replay(shifted, rate_factor=factor, duration_s=TURN_MAX_S):
            began_s = anchored(began_s, one.offset_s, loop.time())
            await asyncio.sleep(max(0.0, began_s + one.offset_s - loop.time()))
            while len(self._running) >= IN_FLIGHT_MAX:
                await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            task = asyncio.create_task(self._request(one, next(shares)))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _request(self, one: trace.TraceRequest, share: Share) -> None:
        config = self._config
        self._serial += 1
        request_id = f"{config.name}-{self._serial}"
        stream = (self._serial * 0.618033988749895) % 1.0 < config.stream_share
        prompt = min(max(1, round(one.context_tokens * config.token_scale)), PROMPT_TOKENS_MAX)
        answer = max(1, round(one.generated_tokens * config.token_scale))
        began_ms = clock.now_ms()
        self._notes.add(Began(request_id, began_ms, share.workload, share.origin, stream, prompt + answer))
        body = msgspec.json.encode(
            {
                "model": share.model,
                "messages": [{"role": "user", "content": words(prompt)}],
                "max_tokens": answer,
                "stream": stream,
                **({"stream_options": {"include_usage": True}} if stream else {}),
            }
        )
        ended = await self._ask_until_whole(request_id, share, body, began_ms)
        self._notes.add(ended)

    async def _ask_until_whole(self, request_id: str, share: Share, body: bytes, began_ms: int) -> Ended:
        headers = {
            "content-type": "application/json",
            "x-request-id": request_id,
            "x-tieline-origin": share.origin,
            "x-tieline-deadline": f"{self._config.deadline_s:g}",
        }
        why = ""
        for asked in range(1, ASKED_MAX + 1):
            try:
                return await self._ask(request_id, share.workload, headers, body, began_ms, asked)
            except httpx2.TransportError as error:
                why = f"{type(error).__name__}: {error}"[:300]
        return Ended(request_id, clock.now_ms(), "failed", asked=ASKED_MAX, why=why)

    async def _ask(
        self, request_id: str, workload: str, headers: dict[str, str], body: bytes, began_ms: int, asked: int
    ) -> Ended:
        """One asking, to its last byte. Raises TransportError when the answer breaks off."""
        http, url = self._http[workload], f"{self._clients[workload].base_url}/chat/completions"
        first_ms: int | None = None
        async with http.stream("POST", url, headers=headers, content=body) as answer:
            text = b""
            async for block in answer.aiter_raw():
                first_ms = first_ms if first_ms is not None else clock.now_ms() - began_ms
                if answer.status_code != 200 and len(text) < 2_000:
                    text += block
        reason = answer.headers.get("x-tieline-reason", "")
        pool = answer.headers.get("x-tieline-pool", "")
        gave_up = answer.headers.get("x-tieline-gave-up", "")
        shed = reason == tieline.Reason.SHED and not pool
        return Ended(
            id=request_id,
            at_ms=clock.now_ms(),
            outcome="ok" if answer.status_code == 200 else "shed" if shed else "failed",
            status=answer.status_code,
            pool=pool,
            attempts=int(answer.headers.get("x-tieline-attempts", 0)),
            asked=asked,
            took_ms=clock.now_ms() - began_ms,
            first_token_ms=first_ms,
            generation=answer.headers.get("x-tieline-generation", ""),
            why="" if answer.status_code == 200 else _why(f"{reason} {gave_up}".strip(), text),
        )


def anchored(began_s: float, offset_s: float, now_s: float) -> float:
    """PURE: when the replay began, later by what a standstill of this process took: what was due meanwhile
    would else be sent all at once, as no users do, and meet pools that refuse it rightly."""
    late_s = now_s - began_s - offset_s
    return began_s + late_s if late_s > LATE_MAX_S else began_s


def words(tokens: int) -> str:
    """PURE: a prompt of that many tokens, at four characters each."""
    return (PROMPT * (tokens * 4 // len(PROMPT) + 1))[: tokens * 4]


def _why(reason: str, text: bytes) -> str:
    try:
        said: Any = msgspec.json.decode(text)
        return f"{reason}: {said['error']['message']}"[:300] if reason != "no_table" else reason
    except (msgspec.DecodeError, KeyError, TypeError):
        return reason


async def _main(config: CallerConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await Caller(config).run(stop)


def main(arguments: list[str]) -> int:
    """Exit status 0 after SIGTERM."""
    import uvloop

    telemetry.configure()
    config = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=CallerConfig)
    uvloop.run(_main(config))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
