"""Which records have a dead letter since a fault began.

Dead letters are delivered at least once. A letter comes again when the first attempt got no answer in time,
or when its partition moved before its mark was written (``streams.letters``). So records are counted here, by
topic id, partition and offset, and not letters. Letters of records that are older than the fault are left
out, because an earlier fault's letter may be repeated late.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from aiokafka import TopicPartition

from lab.chaos.fault import Scene
from lab.chaos.kafka_faults import TOPICS, end_offsets, evidence_places
from streams.every_record import close_reader, log_reader, open_reader

LETTERS_AT = TopicPartition(TOPICS.deadletter.name, 0)
READ_WITHIN_S = 20.0
FETCH_MAX_BYTES = 8 * 1024 * 1024
LetterHeaders = Sequence[tuple[str, bytes | None]]


class RecordPlace(NamedTuple):
    """Where the record of a dead letter lies."""

    topic: str
    topic_id: str
    partition: int
    offset: int


class NewLetters(NamedTuple):
    """The dead letters of records that were appended after ``evidence_ends``, by (topic, partition).

    ``first``: the offset on the dead-letter topic from which they are read.
    """

    bootstrap: str
    first: int
    evidence_ends: Mapping[tuple[str, int], int]

    async def reasons(self) -> dict[RecordPlace, str]:
        """The reason for each record that has a letter by now. Raises what aiokafka raises."""
        consumer = log_reader(
            self.bootstrap, auto_offset_reset="earliest", max_partition_fetch_bytes=FETCH_MAX_BYTES
        )
        await open_reader(consumer)
        try:
            consumer.assign([LETTERS_AT])
            end = (await consumer.end_offsets([LETTERS_AT]))[LETTERS_AT]
            consumer.seek(LETTERS_AT, self.first)
            letters: list[LetterHeaders] = []
            async with asyncio.timeout(READ_WITHIN_S):
                while await consumer.position(LETTERS_AT) < end:
                    letters.append((await consumer.getone(LETTERS_AT)).headers)
        finally:
            await close_reader(consumer)
        return reasons_of(letters, self.evidence_ends)


async def letters_from_now(scene: Scene, *, topic_is_new: bool = False) -> NewLetters:
    """Of records that are appended from now on. ``topic_is_new``: the dead-letter topic is about to be made
    anew, so it is read from its beginning."""
    ends = await end_offsets(scene, evidence_places())
    first = 0 if topic_is_new else (await end_offsets(scene, [LETTERS_AT]))[LETTERS_AT]
    evidence_ends = {(place.topic, place.partition): end for place, end in ends.items()}
    return NewLetters(scene.world.bootstrap, first, evidence_ends)


def reasons_of(
    letters: Iterable[LetterHeaders], evidence_ends: Mapping[tuple[str, int], int]
) -> dict[RecordPlace, str]:
    """PURE. The reason for each record that lies behind ``evidence_ends``, however many letters it has."""
    reasons = {}
    for headers in letters:
        # The record's own headers come first, so of two with one name the last one is the letter's.
        texts = {name: (value or b"").decode("utf-8", "replace") for name, value in headers}
        place = RecordPlace(
            texts["tieline_topic"],
            texts["tieline_topic_id"],
            partition=int(texts["tieline_partition"]),
            offset=int(texts["tieline_offset"]),
        )
        if place.offset >= evidence_ends.get((place.topic, place.partition), 0):
            reasons[place] = texts["tieline_reason"]
    return reasons


def summary(reasons: Mapping[RecordPlace, str]) -> str:
    """How many records of which topic have a letter for which reason."""
    counts = Counter((place.topic, reason) for place, reason in reasons.items())
    return ", ".join(f"{count} of {topic}: {reason}" for (topic, reason), count in sorted(counts.items()))
