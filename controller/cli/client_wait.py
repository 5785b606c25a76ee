"""`--wait`: until 99 % of the reporting clients use the table; `--wait=idle`: also until nothing is in flight
any more at the pools that were emptied.

The share is said as it rises, with the clients that have fallen silent as a count.
"""

import asyncio
from collections.abc import Collection

from controller.cli.agreement import say
from controller.core.evidence.reported import reporting_clients
from controller.process.clock import now_ms
from controller.process.redis_reader import RedisUnreadError
from controller.process.settings import Settings
from controller.status.redis_side import RedisSide
from controller.status.uptake import SECOND_MS, Uptake, in_flight, uptake
from streams.rows import DemandRow
from tieline.table import Generation

POLL_S = 0.05


class ClientWait:
    """Follows the demand table until clients have taken a generation over. ``progress``: how far they are.

    ``emptied``: pools at which requests in flight are waited for too; ``interval_ms``: between two reports of
    a client.
    """

    def __init__(
        self, settings: Settings, generation: Generation, emptied: Collection[str], interval_ms: int
    ) -> None:
        self.progress = Uptake(0, 0, 0)
        self._settings = settings
        self._generation = generation
        self._emptied = emptied
        self._interval_ms = interval_ms
        self._since_ms: int | None = None
        self._text = ""

    async def run(self, within_s: float) -> str:
        """Returns ``""`` once it is so, or why it is not within the time."""
        if not self._settings.redis:
            return "TIELINE_REDIS is not set, so nobody can say which table clients use"
        try:
            async with asyncio.timeout(within_s), RedisSide(self._settings) as redis:
                while True:
                    if self._is_done(await redis.demand()):
                        return ""
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            return f"after {within_s:g} s {self._words()}"
        except RedisUnreadError as error:
            return f"Redis can't be read ({error.why}), so clients can't be followed"

    def _is_done(self, rows: tuple[DemandRow, ...]) -> bool:
        at_ms = now_ms()
        counts = uptake(reporting_clients(rows, at_ms), self._generation)
        if counts.is_complete and self._since_ms is None:
            newest_ms = max((row.seconds[-1].second_ms for row in rows if row.seconds), default=0)
            self._since_ms = newest_ms + SECOND_MS
        left = None
        if self._emptied and self._since_ms is not None:
            left = in_flight(
                rows, self._emptied, since_ms=self._since_ms, interval_ms=self._interval_ms, at_ms=at_ms
            )
        self.progress = Uptake(counts.reporting, counts.reached, counts.silent, in_flight=left)
        self._tell()
        return counts.is_complete and (not self._emptied or left == 0)

    def _tell(self) -> None:
        if (text := self._words()) != self._text:
            self._text = text
            say(text)

    def _words(self) -> str:
        progress = self.progress
        if not progress.reporting:
            text = "no client reports, so there is none to wait for"
        else:
            text = f"{progress.share:.1%} of {progress.reporting:,} reporting clients use it"
        if progress.silent:
            text += f"; {progress.silent:,} have fallen silent"
        if progress.in_flight is not None:
            text += f"; {progress.in_flight:,} requests are in flight at the emptied pools"
        return text
