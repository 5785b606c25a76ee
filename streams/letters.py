"""Every record that can never be taken gets one dead letter, and none of them stops the records behind it.

Two kinds of notes in the tables carry that:

- A mark for each log (topic id and partition): up to which offset its poison has been dealt with. Records are
  handled in their order, so after a reset of the group's offsets the same records get no second letter.
- A note for each letter that waits, because the dead-letter topic is missing, full or read-only. The record
  itself still lies on its own topic: the process that owns the partition reads it again by its offset, and
  sends the letter as soon as the topic takes it. If retention was faster, the note's reason is all that is
  left, and it is logged.

The topic is asked for at most ``DELIVERY_WITHIN_S``. After a failure letters wait without being tried for
``PAUSE_S``, so that much poison holds nothing up. At most ``WAITING_MAX`` letters wait in an installation; of
any more only the count is kept. A letter may still be there twice: after a crash between its delivery and
its mark, after its partition moved meanwhile, or when the topic took it later than ``DELIVERY_WITHIN_S``. Its
headers ``tieline_topic_id``, ``tieline_partition`` and ``tieline_offset`` name the record.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import msgspec
import structlog
from aiokafka import TopicPartition
from msgspec import Struct

from streams.contract_check import Record
from streams.deadletter import DeadLetter, LetterProducer
from streams.every_record import close_reader, log_reader, open_reader
from streams.logs import LogPace
from streams.positions import Partition
from streams.rows import Position
from streams.store import Tables
from streams.topic_ids import TopicFacts
from streams.watchdog import AWAY
from tieline.backoff import Backoff
from tieline.cloudevents import Poison, Rejection
from tieline.errors import UNDECODABLE
from tieline.kafka import Brokers

DELIVERY_WITHIN_S = 3.0
PAUSE_S = 10.0
WAITING_MAX = 1_000
RESEND_FIRST_S = 1.0
RESEND_LONGEST_S = 10.0
READ_WITHIN_S = 5.0
RESEND_AT_ONCE_MAX = 50

log = structlog.get_logger(__name__)


class WaitingLetter(Struct, frozen=True, array_like=True):
    """A letter that the dead-letter topic has not taken yet."""

    topic: str
    position: Position
    reason: str
    place: str
    noted_ms: int

    @property
    def partition(self) -> Partition:
        """Where its record lies."""
        return Partition(self.topic, self.position.partition)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(WaitingLetter).decode


class LetterNotes:
    """The marks and the waiting letters, as they are in the tables. The process that owns a partition writes
    its notes."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._stored = False  # whether the tables hold what is in memory
        self._marks: dict[str, int] = {}
        self._waiting: dict[str, WaitingLetter] = {}

    async def load(self) -> None:
        """Reads the notes of all processes, and writes those of this process that the tables have lost."""
        if self._stored:
            return
        stored = await self._tables.notes()
        lost = {name: data for name, data in self._packed().items() if name not in stored}
        for name, data in stored.items():
            if name.startswith("mark/") and data.isdigit():
                self._marks[name] = max(self._marks.get(name, -1), int(data))
            elif (letter := _unpacked(data)) is not None:
                self._waiting[name] = letter
        await self._tables.change_notes(lost)
        self._stored = True

    def forget(self) -> None:
        """Load again: another process may have had the partitions, or the tables were lost."""
        self._stored = False

    def is_done(self, position: Position) -> bool:
        """Whether this record, if it is poison, has its letter or its note."""
        return position.offset <= self._marks.get(_mark(position), -1)

    def waiting(self, partition: Partition | None = None) -> list[WaitingLetter]:
        """Letters that wait, of one partition or of all, in their order."""
        letters = [letter for _, letter in sorted(self._waiting.items())]
        return [letter for letter in letters if partition is None or letter.partition == partition]

    async def note(self, positions: Iterable[Position], waiting: Sequence[WaitingLetter] = ()) -> int:
        """Marks these records as done, those of ``waiting`` too. Returns for how many there is no room."""
        room = max(WAITING_MAX - len(self._waiting), 0)
        new = {_name(letter.position): letter for letter in waiting[:room]}
        marks: dict[str, int] = {}
        for position in positions:
            name = _mark(position)
            marks[name] = max(position.offset, marks.get(name, self._marks.get(name, -1)))
        changes = {name: str(offset).encode() for name, offset in marks.items()}
        await self._tables.change_notes(changes | {name: _encode(letter) for name, letter in new.items()})
        self._marks |= marks
        self._waiting |= new
        return len(waiting) - len(new)

    async def settle(self, letters: Iterable[WaitingLetter]) -> None:
        """These letters wait no longer."""
        names = [_name(letter.position) for letter in letters]
        await self._tables.change_notes(dict.fromkeys(names))
        for name in names:
            self._waiting.pop(name, None)

    def _packed(self) -> dict[str, bytes | None]:
        marks: dict[str, bytes | None] = {name: str(mark).encode() for name, mark in self._marks.items()}
        return marks | {name: _encode(letter) for name, letter in self._waiting.items()}


class DeadLetters:
    """Deals with poison: sends its letter, or notes that the letter waits. ``now_ms`` is the wall clock."""

    def __init__(
        self, bootstrap: str | Brokers, topic: str, *, notes: LetterNotes, now_ms: Callable[[], int]
    ) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._now_ms = now_ms
        self._producer = LetterProducer(bootstrap, topic)
        self._pause_until_s = 0.0  # loop time
        self._pace = LogPace()
        self.notes = notes
        self.counts: Counter[str] = Counter()
        self.trouble = ""  # why the topic takes no letters, in words; empty while it does

    async def send(self, letters: Sequence[DeadLetter]) -> list[DeadLetter]:
        """Returns when each of these letters is on the topic or noted: those among them that are new.

        Raises what the tables raise; then it may be called again with the same letters.
        """
        await self.notes.load()
        new = [letter for letter in letters if not self.notes.is_done(letter.record.position)]
        if not new:
            return []
        positions = [letter.record.position for letter in new]
        if await self._append(new):
            await self.notes.note(positions)
            return new
        waiting = [self._waiting(letter) for letter in new]
        if unnoted := await self.notes.note(positions, waiting):
            self.counts["dead_letter_lost"] += unnoted
            if self._pace.allows("lost", asyncio.get_running_loop().time()):
                log.error("dead_letter_lost", why=f"{WAITING_MAX} letters wait already", letters=unnoted)
        return new

    async def run(
        self, owned: Callable[[], set[Partition]], facts: Callable[[], Awaitable[Mapping[str, TopicFacts]]]
    ) -> None:
        """Sends the waiting letters of the partitions that this process owns, until cancelled."""
        backoff = Backoff(RESEND_FIRST_S, RESEND_LONGEST_S)
        while True:
            await asyncio.sleep(backoff.next_s())
            try:
                await self.notes.load()
                partitions = owned()
                letters = [letter for letter in self.notes.waiting() if letter.partition in partitions]
                if letters:
                    await self._resend(letters[:RESEND_AT_ONCE_MAX], await facts())
                if not letters or not self.trouble:
                    backoff.reset()
            except AWAY as error:
                self._note_trouble(error)

    async def stop(self) -> None:
        """Closes the connection."""
        await self._producer.stop()

    async def _append(self, letters: Sequence[DeadLetter]) -> bool:
        loop = asyncio.get_running_loop()
        if loop.time() < self._pause_until_s:
            return False
        try:
            await self._producer.append(letters, DELIVERY_WITHIN_S)
        except AWAY as error:
            self._pause_until_s = loop.time() + PAUSE_S
            self._note_trouble(error)
            return False
        self.trouble = ""
        return True

    async def _resend(self, letters: Sequence[WaitingLetter], facts: Mapping[str, TopicFacts]) -> None:
        records = await read_again(self._bootstrap, letters, facts)
        self._pause_until_s = 0.0
        again = [
            DeadLetter(records[letter.position], _poison(letter))
            for letter in letters
            if letter.position in records
        ]
        if again and not await self._append(again):
            return
        await self.notes.settle(letters)
        self.counts["dead_letter_sent_late"] += len(again)
        for letter in letters:
            if letter.position not in records:
                self.counts["dead_letter_lost"] += 1
                log.warning(
                    "dead_letter_lost",
                    why="its record was removed from its topic before the dead-letter topic took it",
                    reason=letter.reason,
                    place=letter.place,
                    topic=letter.topic,
                    partition=letter.position.partition,
                    offset=letter.position.offset,
                )

    def _waiting(self, letter: DeadLetter) -> WaitingLetter:
        record, poison = letter.record, letter.poison
        return WaitingLetter(
            topic=record.topic,
            position=record.position,
            reason=poison.reason,
            place=poison.place[:500],
            noted_ms=self._now_ms(),
        )

    def _note_trouble(self, error: Exception) -> None:
        cause = f"{type(error).__name__} {error}".strip()
        if isinstance(error, TimeoutError):
            cause = f"no answer within {DELIVERY_WITHIN_S:g} s; it may be missing"
        self.trouble = f"the topic {self._topic} takes no dead letters: {cause}"
        if self._pace.allows("letters", asyncio.get_running_loop().time()):
            log.warning("dead_letters_wait", why=self.trouble, waiting=len(self.notes.waiting()))


async def read_again(
    bootstrap: str | Brokers, letters: Sequence[WaitingLetter], facts: Mapping[str, TopicFacts]
) -> dict[Position, Record]:
    """The records of these letters, by position; one that its topic no longer holds is left out.

    Raises what aiokafka raises while Kafka is away.
    """
    records: dict[Position, Record] = {}
    consumer = log_reader(bootstrap, auto_offset_reset="earliest")
    await open_reader(consumer)
    try:
        for letter in letters:
            fact = facts.get(letter.topic)
            if fact is None or fact.id != letter.position.topic_id:
                continue
            partition = TopicPartition(letter.topic, letter.position.partition)
            consumer.assign([partition])
            first = (await consumer.beginning_offsets([partition]))[partition]
            end = (await consumer.end_offsets([partition]))[partition]
            if not first <= letter.position.offset < end:
                continue
            consumer.seek(partition, letter.position.offset)
            async with asyncio.timeout(READ_WITHIN_S):
                message = await consumer.getone(partition)
            if message.offset == letter.position.offset:
                records[letter.position] = Record(
                    topic=letter.topic,
                    topic_id=fact.id,
                    partition=partition.partition,
                    offset=message.offset,
                    append_ms=message.timestamp,
                    key=message.key,
                    value=message.value,
                    headers=tuple(message.headers),
                )
    finally:
        await close_reader(consumer)
    return records


def _unpacked(data: bytes) -> WaitingLetter | None:
    """The stored letter, or None for what another version has stored."""
    try:
        return _decode(data)
    except UNDECODABLE:
        return None


def _poison(letter: WaitingLetter) -> Poison:
    reasons = {str(reason): reason for reason in Rejection}
    return Poison(reasons.get(letter.reason, Rejection.INVALID), letter.place)


def _mark(position: Position) -> str:
    return f"mark/{position.topic_id}/{position.partition}"


def _name(position: Position) -> str:
    return f"wait/{position.topic_id}/{position.partition:06d}/{position.offset:020d}"
