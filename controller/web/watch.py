"""Draws the live page's picture while somebody looks at it, from what Kafka and Redis hold.

Nothing is followed while nobody looks, so that an endpoint that only serves tables costs no more than before.
A picture is made of each finding (``controller/status/following.py``). Making it is work for a thread, so
that tables and reports are served meanwhile.
"""

import asyncio

from controller.history.entries import Entry
from controller.process.clock import monotonic_ms, now_ms
from controller.process.settings import Settings
from controller.status.following import READING_ERRORS, Findings, Following, in_words
from controller.status.gather import status_of
from controller.status.live import Moment, snapshot_of
from controller.status.outlook import Outlook, outlook_of
from controller.web.live import Sections, View, sections_of
from controller.web.picture import Picture
from streams.store import Contents
from tieline.backoff import Backoff

OUTLOOK_EVERY_MS = 5_000
LINGER_MS = 30_000  # what was followed is followed on for so long after the last reader left
RETRY_FIRST_S = 0.5
RETRY_LONGEST_S = 5.0


class Watch:
    """Keeps a picture at what Kafka and Redis hold, while somebody looks at it."""

    def __init__(self, settings: Settings, picture: Picture) -> None:
        self._settings = settings
        self._picture = picture
        self._outlook: Outlook | None = None
        self._outlook_due_ms = 0
        self._at_work: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Draws until cancelled."""
        backoff = Backoff(RETRY_FIRST_S, RETRY_LONGEST_S)
        while True:
            await self._picture.wanted()
            try:
                await self._draw_while_looked_at(backoff)
            except READING_ERRORS as error:
                self._picture.fail(in_words(error))
                await asyncio.sleep(backoff.next_s())

    async def _draw_while_looked_at(self, backoff: Backoff) -> None:
        """Returns when nobody has looked for a while, or to try Kafka again where it could not be read."""
        left_ms: int | None = None
        async with Following(self._settings, with_history=True) as following:
            try:
                async for findings in following.findings():
                    await self._draw(findings, following.entries)
                    if findings.kafka is not None:
                        backoff.reset()
                    left_ms = None if self._picture.readers else left_ms or monotonic_ms()
                    if left_ms is not None and monotonic_ms() - left_ms >= LINGER_MS:
                        return
            finally:
                await self._end_work()

    async def _draw(self, findings: Findings, entries: tuple[Entry, ...]) -> None:
        sections, moment = await asyncio.to_thread(_drawn, findings, outlook=self._outlook, entries=entries)
        self._picture.show(sections, now_ms(), moment)
        self._renew_outlook(moment)

    def _renew_outlook(self, moment: Moment | None) -> None:
        """Begins to work it out anew if that is due, beside the pictures, which never wait for it."""
        at_work = self._at_work is not None and not self._at_work.done()
        if moment is not None and not at_work and monotonic_ms() >= self._outlook_due_ms:
            self._at_work = asyncio.create_task(self._work_out(moment))

    async def _work_out(self, moment: Moment) -> None:
        """At most every ``OUTLOOK_EVERY_MS``, and at most a tenth of the time."""
        begin_ms = monotonic_ms()
        self._outlook = await asyncio.to_thread(outlook_of, moment.snapshot, moment.at_ms)
        took_ms = monotonic_ms() - begin_ms
        self._outlook_due_ms = begin_ms + max(OUTLOOK_EVERY_MS, 10 * took_ms)

    async def _end_work(self) -> None:
        if self._at_work is not None:
            await asyncio.gather(self._at_work, return_exceptions=True)


def _drawn(
    findings: Findings, *, outlook: Outlook | None, entries: tuple[Entry, ...]
) -> tuple[Sections, Moment | None]:
    """The sections of a picture, and the moment it shows where everything could be read. Raises
    ``UserError`` when there is nothing to show."""
    at_ms = now_ms()
    status = status_of(findings.kafka, findings.redis, at_ms, missing=findings.missing)
    contents = findings.redis.contents if findings.redis is not None else Contents()
    moment = None
    if findings.kafka is not None and findings.kafka.record.table is not None:
        snapshot = snapshot_of(findings.kafka.record, contents, status.commands)
        moment = Moment(at_ms, snapshot, findings.kafka.record.unsigned_commands)
    view = View(status, contents, moment.snapshot if moment else None, outlook=outlook, timeline=entries)
    return sections_of(view), moment if not findings.missing else None
