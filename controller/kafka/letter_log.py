"""The dead-letter topic as a log: its letters, and what operators have done about each. Pure.

A letter is a record that ingestion could never take (``streams.deadletter``). Its number is its offset on the
dead-letter topic, which is never that of another one. What an operator does about it is a note on the same
topic, so that the order of the log decides between two operators, and a note lives as long as its letter:

- ``redriving``: somebody is about to append the record to its own topic again. It counts while the letter
  waits, so of two operators only the first goes on. With ``again`` it always counts.
- ``redriven``: the record is there, at ``to``. It counts from whoever made the ``redriving`` that counts.
- ``discarded``: the letter needs nothing more. It counts while the letter waits or is being redriven.

Whoever wants to redrive a letter appends ``redriving``, reads the log up to that note, and goes on only if
the note counts (``LetterLog.is_holder``). Between the record and its ``redriven`` the process may end. Then
the letter stays ``redriving``, and nobody knows whether the record is there. To append it once more does no
harm: events carry their own sequence, and ingestion takes each of them once.

Tests: tests/unit/controller/kafka/test_letter_log.py, tests/integration/test_cli_deadletter.py.
"""

import hashlib
from collections.abc import Collection, Sequence
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from streams.every_record import UNREADABLE
from tieline.errors import UNDECODABLE

Verb = Literal["redriving", "redriven", "discarded"]
State = Literal["waits", "redriving", "redriven", "discarded"]
Header = tuple[str, bytes | None]
NOTE = "tieline_note"
REASON = "tieline_reason"
_CUT = "tieline_cut_from_bytes"


class LetterNote(Struct, frozen=True, omit_defaults=True):
    """What somebody does about letter ``number``. ``id`` tells notes apart; a ``redriven`` has the id of its
    ``redriving``. ``to`` is the place of the record that was appended, as ``partition/offset``."""

    verb: Verb
    number: int
    id: str
    actor: str
    reason: str
    again: bool = False
    to: str = ""


class LetterRow(Struct, frozen=True):
    """One letter. ``topic``, ``topic_id``, ``partition`` and ``offset`` say where its record came from; they
    are empty or -1 where the letter does not say so. ``size_bytes`` is that of the whole record. ``unfit``
    says why the letter can't be redriven, and is empty if it can."""

    number: int
    append_ms: int
    reason: str
    place: str
    topic: str
    topic_id: str
    partition: int
    offset: int
    size_bytes: int
    unfit: str = ""
    state: State = "waits"
    note: LetterNote | None = None


class LetterBody(Struct, frozen=True):
    """What a record was: key, value, and the headers that it had itself."""

    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(LetterNote).decode


def encode_note(note: LetterNote) -> tuple[bytes, list[tuple[str, bytes]]]:
    """(value, headers) of its record."""
    return _encode(note), [(NOTE, note.verb.encode())]


def is_note(headers: Sequence[Header]) -> bool:
    """Whether a record of the dead-letter topic is a note and no letter."""
    return any(name == NOTE for name, _ in headers) and not any(name == REASON for name, _ in headers)


class LetterLog:
    """What the log says so far. ``keep``: the letters whose bodies are kept as well.

    ``take`` one record after the other, in the log's order; what can't be read is passed over.
    """

    def __init__(self, keep: Collection[int] = ()) -> None:
        self._keep = keep
        self._rows: dict[int, LetterRow] = {}
        self.bodies: dict[int, LetterBody] = {}

    @property
    def rows(self) -> tuple[LetterRow, ...]:
        """Every letter, by the topic, the partition and the offset of its record."""
        return tuple(
            sorted(self._rows.values(), key=lambda row: (row.topic, row.topic_id, row.partition, row.offset))
        )

    def row(self, number: int) -> LetterRow | None:
        """The letter of this number, None if the log has none."""
        return self._rows.get(number)

    def take(
        self, offset: int, append_ms: int, key: bytes | None, value: bytes | None, headers: Sequence[Header]
    ) -> None:
        """One more record of the topic."""
        if is_note(headers):
            try:
                note = _decode(value or b"")
            except UNDECODABLE:
                return
            self._note(note)
            return
        self._rows[offset] = _letter(offset, append_ms, value, headers)
        if offset in self._keep:
            self.bodies[offset] = LetterBody(key, value, tuple(_own(headers)))

    def is_holder(self, note: LetterNote) -> bool:
        """Whether this ``redriving`` is the one that counts."""
        row = self._rows.get(note.number)
        return (
            row is not None and row.state == "redriving" and row.note is not None and row.note.id == note.id
        )

    def _note(self, note: LetterNote) -> None:
        row = self._rows.get(note.number)
        if row is None:
            return
        match note.verb:
            case "redriving":
                counts = row.state == "waits" or note.again
            case "redriven":
                counts = self.is_holder(note)
            case "discarded":
                counts = row.state in ("waits", "redriving")
        if counts:
            self._rows[note.number] = replace(row, state=note.verb, note=note)


def _letter(number: int, append_ms: int, value: bytes | None, headers: Sequence[Header]) -> LetterRow:
    ours = {name: text or b"" for name, text in headers[len(_own(headers)) :]}

    def text(name: str) -> str:
        return ours.get(name, b"").decode("utf-8", "replace")

    def whole(name: str, otherwise: int) -> int:
        digits = text(name)
        return int(digits) if digits.isdigit() and len(digits) < 20 else otherwise

    return LetterRow(
        number=number,
        append_ms=append_ms,
        reason=text(REASON),
        place=text("tieline_place"),
        topic=text("tieline_topic"),
        topic_id=text("tieline_topic_id"),
        partition=whole("tieline_partition", -1),
        offset=whole("tieline_offset", -1),
        size_bytes=whole(_CUT, len(value or b"")),
        unfit=_unfit(ours, value, headers),
    )


def _own(headers: Sequence[Header]) -> Sequence[Header]:
    """The headers that the record had itself: ours stand behind them, and begin with the last reason."""
    begins = max((place for place, (name, _) in enumerate(headers) if name == REASON), default=len(headers))
    return headers[:begins]


def _unfit(ours: dict[str, bytes], value: bytes | None, headers: Sequence[Header]) -> str:
    if REASON not in ours:
        return "it does not say what record it was"
    if _CUT in ours:
        return "it holds only the beginning of its record, which was larger than the topic takes"
    if any(name == UNREADABLE for name, _ in headers):
        return "its record could not be read, so the letter holds a batch as Kafka stored it"
    if ours.get("tieline_sha256", b"") != hashlib.sha256(value or b"").hexdigest().encode():
        return "its body is not the one that its checksum names"
    return ""
