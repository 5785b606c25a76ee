"""Which records have dead letters: at least one letter for each, and a repeated one counts once."""

from __future__ import annotations

from lab.chaos.letters import LetterHeaders, RecordPlace, reasons_of, summary

ENDS = {("chaos.reports", 0): 7}


def letter(offset: int, reason: bytes, *own: tuple[str, bytes]) -> LetterHeaders:
    """The headers of a letter, behind those that its record had itself."""
    return [
        *own,
        ("tieline_reason", reason),
        ("tieline_topic", b"chaos.reports"),
        ("tieline_topic_id", b"id-1"),
        ("tieline_partition", b"0"),
        ("tieline_offset", str(offset).encode()),
    ]


def place(offset: int) -> RecordPlace:
    """A record of the topic of reports."""
    return RecordPlace("chaos.reports", "id-1", partition=0, offset=offset)


def test_a_repeated_letter_counts_once() -> None:
    """A letter that is delivered twice is not taken for the letter of another record."""
    letters = [letter(7, b"invalid"), letter(8, b"too_large"), letter(7, b"invalid")]
    assert reasons_of(letters, ENDS) == {place(7): "invalid", place(8): "too_large"}


def test_letters_of_older_records_are_left_out() -> None:
    """What lay on the topic before the fault is none of its poison, also when its letter is repeated late."""
    assert reasons_of([letter(6, b"invalid"), letter(7, b"invalid")], ENDS) == {place(7): "invalid"}


def test_a_records_own_headers_do_not_stand_for_those_of_its_letter() -> None:
    """The record may have headers of the same names."""
    assert reasons_of([letter(7, b"invalid", ("tieline_offset", b"9"))], ENDS) == {place(7): "invalid"}


def test_the_summary_names_topic_and_reason() -> None:
    """So that whoever reads of a letter too many knows where to look."""
    reasons = {place(7): "invalid", place(8): "invalid", place(9): "too_large"}
    assert summary(reasons) == "2 of chaos.reports: invalid, 1 of chaos.reports: too_large"
