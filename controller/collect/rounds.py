"""One collector, round after round: fetch, read, send; and how well that goes.

A round that fails sends nothing and is tried again with growing waits. The other collectors do not notice.
"""

import asyncio
import os
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import structlog

from controller.collect.collector import (
    Collected,
    Collector,
    Findings,
    Page,
    Request,
    Stamp,
    UnreadableError,
)
from controller.collect.fetching import FILE, Fetcher, FetchError, is_same_place
from controller.collect.identities import IdentityHeaders
from controller.process import clock
from controller.process.errors import UserError
from controller.process.secret_places import read_secret
from tieline.backoff import Backoff
from tieline.cancelling import whole
from tieline.errors import ProducerError, RefusedError

RETRY_LONGEST_S = 300.0  # pages are slow during outages: a longer wait would miss what they say
START_SPREAD_S = 5.0
AT_ONCE = 8  # requests of one collector
PAGES_MAX = 50  # of one answer
NAMES_LOGGED_MAX = 1_000  # a feed that invents names must not fill the memory


class Sender(Protocol):
    """Where events go; ``tieline.Producer`` is one."""

    @property
    def incarnation(self) -> str:
        """A random name of this process."""
        ...

    async def send(self, event: Collected) -> object:
        """Returns once the event is safe in Kafka. Raises ``ProducerError``."""
        ...


class Rounds:
    """The rounds of one collector.

    ``trouble``: why the last round failed, empty if it did not. ``succeeded_ms``: when the last good round
    ended by the monotonic clock, None before the first. Counts are since the start: rounds that failed,
    events that Kafka has, names that the settings map to nothing, and parts that could not be read.
    """

    def __init__(
        self,
        collector: Collector,
        sender: Sender,
        *,
        environment: Mapping[str, str] = os.environ,
        now_ms: Callable[[], int] = clock.now_ms,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.collector = collector
        self._sender = sender
        self._environment = environment
        self._now_ms = now_ms
        self._chance = chance
        longest_s = max(collector.interval_s, RETRY_LONGEST_S)
        self._backoff = Backoff(collector.interval_s, longest_s, chance=chance)
        self._sequence = 0
        self._identity = IdentityHeaders(collector.identity, now_ms)
        self._memory: object = None
        self._names: set[str] = set()
        self._silent: frozenset[str] = frozenset()
        self.trouble = ""
        self.succeeded_ms: int | None = None
        self.failures = 0
        self.events = 0
        self.unmatched = 0
        self.unread = 0
        self._log = structlog.get_logger("collect").bind(collector=collector.name)

    async def run(self) -> None:
        """Rounds until cancelled. The first begins within ``START_SPREAD_S``, at random."""
        fetcher = Fetcher(self.collector)
        try:
            wait_s = min(START_SPREAD_S, self.collector.interval_s) * self._chance()
            while True:
                await asyncio.sleep(wait_s)
                wait_s = await self.round(fetcher)
                if not self.trouble:
                    wait_s = await self._after_good_round(fetcher, wait_s)
        finally:
            await whole(fetcher.close())

    async def round(self, fetcher: Fetcher) -> float:
        """One round. Returns how many seconds to wait for the next."""
        try:
            findings = await self._read(fetcher)
            await self._send(findings)
        except (FetchError, UnreadableError, ProducerError, UserError) as error:
            return self._failed(str(error), getattr(error, "retry_after_s", 0.0))
        except Exception as error:  # noqa: BLE001  no body, however odd, may end the process
            self._log.exception("a collector has a fault")
            return self._failed(f"unexpected {type(error).__name__}", 0.0)
        return self._succeeded(findings)

    async def _after_good_round(self, fetcher: Fetcher, wait_s: float) -> float:  # noqa: ARG002 (see watching)
        """What is done before the wait for the next round. Returns how many seconds to wait."""
        return wait_s

    async def _send(self, findings: Findings) -> None:
        """Sends every event. One that the policy does not take keeps none of the others from being sent; the
        first such error is raised behind them."""
        refusal: RefusedError | None = None
        for event in findings.events:
            try:
                await self._sender.send(event)
                self.events += 1
            except RefusedError as error:
                refusal = refusal or error
        if refusal is not None:
            raise refusal

    async def _read(self, fetcher: Fetcher) -> Findings:
        headers = self._headers()
        requests = self.collector.requests()
        if self.collector.partial:
            bodies = await self._those_that_answer(fetcher, requests, headers)
        else:
            bodies = [body for request in requests for body in await self._pages(fetcher, request, headers)]
        # A large body takes a second to read: a thread does it, so that the monitor goes on answering.
        return await asyncio.to_thread(self.collector.read, tuple(bodies), self._stamp())

    async def _pages(self, fetcher: Fetcher, request: Request, headers: Mapping[str, str]) -> list[bytes]:
        """The bodies of all pages of an answer, together no larger than one may be. Secrets go to the place
        of the first page only."""
        following = self.collector.request_at(request, self._now_ms())
        bodies: list[bytes] = []
        while len(bodies) < PAGES_MAX:
            page = await self._fetched(fetcher, following, headers)
            bodies.append(page.body)
            if sum(map(len, bodies)) > self.collector.body_max_bytes:
                raise UnreadableError(f"the pages have more than {self.collector.body_max_bytes} bytes")
            url = self.collector.next_page(following.url, page)
            if not url or following.url.startswith(FILE):
                return bodies
            if not is_same_place(url, request.url):
                raise UnreadableError("the next page of the answer is said to be at another host")
            following = following._replace(url=url)
        raise UnreadableError(f"the answer has more than {PAGES_MAX} pages")

    async def _fetched(self, fetcher: Fetcher, request: Request, headers: Mapping[str, str]) -> Page:
        own = await asyncio.to_thread(self._identity.of, request.url) if self.collector.identity else {}
        return await fetcher.fetch(request, {**headers, **own}, self._now_ms())

    def _stamp(self) -> Stamp:
        self._sequence += 1
        return Stamp(
            self.collector.name,
            self._sender.incarnation,
            sequence=self._sequence,
            now_ms=self._now_ms(),
            memory=self._memory,
        )

    async def _those_that_answer(
        self, fetcher: Fetcher, requests: Sequence[Request], headers: Mapping[str, str]
    ) -> list[bytes]:
        """The bodies, with an empty one for each request that failed. Raises if all of them did."""
        room = asyncio.Semaphore(AT_ONCE)
        troubles: dict[str, FetchError | UnreadableError] = {}

        async def body_of(request: Request) -> bytes:
            async with room:
                try:
                    return (await self._fetched(fetcher, request, headers)).body
                except (FetchError, UnreadableError) as error:
                    troubles[request.url] = error
                    return b""

        bodies = await asyncio.gather(*(body_of(request) for request in requests))
        if len(troubles) == len(requests):
            raise next(iter(troubles.values()))
        self.unread += len(troubles)
        self._note_silent(troubles)
        return bodies

    def _note_silent(self, troubles: Mapping[str, Exception]) -> None:
        silent = frozenset(troubles)
        for url in sorted(silent - self._silent)[:AT_ONCE]:
            self._log.warning(
                "one of several can't be read, and is taken as silent", url=url, why=str(troubles[url])
            )
        self._silent = silent

    def _headers(self) -> dict[str, str]:
        collector = self.collector
        headers = {
            name: read_secret(value, self._environment, f"{collector.name}: headers.{name}")
            for name, value in collector.headers.items()
        }
        place = f"{collector.name}: authorization"
        if authorization := read_secret(collector.authorization, self._environment, place):
            headers["Authorization"] = authorization
        if bearer := read_secret(collector.bearer, self._environment, f"{collector.name}: bearer"):
            headers["Authorization"] = f"Bearer {bearer}"
        return headers

    def _succeeded(self, findings: Findings) -> float:
        if self.trouble:
            self._log.info("read again")
        self.trouble = ""
        self.succeeded_ms = clock.monotonic_ms()
        self._memory = findings.memory
        self.unread += findings.unread
        self._note_unmatched(findings.unmatched)
        self._backoff.reset()
        spread = self.collector.jitter * (2 * self._chance() - 1)
        return self.collector.interval_s * (1 + spread)

    def _failed(self, why: str, retry_after_s: float) -> float:
        if why != self.trouble:
            self._log.warning("can't be read, and states nothing", why=why)
        self.trouble = why
        self.failures += 1
        return self._backoff.next_s(at_least_s=retry_after_s)

    def _note_unmatched(self, names: frozenset[str]) -> None:
        self.unmatched += len(names)
        for name in sorted(names - self._names):
            if len(self._names) < NAMES_LOGGED_MAX:
                self._names.add(name)
                self._log.warning("the feed names something that the settings do not map", name=name[:200])
