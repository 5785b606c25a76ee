"""A rebuilt row is the row of the live fold."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from streams.contract_check import Record
from streams.fold import Refusal, fold
from streams.rows import Row
from streams.source_tail import SourceTail, SourceTails
from tests.unit.streams.made import T0_MS, at, observation, report
from tieline.cloudevents import decode, encode
from tieline.events import Report

INCARNATIONS = [f"life-{number}" for number in range(7)]
Steps = list[tuple[str, int]]


def records_of(steps: Steps) -> list[Record]:
    """``steps``: (incarnation, how many reports in a row). The sequence of each incarnation rises."""
    sequences = dict.fromkeys(INCARNATIONS, 0)
    records: list[Record] = []
    for incarnation, count in steps:
        for _ in range(count):
            sequences[incarnation] += 1
            offset = len(records)
            append_ms = T0_MS + 1_000 * offset
            event = replace(
                report(sequences[incarnation], observation("azure/eu/a")),
                incarnation=incarnation,
                window_start_ms=append_ms - 1_000,
                window_end_ms=append_ms,
            )
            encoded = encode(event, time_ms=append_ms)
            records.append(
                Record(
                    topic="reports",
                    topic_id=at(0).topic_id,
                    partition=0,
                    offset=offset,
                    append_ms=append_ms,
                    key=encoded.key,
                    value=encoded.value,
                    headers=tuple(encoded.headers),
                )
            )
    return records


def folded(records: list[Record]) -> Row | None:
    row: Row | None = None
    for record in records:
        event = decode(record.headers, record.value, record.key or b"")
        assert isinstance(event, Report)
        after = fold(row, event, record.position, record.append_ms)
        row = row if isinstance(after, Refusal) else after
    return row


def tail_of(records: list[Record]) -> list[Record]:
    tail = SourceTail()
    for record in records:
        tail.add(record)
    return tail.records()


steps = st.lists(st.tuples(st.sampled_from(INCARNATIONS), st.integers(1, 30)), min_size=1, max_size=12)


@given(steps)
def test_the_tail_folds_to_the_same_row(taken: Steps) -> None:
    """With restarts, stragglers and two producers under one name, whatever their number of reports."""
    records = records_of(taken)
    assert folded(tail_of(records)) == folded(records)


def test_a_tail_is_short() -> None:
    """Of an hour of reports without a restart eight are decoded, and of each restart two more."""
    assert len(tail_of(records_of([("life-0", 3_600)]))) == 8
    assert len(tail_of(records_of([("life-0", 1_000), ("life-1", 1_000)]))) == 10


def structured(record: Record, source: str) -> Record:
    """The same event in the structured mode, which names its source in the body."""
    event = decode(record.headers, record.value, record.key or b"")
    whole = {
        "specversion": "1.0",
        "type": "tieline.report.v1",
        "source": source,
        "id": f"{source}-{record.offset}",
        "data": msgspec.to_builtins(event),
    }
    headers = (("content-type", b"application/cloudevents+json"),)
    return record._replace(value=msgspec.json.encode(whole), headers=headers)


def test_structured_sources_have_tails_of_their_own() -> None:
    """A source that reports seldom is not lost behind one of the same region that reports often."""
    records = records_of([("life-0", 100)])
    tails = SourceTails()
    for record in records:
        tails.add(structured(record, "/seldom" if record.offset == 3 else "/often"))
    assert [record.offset for record in tails.records()] == [3, *range(92, 100)]
