"""A batch of records -> stored, skipped or dead-lettered: the only try around an event.

``Handler.handle`` returns only when every record of the batch is safe; the caller acknowledges after that and
never before. Poison gets its dead letter, or a note that its letter waits (``letters``). When Redis is away
the batch is tried again for as long as it takes, which holds its partition back rather than dropping it; only
a stop or a rebalance ends the trying, and then the batch stays unacknowledged (``HandBack``).
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import structlog

from streams.clock_offsets import StaleShare
from streams.contract_check import Judge, Record, is_stale
from streams.deadletter import DeadLetter
from streams.fold import gap_ms
from streams.letters import DeadLetters
from streams.logs import LogPace
from streams.positions import Partition
from streams.rows import GAP_MAX_MS, IngestEvent
from streams.store import TablesLostError
from streams.storing import DemandItem, RaceError, RowItem, Storer
from streams.watchdog import AWAY
from tieline.backoff import Backoff
from tieline.cloudevents import Poison
from tieline.events import Demand

RETRY_FIRST_S = 0.05
RETRY_LONGEST_S = 1.0

log = structlog.get_logger(__name__)


class HandBack(Exception):
    """The batch could not be made safe and must be handed back to Kafka, unacknowledged."""


class Gate:
    """Says when trying must end: the process stops, or its partitions are being taken away."""

    def __init__(self, rebalancing: Callable[[], bool] = lambda: False) -> None:
        self.rebalancing = rebalancing
        self._stopping = asyncio.Event()

    def close(self) -> None:
        """From now on whatever can't be stored at once is handed back."""
        self._stopping.set()

    def must_end(self) -> bool:
        """Whether trying must end."""
        return self._stopping.is_set() or self.rebalancing()

    async def pause(self, seconds: float) -> None:
        """Waits that long, or until the gate closes."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass


class Handler:
    """Makes batches of one topic safe.

    ``recover`` is called when the tables are lost, and must return only when they are whole again (or raise).
    ``on_material`` is called after a row that could change a decision was stored, with the append time of the
    oldest record of its batch; ``live_now_ms`` gives the time of a partition's broker. ``counts`` takes what
    happens, by name; the storer may count into it too.
    """

    def __init__(
        self,
        *,
        judge: Judge,
        storer: Storer,
        dead_letters: DeadLetters,
        gate: Gate,
        recover: Callable[[], Awaitable[None]],
        on_material: Callable[[int], None],
        live_now_ms: Callable[[Partition], int],
        counts: Counter[str],
    ) -> None:
        self._judge = judge
        self._storer = storer
        self._dead_letters = dead_letters
        self._gate = gate
        self._recover = recover
        self._on_material = on_material
        self._live_now_ms = live_now_ms
        self._tables_lost = False
        self._pace = LogPace()
        self.counts = counts
        self.stale_share = StaleShare()
        self.held_back_since: float | None = None  # loop time; None: nothing is in the way

    async def handle(self, records: Sequence[Record]) -> None:
        """Returns when every record is safe. Raises ``HandBack``."""
        items: list[RowItem | DemandItem] = []
        letters: list[DeadLetter] = []
        for record in records:
            try:
                item = self._item(record)
            except Poison as poison:
                letters.append(DeadLetter(record, poison))
            else:
                if item is not None:
                    items.append(item)
        if letters:
            await self._persist(lambda: self._send(letters))
        if items:
            await self._persist(lambda: self._store(items))
        self.counts["records"] += len(records)

    def _item(self, record: Record) -> RowItem | DemandItem | None:
        event = self._judge.event(record)
        broker_now_ms = self._live_now_ms(Partition(record.topic, record.partition))
        stale = is_stale(event, record.append_ms, broker_now_ms)
        self.stale_share.note(stale=stale, at_s=asyncio.get_running_loop().time())
        if stale:
            self.counts["stale"] += 1
            return None
        if abs(gap := gap_ms(event, record.append_ms)) > GAP_MAX_MS:
            self._note_gap(event, record, gap)
        if isinstance(event, Demand):
            return DemandItem(event, record.position, record.append_ms)
        return RowItem(event, record.position, record.append_ms)

    async def _send(self, letters: Sequence[DeadLetter]) -> None:
        for letter in await self._dead_letters.send(letters):
            self._note_poison(letter.record, letter.poison)

    async def _store(self, items: Sequence[RowItem | DemandItem]) -> None:
        if self._tables_lost:
            await self._recover()
            self._tables_lost = False
        try:
            material = await self._storer.store(items)
        except TablesLostError:
            self._tables_lost = True
            self._storer.forget()
            raise
        if material:
            self._on_material(min(item.append_ms for item in items))

    async def _persist(self, work: Callable[[], Awaitable[None]]) -> None:
        """Tries until it works. There is no last attempt: to stop trying would lose the events."""
        backoff = Backoff(RETRY_FIRST_S, RETRY_LONGEST_S)
        while True:
            try:
                await work()
            except TablesLostError:
                if not self._tables_lost:
                    raise
                self._note_trouble("the tables were emptied, or rebuilt by another process")
            except (*AWAY, RaceError) as error:
                self._note_trouble(f"{type(error).__name__}: {error}")
            else:
                self.held_back_since = None
                return
            if self._gate.must_end():
                raise HandBack
            await self._gate.pause(backoff.next_s())

    def _note_poison(self, record: Record, poison: Poison) -> None:
        """Each is counted and sent to the dead letters; the log names one of each reason a minute."""
        name = f"dead_letter.{poison.reason}"
        self.counts[name] += 1
        if self._may_log(name):
            log.warning(
                "dead_letter",
                reason=poison.reason,
                place=poison.place,
                so_far=self.counts[name],
                **_where(record),
            )

    def _note_gap(self, event: IngestEvent, record: Record, gap: int) -> None:
        """Only a person can see whether the producer's clock is wrong or its records are late."""
        self.counts["clock_or_delay"] += 1
        if self._may_log("clock_or_delay"):
            source = event.client if isinstance(event, Demand) else event.source
            so_far = self.counts["clock_or_delay"]
            log.warning("clock_or_delay", source=source, gap_ms=gap, so_far=so_far, **_where(record))

    def _note_trouble(self, why: str) -> None:
        now_s = asyncio.get_running_loop().time()
        self.counts["retries"] += 1
        self.held_back_since = self.held_back_since or now_s
        if self._may_log("held_back"):
            log.warning("held_back", why=why, for_s=round(now_s - self.held_back_since, 1))

    def _may_log(self, kind: str) -> bool:
        return self._pace.allows(kind, asyncio.get_running_loop().time())


def _where(record: Record) -> dict[str, object]:
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset}
