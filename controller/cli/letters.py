"""The dead-letter topic as commands use it: read to its end, then notes and records are appended to it.

``controller.kafka.letter_log`` has the rules. What is appended waits for Kafka's acknowledgement.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer
from msgspec import Struct
from msgspec.structs import replace

from controller.kafka.letter_log import LetterBody, LetterLog, LetterNote, LetterRow, Verb, encode_note
from controller.kafka.ordered_log import Tail, start_producer
from controller.process.errors import UserError
from controller.process.settings import Settings
from streams.deadletter import REQUEST_MAX_BYTES
from streams.producers import stop_producer
from tieline.cancelling import end_all
from tieline.topics import Topics

LETTERS_READ_MAX = 20_000  # the newest; those before them are reached by their numbers
READ_WITHIN_S = 60.0
NOTED_WITHIN_S = 10.0


class LetterOutcome(Struct, frozen=True):
    """What came of one letter. ``to``: where its record is now, as ``topic/partition/offset``."""

    number: int
    done: bool
    words: str
    to: str = ""


class By(Struct, frozen=True):
    """Who does something about letters, and why. ``again``: also where somebody did it before."""

    actor: str
    reason: str
    again: bool = False


class LetterDesk:
    """The letters, and what may be done about them."""

    def __init__(self, settings: Settings, log: LetterLog, tail: Tail) -> None:
        self._settings = settings
        self._tail = tail
        self._producer: AIOKafkaProducer | None = None
        self.log = log

    async def redrive(self, number: int, by: By) -> LetterOutcome:
        """Appends the letter's record to its own topic once more, unless somebody did. Raises KafkaError."""
        row, body = self.log.row(number), self.log.bodies.get(number)
        if row is None or body is None:
            return _missing(number)
        if fault := redrive_fault(row, self._settings.topics, again=by.again):
            return LetterOutcome(number, False, fault)
        note = _note("redriving", number, by)
        await self._append_note(note)
        if not self.log.is_holder(note):
            return LetterOutcome(number, False, "somebody else is redriving it")
        partition, offset = await self._append_record(row, body)
        to = f"{partition}/{offset}"
        await self._append_note(replace(note, verb="redriven", to=to))
        return LetterOutcome(number, True, "redriven", to=f"{row.topic}/{to}")

    async def discard(self, number: int, by: By) -> LetterOutcome:
        """Notes that the letter needs nothing more. Raises KafkaError."""
        if (row := self.log.row(number)) is None:
            return _missing(number)
        if row.state in ("redriven", "discarded"):
            return LetterOutcome(number, False, handled(row))
        await self._append_note(_note("discarded", number, by))
        return LetterOutcome(number, True, "discarded")

    async def close(self) -> None:
        """Closes the connection that appends."""
        if self._producer is not None:
            await stop_producer(self._producer)

    async def _appending(self) -> AIOKafkaProducer:
        if self._producer is None:
            self._producer = await start_producer(self._settings.kafka, record_max_bytes=REQUEST_MAX_BYTES)
        return self._producer

    async def _append_note(self, note: LetterNote) -> None:
        """Returns when the note is on the topic and was read back, so that ``log`` is as of its place."""
        producer = await self._appending()
        value, headers = encode_note(note)
        key = f"note/{note.number}".encode()
        topic = self._settings.topics.deadletter.name
        sent = await producer.send_and_wait(topic, value, key=key, headers=headers)
        await self._tail.read_to(sent.offset, NOTED_WITHIN_S)

    async def _append_record(self, row: LetterRow, body: LetterBody) -> tuple[int, int]:
        """The record as it was, on its own partition if its topic still has that. Returns where it is now."""
        producer = await self._appending()
        partitions = await producer.partitions_for(row.topic)
        partition = row.partition if row.partition in partitions else None
        sent = await producer.send_and_wait(
            row.topic, body.value, key=body.key, partition=partition, headers=list(body.headers)
        )
        return sent.partition, sent.offset


@asynccontextmanager
async def opened(settings: Settings, *, keep: Collection[int] = ()) -> AsyncIterator[LetterDesk]:
    """The desk with everything read: from the first of ``keep`` on, else the newest ``LETTERS_READ_MAX``.

    Raises KafkaError, TopicMissingError, or ``UserError`` if reading takes more than a minute.
    """
    log = LetterLog(keep)

    def take(record: Any) -> None:
        log.take(record.offset, record.timestamp, record.key, record.value, record.headers)

    tail = Tail(settings.kafka, settings.topics.deadletter.name, take)
    await tail.start(last=None if keep else LETTERS_READ_MAX)
    if keep:
        tail.resume(max(min(keep), tail.first_offset))
    reading = asyncio.create_task(tail.run())
    desk = LetterDesk(settings, log, tail)
    try:
        await tail.read_all(READ_WITHIN_S)
        yield desk
    except TimeoutError:
        raise UserError(f"the dead letters could not be read within {READ_WITHIN_S:g} s") from None
    finally:
        await end_all({reading})
        await tail.stop()
        await desk.close()


def redrive_fault(row: LetterRow, topics: Topics, *, again: bool) -> str:
    """Why a letter can't be redriven; empty if it can. Only records of events are appended anywhere."""
    events = (topics.reports, topics.statements, topics.capacity, topics.demand)
    if row.unfit:
        return row.unfit
    if row.topic not in {topic.name for topic in events}:
        return f"its record came from {row.topic or 'an unknown topic'}, which takes no events"
    if again or row.state == "waits":
        return ""
    if row.state == "redriving":
        by = row.note.actor if row.note else "somebody"
        return (
            f"{by} began to redrive it, and nobody knows whether the record is there: --again does it once "
            "more, which does no harm, as each event is taken once"
        )
    return f"{handled(row)}; --again redrives it all the same"


def handled(row: LetterRow) -> str:
    """What was done about a letter, by whom and why."""
    if row.note is None:
        return row.state
    to = f" to {row.topic}/{row.note.to}" if row.note.to else ""
    return f"{row.state}{to} by {row.note.actor}: {row.note.reason}"


def _note(verb: Verb, number: int, by: By) -> LetterNote:
    return LetterNote(verb, number, secrets.token_hex(8), actor=by.actor, reason=by.reason, again=by.again)


def _missing(number: int) -> LetterOutcome:
    return LetterOutcome(number, False, "there is no such letter: see `tieline deadletter list`")
