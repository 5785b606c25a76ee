"""A Kubernetes cluster, listed once and then watched: its changes are stated within a second or two.

The protocol is that of Kubernetes' "API Concepts": a list gives a resource version, and a watch from that
version gives one line of JSON for each change. Bookmarks move the version on. A version that the server no
longer has (410 Gone, as a status or as an event) asks for a new list. Each watch ends after ``WATCH_S``, by
the server or here, so that a dead connection is noticed. A failed watch states nothing: what was stated
before runs to its own expiry.
"""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing, suppress
from typing import Any, NamedTuple, Never, TypeAlias

from controller.collect.capacity.kubernetes import Cluster, Kubernetes, Resource
from controller.collect.collector import Collector, Findings, UnreadableError
from controller.collect.feeds.parts import Part, document, text
from controller.collect.fetching import Fetcher, FetchError
from controller.collect.rounds import Rounds, Sender
from controller.process import clock
from controller.process.errors import UserError
from tieline.cancelling import end_all
from tieline.errors import ProducerError

WATCH_S = 60
SETTLE_S = 1.0  # after a change: others come with it, and one event states all of them
AGAIN_AFTER_S = 1.0
INBOX_CHANGES_MAX = 1_000
PAGES_MAX = 200
GONE = 410


class Change(NamedTuple):
    """One line of a watch. ``item`` None: a bookmark."""

    resource: Resource
    version: str
    item: Part | None
    is_deleted: bool


Inbox: TypeAlias = "asyncio.Queue[Change | Exception]"


class WatchRounds(Rounds):
    """The rounds of one Kubernetes collector: a round is a list, and a watch follows it."""

    def __init__(self, collector: Kubernetes, sender: Sender, **more: Any) -> None:
        super().__init__(collector, sender, **more)
        self._kubernetes = collector
        self._cluster = Cluster({}, {}, {})

    async def _read(self, fetcher: Fetcher) -> Findings:
        """All pages of all lists."""
        headers = self._headers()
        cluster = Cluster({}, {}, {})
        for resource in self._kubernetes.resources():
            continuing = ""
            for _ in range(PAGES_MAX):
                request = self._kubernetes.page(resource, continuing)
                body = (await self._fetched(fetcher, request, headers)).body
                # A page of large pods takes a while to read: a thread does it.
                continuing = await asyncio.to_thread(self._kubernetes.take_page, cluster, resource, body)
                if not continuing:
                    break
            else:
                raise UnreadableError(f"the list of {resource} has no end")
        self._cluster = cluster
        return self._kubernetes.findings(cluster, self._stamp())

    async def _after_good_round(self, fetcher: Fetcher, wait_s: float) -> float:  # noqa: ARG002
        """Watches until a new list is needed. Returns how many seconds to wait for it."""
        inbox: Inbox = asyncio.Queue(maxsize=INBOX_CHANGES_MAX)
        tasks = [
            asyncio.create_task(self._watch(fetcher, resource, inbox))
            for resource in self._kubernetes.resources()
        ]
        try:
            await self._follow(inbox)
        except FetchError as error:
            if error.status == GONE:
                self._log.info("the version is gone, so all is listed anew")
                return AGAIN_AFTER_S
            return self._failed(str(error), error.retry_after_s)
        except (UnreadableError, UserError, ProducerError) as error:
            return self._failed(str(error), 0.0)
        finally:
            await end_all(tasks)

    async def _follow(self, inbox: Inbox) -> Never:
        """Takes changes in, and states all soon after one, and at each interval. Raises what ends it."""
        interval_ms = round(self.collector.interval_s * 1_000)
        due_ms = clock.monotonic_ms() + interval_ms
        while True:
            wait_ms = due_ms - clock.monotonic_ms()
            if wait_ms <= 0:
                findings = self._kubernetes.findings(self._cluster, self._stamp())
                await self._send(findings)
                self._succeeded(findings)
                due_ms = clock.monotonic_ms() + interval_ms
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_ms / 1_000):
                    change = await inbox.get()
                if isinstance(change, Exception):
                    raise change
                if change.item is not None:
                    self._kubernetes.take(
                        self._cluster, change.resource, change.item, is_deleted=change.is_deleted
                    )
                    due_ms = min(due_ms, clock.monotonic_ms() + round(SETTLE_S * 1_000))

    async def _watch(self, fetcher: Fetcher, resource: Resource, inbox: Inbox) -> None:
        """Watch after watch, each from the version at which the one before ended; then why it can't go on."""
        version = self._cluster.versions[resource]
        try:
            while True:
                request = self._kubernetes.watch(resource, version, WATCH_S)
                within_s = WATCH_S + self.collector.timeout_s
                lines = fetcher.lines(request, self._headers(), within_s, now_ms=self._now_ms())
                async with aclosing(lines):
                    async for line in lines:
                        change = change_of(resource, line)
                        version = change.version
                        await inbox.put(change)
                await asyncio.sleep(AGAIN_AFTER_S * self._chance())
        except (FetchError, UnreadableError, UserError) as error:
            await inbox.put(error)
        except Exception as error:  # noqa: BLE001  no line, however odd, may end the process
            self._log.exception("a collector has a fault")
            await inbox.put(FetchError(f"unexpected {type(error).__name__}"))


def change_of(resource: Resource, line: bytes) -> Change:
    """What a line of a watch says. Raises ``FetchError`` for the event ERROR, ``UnreadableError`` for what is
    no event."""
    event = document(line)
    item = event.get("object") if isinstance(event, Mapping) else None
    if not isinstance(event, Mapping) or not isinstance(item, Mapping):
        raise UnreadableError("a line of the watch is no event")
    kind = text(event, "type")
    if kind == "ERROR":
        code = item.get("code")
        raise FetchError(f"the watch ended: {text(item, 'message')[:200]}", 0.0, code if code == GONE else 0)
    metadata = item.get("metadata")
    version = text(metadata, "resourceVersion") if isinstance(metadata, Mapping) else ""
    if kind not in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK") or not version:
        raise UnreadableError(f"a line of the watch has the type {kind[:50]!r}, or no version")
    return Change(resource, version, None if kind == "BOOKMARK" else item, is_deleted=kind == "DELETED")


def rounds_of(collector: Collector, sender: Sender, **more: Any) -> Rounds:
    """The rounds of a collector of any kind; ``more`` as for ``Rounds``."""
    if isinstance(collector, Kubernetes):
        return WatchRounds(collector, sender, **more)
    return Rounds(collector, sender, **more)
