"""What the dead-letter topic says of its letters: what each was, and what operators have done about it."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from controller.cli.letters import redrive_fault
from controller.kafka.letter_log import LetterLog, LetterNote, encode_note, is_note
from streams.contract_check import Record
from streams.deadletter import DeadLetter, fitting
from tieline.cloudevents import Poison, Rejection
from tieline.topics import Topics

TOPICS = Topics("t")
NUMBER = 7


def letter(value: bytes | None = b"rubbish", topic: str = TOPICS.reports.name, **more: Any) -> DeadLetter:
    record = Record(
        topic=topic,
        topic_id="id-1",
        partition=3,
        offset=9,
        append_ms=5,
        key=b"k",
        value=value,
        headers=(("mine", b"1"), ("tieline_reason", b"not ours")),
    )
    return DeadLetter(record._replace(**more), Poison(Rejection.UNKNOWN_SOURCE, "source x"))


def log_of(*notes: LetterNote, of: DeadLetter | None = None) -> LetterLog:
    """The log with one letter, and then these notes."""
    log = LetterLog(keep=(NUMBER,))
    log.take(NUMBER, 1_000, *fitting(of or letter()))
    for offset, note in enumerate(notes, start=NUMBER + 1):
        value, headers = encode_note(note)
        log.take(offset, 1_000, None, value, headers)
    return log


def note(verb: str, id: str = "a", *, again: bool = False, to: str = "") -> LetterNote:
    made = {"verb": verb, "number": NUMBER, "id": id, "actor": "kim", "reason": "x", "again": again, "to": to}
    return msgspec.convert(made, LetterNote)


def state(*notes: LetterNote) -> str:
    row = log_of(*notes).row(NUMBER)
    assert row is not None
    return row.state


def test_a_letter_is_read_as_it_was_written() -> None:
    """Its own headers stay with it, also one that is called like ours."""
    log = log_of()
    row = log.row(NUMBER)
    assert row is not None
    assert (row.reason, row.place, row.unfit, row.state) == ("unknown_source", "source x", "", "waits")
    assert (row.topic, row.topic_id, row.partition, row.offset, row.size_bytes) == (
        "t.reports",
        "id-1",
        3,
        9,
        7,
    )
    body = log.bodies[NUMBER]
    assert (body.key, body.value) == (b"k", b"rubbish")
    assert body.headers == (("mine", b"1"), ("tieline_reason", b"not ours"))


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        ((), "waits"),
        ((note("redriving"),), "redriving"),
        ((note("redriving"), note("redriven")), "redriven"),
        ((note("redriven"),), "waits"),
        ((note("redriving", "a"), note("redriving", "b"), note("redriven", "b")), "redriving"),
        ((note("redriving", "a"), note("redriving", "b", again=True), note("redriven", "b")), "redriven"),
        ((note("discarded"),), "discarded"),
        ((note("redriving"), note("discarded")), "discarded"),
        ((note("redriving"), note("redriven"), note("discarded")), "redriven"),
        ((note("discarded"), note("redriving", "b")), "discarded"),
        ((note("discarded"), note("redriving", "b", again=True), note("redriven", "b")), "redriven"),
    ],
)
def test_the_order_of_the_log_decides_what_counts(notes: tuple[LetterNote, ...], expected: str) -> None:
    """The first operator who redrives a waiting letter holds it, unless another one insists."""
    assert state(*notes) == expected


def test_of_any_number_of_operators_one_holds_the_letter() -> None:
    """Whatever the order in which their notes arrive, exactly one goes on."""
    claims = [note("redriving", id) for id in "abc"]
    for order in itertools.permutations(claims):
        log = log_of(*order)
        assert [claim for claim in claims if log.is_holder(claim)] == [order[0]]


def test_notes_about_other_letters_and_rubbish_change_nothing() -> None:
    """A note that can't be read, or whose letter is gone, is passed over; neither is a letter."""
    log = log_of(LetterNote("discarded", 999, "a", actor="kim", reason="x"))
    log.take(50, 1_000, None, b"\xc1", [("tieline_note", b"discarded")])
    assert [row.number for row in log.rows] == [NUMBER]
    assert log.rows[0].state == "waits"
    assert not is_note([("tieline_note", b"x"), *fitting(letter()).headers])


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (letter(b"x" * 5_000_000), "holds only the beginning"),
        (letter(headers=(("tieline_unreadable", b"x"),)), "a batch as Kafka stored it"),
        (letter(topic=TOPICS.commands.name), "t.commands, which takes no events"),
        (letter(topic="other.reports"), "other.reports, which takes no events"),
    ],
)
def test_what_can_not_be_redriven_says_why(of: DeadLetter, words: str) -> None:
    """Only whole records go back, and only to topics that take events: never to orders or routes."""
    row = log_of(of=of).row(NUMBER)
    assert row is not None
    assert words in redrive_fault(row, TOPICS, again=True)


def test_a_changed_body_is_not_redriven() -> None:
    """The checksum is that of the record which was rejected."""
    key, _, headers = fitting(letter())
    log = LetterLog(keep=(NUMBER,))
    log.take(NUMBER, 1_000, key, b"another", headers)
    assert "checksum" in log.rows[0].unfit


def test_a_record_that_is_no_letter_does_not_stop_the_log() -> None:
    """Somebody else may write to the topic: the row says that it names no record."""
    log = LetterLog(keep=(1,))
    log.take(1, 1_000, None, None, [])
    log.take(
        2,
        1_000,
        None,
        b"",
        [("tieline_reason", b"\xff"), ("tieline_partition", b"-9"), ("tieline_offset", None)],
    )
    assert [(row.reason, row.partition, bool(row.unfit)) for row in log.rows] == [
        ("", -1, True),
        ("\ufffd", -1, True),
    ]


@pytest.mark.parametrize(
    ("notes", "again", "words"),
    [
        ((), False, ""),
        ((note("redriving"),), False, "kim began to redrive it"),
        ((note("redriving"),), True, ""),
        ((note("redriving"), note("redriven", to="3/12")), False, "redriven to t.reports/3/12 by kim: x"),
        ((note("discarded"),), False, "discarded by kim: x; --again"),
    ],
)
def test_what_was_handled_is_not_redriven_by_mistake(
    notes: tuple[LetterNote, ...], again: bool, words: str
) -> None:
    """The sentence says who did what, and how to insist."""
    row = log_of(*notes).row(NUMBER)
    assert row is not None
    fault = redrive_fault(row, TOPICS, again=again)
    assert (words in fault) if words else not fault
