"""Reports through a controller's HTTP endpoint, for applications that must not reach Kafka.

One task sends them, one at a time and in order. A report that can't be sent while it is worth anything is
dropped and counted.
"""

import asyncio

from tieline._http.endpoint import Endpoint, EndpointError
from tieline._process import clock as _clock
from tieline._sending.outbox import Outbox
from tieline.backoff import Backoff
from tieline.cloudevents import MSGPACK, Poison, encode
from tieline.events import Demand, expires_ms

OUTBOX_REPORTS_MAX = 120
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.1, 5.0
PATH = "/v1/reports"


class HttpSink:
    """A ``Sink`` that posts to the endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._outbox: Outbox[bytes] = Outbox(OUTBOX_REPORTS_MAX, _clock.now_ms)
        self._given_up = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def dropped(self) -> int:
        """How many reports were given up."""
        return self._given_up + self._outbox.dropped_full + self._outbox.dropped_expired

    async def start(self) -> None:
        """Begin to send. Returns at once."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="tieline reports")

    async def stop(self) -> None:
        """Stop sending, and give up what has not been sent. Call ``drain`` first."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._endpoint.close()
        self._given_up += self._outbox.drop_all()

    def post(self, event: Demand) -> None:
        """Take one report, to be sent soon."""
        try:
            body = encode(event, time_ms=_clock.now_ms(), content_type=MSGPACK).value
        except Poison:
            self._given_up += 1
            return
        self._outbox.put(body, expires_ms(event))

    async def drain(self, timeout_s: float) -> bool:
        """Wait until everything was sent or dropped; False when ``timeout_s`` were not enough."""
        return await self._outbox.drain(timeout_s)

    async def _run(self) -> None:
        backoff = Backoff(BACKOFF_FIRST_S, BACKOFF_MAX_S)
        while True:
            await self._outbox.wait_filled()
            self._outbox.drop_expired()
            if not len(self._outbox):
                continue
            error = await self._send_next()
            if error is None:
                backoff.reset()
            else:
                await asyncio.sleep(backoff.next_s(at_least_s=error.retry_after_s))

    async def _send_next(self) -> EndpointError | None:
        """Send the oldest report; returns what went wrong. It stays the next one unless it was refused for
        good."""
        report = self._outbox.take()
        try:
            await self._endpoint.post(PATH, report.item, MSGPACK)
        except EndpointError as error:
            if error.again:
                self._outbox.put_back(report)
            else:
                self._given_up += 1
                self._outbox.finish()
            return error
        except BaseException:  # the task is being cancelled: ``stop`` counts the report
            self._outbox.put_back(report)
            raise
        self._outbox.finish()
        return None
