"""`tieline contract verify`: what is wrong with the records in a file, by the checks that controllers make.

What depends on an installation is not checked: whether its policy has provider, source and pools, and whether
the producer's clock is right. The records of one stream must have rising sequences, as in its topic. A field
that the contract lacks is no fault, but named, because it is often misspelt.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from controller.cli.contract_document import CHANNELS
from controller.cli.contract_records import FILE_MAX_BYTES, FileRecord, read_records
from controller.cli.event_input import InputError
from tieline.cloudevents import EVENT_BY_TYPE, Poison, Rejection, body_of, decode, key_of, type_of
from tieline.events import Capacity, Event, Report, Statement
from tieline.topics import MIB

EXIT_FAULTY = 1
NOTES_MAX = 5
REMEDIES = {
    Rejection.NOT_CLOUDEVENTS: "docs/events.md lists the headers of a record",
    Rejection.UNKNOWN_TYPE: f"the types are {', '.join(EVENT_BY_TYPE)}, each on its own topic",
    Rejection.UNKNOWN_VERSION: f"this version reads {', '.join(EVENT_BY_TYPE)}",
    Rejection.UNDECODABLE: "write the whole body in the encoding that content-type names",
    Rejection.INVALID: "`tieline contract` has the type and range of each field",
    Rejection.KEY_MISMATCH: "write the record under that key, so that one stream stays in order",
    Rejection.TOO_LARGE: "send the pools of fewer regions at once, or leave out what was not measured",
}
UNEXPECTED = "unexpected"  # a golden record that is not taken, or not refused, as it should be
UNORDERED = "unordered"


class Verdict(Struct, frozen=True, omit_defaults=True):
    """What is said of one record. ``reason`` is empty for a good one, or else a code, and ``fault`` and
    ``remedy`` say what is wrong and what to do. ``notes``: what is no fault but perhaps a mistake."""

    line: int
    name: str = ""
    type: str = ""
    key: str = ""
    reason: str = ""
    fault: str = ""
    remedy: str = ""
    notes: tuple[str, ...] = ()


def verify(file: str, *, as_json: bool) -> int:
    """Prints what is wrong with each record. Returns 1 if anything is, 0 if nothing. Raises InputError."""
    place = "standard input" if file == "-" else file
    try:
        text = sys.stdin.read(FILE_MAX_BYTES + 1) if file == "-" else Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{place} can't be read: {error}.") from None
    verdicts = list(judged(read_records(text, place)))
    refused = sum(bool(verdict.reason) for verdict in verdicts)
    if as_json:
        print(msgspec.json.encode({"records": verdicts, "refused": refused}).decode())
    else:
        for verdict in verdicts:
            _show(verdict, place)
        print(f"{len(verdicts)} records: {len(verdicts) - refused} as they should be, {refused} not")
    return EXIT_FAULTY if refused else 0


def judged(records: Iterable[FileRecord]) -> Iterator[Verdict]:
    """A verdict on each record, in the order of the file."""
    newest: dict[tuple[str, ...], tuple[int, int]] = {}
    for record in records:
        verdict, event = _judged(record)
        if record.refused_for or record.read_as is not None:
            yield _as_expected(record, verdict, event)
        elif event is not None and not record.name and (fault := _order_fault(event, record.line, newest)):
            remedy = "give each record of one incarnation and stream a higher sequence than the one before"
            yield msgspec.structs.replace(verdict, reason=UNORDERED, fault=fault, remedy=remedy)
        else:
            yield verdict


def _judged(record: FileRecord) -> tuple[Verdict, Event | None]:
    bare = Verdict(record.line, name=record.name)
    try:
        event = _event(record)
    except Poison as poison:
        remedy = REMEDIES.get(poison.reason, "")
        return msgspec.structs.replace(bare, reason=poison.reason, fault=poison.place, remedy=remedy), None
    notes = tuple(_unknown_fields(event, body_of(record.headers, record.value), ""))[:NOTES_MAX]
    own_type = type_of(type(event))
    return msgspec.structs.replace(bare, type=own_type, key=key_of(event), notes=notes), event


def _event(record: FileRecord) -> Event:
    """The event, as the controllers would take it from its topic. Raises Poison."""
    size_bytes = len(record.value or b"")
    if size_bytes > MIB:
        raise Poison(Rejection.TOO_LARGE, f"the body has {size_bytes} bytes, and topics take {MIB}")
    event = decode(record.headers, record.value, record.key)
    channel = (record.topic or "").rpartition(".")[2]
    if channel in CHANNELS and type(event) not in CHANNELS[channel][1]:
        place = f"{type_of(type(event))} does not belong on {record.topic}"
        raise Poison(Rejection.UNKNOWN_TYPE, place)
    return event


def _as_expected(record: FileRecord, verdict: Verdict, event: Event | None) -> Verdict:
    """The verdict on a golden record, which says itself what must come of it."""
    wanted = ""
    if record.refused_for and (verdict.reason != record.refused_for or record.place not in verdict.fault):
        wanted = f"it should be refused for {record.refused_for} at {record.place}"
    elif record.read_as is not None and _plain(event) != record.read_as:
        wanted = "it should be read as read_as says"
    if not wanted:
        return Verdict(record.line, name=record.name, type=verdict.type, key=verdict.key)
    outcome = f"{wanted}, and is {verdict.reason or 'taken'} {verdict.fault}".rstrip()
    return msgspec.structs.replace(verdict, reason=UNEXPECTED, fault=outcome, remedy="")


def _plain(event: Event | None) -> Any:
    return msgspec.json.decode(msgspec.json.encode(event))


def _order_fault(event: Event, line: int, newest: dict[tuple[str, ...], tuple[int, int]]) -> str:
    """What is wrong with the sequence of the event; ``newest`` has the sequence and line of each stream."""
    if not isinstance(event, Report | Statement | Capacity):
        return ""
    stream = (type(event).__name__, key_of(event), event.source, event.incarnation)
    before = newest.get(stream)
    if before is None or event.sequence > before[0]:
        newest[stream] = (event.sequence, line)
        return ""
    return f"sequence {event.sequence} is not above {before[0]}, which the record of line {before[1]} has"


def _unknown_fields(event: Any, body: Any, place: str) -> Iterator[str]:
    if isinstance(event, Struct) and isinstance(body, dict):
        fields = event.__struct_fields__
        for name, value in body.items():
            if name in fields:
                yield from _unknown_fields(getattr(event, name), value, f"{place}.{name}" if place else name)
            elif place or name != "type":
                yield f"field {place}{'.' if place else ''}{name} is not in the contract and is ignored"
    elif isinstance(event, tuple) and isinstance(body, list):
        for number, (row, item) in enumerate(zip(event, body, strict=False)):
            yield from _unknown_fields(row, item, f"{place}[{number}]")


def _show(verdict: Verdict, place: str) -> None:
    where = f"{place}:{verdict.line}" + (f" {verdict.name}" if verdict.name else "")
    if verdict.reason:
        print(f"{where}: {verdict.reason}: {verdict.fault}{'; ' if verdict.remedy else ''}{verdict.remedy}")
    elif not verdict.name:
        print(f"{where}: good, {verdict.type} under the key {verdict.key}")
    for note in verdict.notes:
        print(f"{where}: note: {note}")
