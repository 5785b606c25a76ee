"""Reports through a controller's HTTP endpoint, for applications that must not reach Kafka.

A bounded buffer and one task: a report that can't be sent while it is worth anything is dropped and counted,
and whoever reports never waits.
"""

import asyncio
import contextlib
import random
from collections import deque

from tieline._http.endpoint import Endpoint, EndpointError
from tieline._process import clock as _clock
from tieline._process.signal import Signal
from tieline.cloudevents import MSGPACK, Poison, encode
from tieline.events import Demand
from tieline.producer import expires_ms

BUFFER_REPORTS_MAX = 120
PAUSE_MIN_S, PAUSE_MAX_S = 0.1, 5.0
PATH = "/v1/reports"


class HttpSink:
    """Takes reports with ``post``; ``dropped`` counts those given up."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.dropped = 0
        self._endpoint = endpoint
        self._buffer: deque[tuple[bytes, int]] = deque()  # a report's body, and when it is worth nothing
        self._unfinished = 0
        self._filled, self._finished = Signal(), Signal()
        self._random = random.Random()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to send. Returns at once."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="tieline reports")

    async def stop(self) -> None:
        """Give up what is left. ``drain`` first."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._endpoint.close()
        while self._buffer:
            self._buffer.popleft()
            self._done(dropped=True)

    def post(self, event: Demand) -> None:
        """Buffer one report; in a full buffer the oldest makes way."""
        try:
            body = encode(event, time_ms=_clock.now_ms(), content_type=MSGPACK).value
        except Poison:
            self.dropped += 1
            return
        if len(self._buffer) >= BUFFER_REPORTS_MAX:
            self._buffer.popleft()
            self._done(dropped=True)
        self._buffer.append((body, expires_ms(event) or 0))
        self._unfinished += 1
        self._filled.announce()

    async def drain(self, timeout_s: float) -> bool:
        """Wait until all was sent or dropped; False when ``timeout_s`` were not enough."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._unfinished:
                    await self._finished.wait()
        return not self._unfinished

    async def _run(self) -> None:
        pause_s = PAUSE_MIN_S
        while True:
            while not self._buffer:
                await self._filled.wait()
            body, expiry_ms = self._buffer[0]
            if _clock.now_ms() >= expiry_ms:
                self._take(body, dropped=True)
                continue
            try:
                await self._endpoint.post(PATH, body, MSGPACK)
            except EndpointError as error:
                if not error.again:
                    self._take(body, dropped=True)
                await asyncio.sleep(max(error.retry_after_s, pause_s * self._random.uniform(0.5, 1.0)))
                pause_s = min(pause_s * 2, PAUSE_MAX_S)
            else:
                self._take(body, dropped=False)
                pause_s = PAUSE_MIN_S

    def _take(self, body: bytes, *, dropped: bool) -> None:
        """The report in hand is done with, unless a full buffer has already let it go."""
        if self._buffer and self._buffer[0][0] is body:
            self._buffer.popleft()
            self._done(dropped=dropped)

    def _done(self, *, dropped: bool) -> None:
        self.dropped += dropped
        self._unfinished -= 1
        self._finished.announce()
