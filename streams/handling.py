"""A batch of records -> stored, skipped or dead-lettered: the only try around an event.

``Handler.handle`` returns only when every record of the batch is safe; the caller acknowledges after that and
never before. Poison goes to the dead-letter topic and its delivery is waited for. When Redis or Kafka is away
the batch is tried again for as long as it takes, which holds its partition back rather than dropping it; only
a stop or a rebalance ends the trying, and then the batch stays unacknowledged (``Yielded``).
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import structlog
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from streams.deadletter import DeadLetter, DeadLetters
from streams.fold import gap_ms
from streams.judge import Judge, Taken, is_stale
from streams.record import Record
from streams.rows import GAP_MAX_MS
from streams.store import TablesLostError
from streams.storing import DemandItem, RaceError, RowItem, Storer
from tieline.cloudevents import Poison
from tieline.events import Demand

RETRY_FIRST_S = 0.05
RETRY_MAX_S = 1.0
LOG_EVERY_S = 10.0
AWAY = (RedisError, KafkaError, OSError, TimeoutError, RaceError)

log = structlog.get_logger(__name__)


class Yielded(Exception):
    """The batch could not be made safe and must be given back, unacknowledged."""


class Gate:
    """Says when trying must end: the process stops, or its partitions are being taken away."""

    def __init__(self, rebalancing: Callable[[], bool] = lambda: False) -> None:
        self.rebalancing = rebalancing
        self._stopping = asyncio.Event()

    def close(self) -> None:
        """From now on whatever cannot be stored at once is given back."""
        self._stopping.set()

    def must_yield(self) -> bool:
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
    """Makes batches of one topic safe. ``recover`` is called when the tables were found lost, and must return
    only when they are whole again (or raise)."""

    def __init__(
        self,
        judge: Judge,
        storer: Storer,
        dead_letters: DeadLetters,
        gate: Gate,
        recover: Callable[[], Awaitable[None]],
        on_material: Callable[[], None],
        live_now_ms: Callable[[], int],
    ) -> None:
        self._judge = judge
        self._storer = storer
        self._dead_letters = dead_letters
        self._gate = gate
        self._recover = recover
        self._on_material = on_material
        self._live_now_ms = live_now_ms
        self._lost = False
        self._logged_at = -LOG_EVERY_S
        self._logged_of: dict[str, float] = {}  # when something was last said, by what
        self.counts: Counter[str] = Counter()
        self.held_back_since: float | None = None  # loop time; None: nothing is in the way

    def count(self, name: str) -> None:
        """One more of something, by name."""
        self.counts[name] += 1

    async def handle(self, records: Sequence[Record]) -> None:
        """Returns when every record is safe. Raises ``Yielded``."""
        items: list[RowItem | DemandItem] = []
        letters: list[DeadLetter] = []
        for record in records:
            try:
                item = self._item(record)
            except Poison as poison:
                letters.append(DeadLetter(record, poison))
                self._note_poison(record, poison)
            else:
                if item is not None:
                    items.append(item)
        if letters:
            await self._persist(lambda: self._dead_letters.send(letters))
        if items:
            await self._persist(lambda: self._store(items))
        self.counts["records"] += len(records)

    def _item(self, record: Record) -> RowItem | DemandItem | None:
        event: Taken = self._judge.event(record)
        if is_stale(event, record.append_ms, self._live_now_ms()):
            self.count("stale")
            return None
        if abs(gap := gap_ms(event, record.append_ms)) > GAP_MAX_MS:
            self._note_gap(event, record, gap)
        if isinstance(event, Demand):
            return DemandItem(event, record.position, record.append_ms)
        return RowItem(event, record.position, record.append_ms)

    async def _store(self, items: Sequence[RowItem | DemandItem]) -> None:
        if self._lost:
            await self._recover()
            self._lost = False
        try:
            material = await self._storer.store(items)
        except TablesLostError:
            self._lost = True
            self._storer.forget()
            raise
        if material:
            self._on_material()

    async def _persist(self, work: Callable[[], Awaitable[None]]) -> None:
        """Tries until it works. There is no last attempt: giving up would lose the events."""
        delay_s = RETRY_FIRST_S
        while True:
            try:
                await work()
            except TablesLostError:
                if not self._lost:
                    raise
                self._note_trouble("the tables are gone or others: loading them again")
            except AWAY as error:
                self._note_trouble(f"{type(error).__name__}: {error}")
            else:
                self.held_back_since = None
                return
            if self._gate.must_yield():
                raise Yielded
            await self._gate.pause(delay_s)
            delay_s = min(delay_s * 2, RETRY_MAX_S)

    def _note_poison(self, record: Record, poison: Poison) -> None:
        """Each is counted and kept; the log names one of each reason in ten seconds."""
        name = f"dead_letter.{poison.reason}"
        self.count(name)
        if self._may_say(name):
            so_far = self.counts[name]
            log.warning(
                "dead_letter", reason=poison.reason, place=poison.place, so_far=so_far, **_where(record)
            )

    def _note_gap(self, event: Taken, record: Record, gap: int) -> None:
        """Whether the producer's clock is wrong or its records are late, only a person can see."""
        self.count("clock_or_delay")
        if self._may_say("clock_or_delay"):
            who = event.client if isinstance(event, Demand) else event.source
            so_far = self.counts["clock_or_delay"]
            log.warning("clock_or_delay", source=who, gap_ms=gap, so_far=so_far, **_where(record))

    def _may_say(self, name: str) -> bool:
        """One of each kind in ten seconds."""
        now = asyncio.get_running_loop().time()
        if now - self._logged_of.get(name, -LOG_EVERY_S) < LOG_EVERY_S:
            return False
        self._logged_of[name] = now
        return True

    def _note_trouble(self, why: str) -> None:
        now = asyncio.get_running_loop().time()
        self.count("retries")
        self.held_back_since = self.held_back_since or now
        if now - self._logged_at > LOG_EVERY_S:
            self._logged_at = now
            log.warning("held_back", why=why, for_s=round(now - self.held_back_since, 1))


def _where(record: Record) -> dict[str, object]:
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset}
