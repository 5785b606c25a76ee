"""``tieline emit -``: events from standard input, one JSON object a line, at the pace that Kafka takes them.

A bad line is named and left out, and the rest goes on. While Kafka is away nothing more is read, so whoever
writes has to wait; what has expired meanwhile is left out too.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from typing import BinaryIO

import msgspec
from msgspec import Struct

from controller.cli.event_input import Identity, InputError
from controller.cli.event_lines import Line, LineSplitter, event_in_line
from controller.process import clock
from tieline.backoff import Backoff
from tieline.cancelling import end_all
from tieline.events import Event, expires_ms
from tieline.producer import KafkaUnavailableError, MissingTopicError, Producer, ProducerError

IN_FLIGHT_MAX = 256
CHUNK_BYTES = 64 * 1024
CHUNKS_MAX = 4
REFUSED_LISTED_MAX = 1_000
RETRY_FIRST_S, RETRY_LONGEST_S = 0.2, 2.0


class RefusedLine(Struct, frozen=True):
    """A line that was left out, and why."""

    line: int
    why: str


class LinesReport(Struct):
    """What became of the lines: ``sent`` were acknowledged by Kafka (with --dry-run: are well-formed). Of the
    refused ones at most 1,000 are listed. ``is_cut_short``: nothing more was read, because Kafka was away for
    too long or has no such topic."""

    lines: int = 0
    sent: int = 0
    refused: int = 0
    refused_lines: list[RefusedLine] = []
    is_cut_short: bool = False

    def refuse(self, number: int, why: str) -> None:
        """Note a line that is left out, and tell the operator."""
        self.refused += 1
        if len(self.refused_lines) < REFUSED_LISTED_MAX:
            self.refused_lines.append(RefusedLine(number, why))
        sys.stderr.write(f"line {number}: {why}.\n")


async def send_lines(
    lines: AsyncIterator[Line],
    identity: Identity,
    producer: Producer | None,
    report: LinesReport,
    *,
    give_up_after_s: float,
) -> None:
    """Sends every line that is an event, 256 at a time, and notes in ``report`` what became of each.

    ``producer`` None: only checks them. When Kafka has not taken an event for ``give_up_after_s``, nothing
    more is read, and the report is cut short.
    """
    sending: set[asyncio.Task[None]] = set()
    room = asyncio.Semaphore(IN_FLIGHT_MAX)

    def landed(task: asyncio.Task[None]) -> None:
        sending.discard(task)
        room.release()

    try:
        async for line in lines:
            report.lines = line.number
            try:
                event = event_in_line(line, msgspec.structs.replace(identity, now_ms=clock.now_ms()))
            except InputError as error:
                report.refuse(line.number, str(error).rstrip("."))
                continue
            if event is None:
                continue
            if producer is None:
                report.sent += 1
                continue
            await room.acquire()
            if report.is_cut_short:
                break
            delivery = _Delivery(producer, report, give_up_after_s)
            task = asyncio.create_task(delivery.run(line.number, event))
            sending.add(task)
            task.add_done_callback(landed)
        while sending:
            await asyncio.wait(sending)
    finally:
        await end_all(sending)


class _Delivery:
    """One event on its way, tried again while Kafka is away."""

    def __init__(self, producer: Producer, report: LinesReport, give_up_after_s: float) -> None:
        self._producer = producer
        self._report = report
        self._give_up_after_s = give_up_after_s

    async def run(self, number: int, event: Event) -> None:
        """Returns when it is known what became of the event."""
        backoff = Backoff(RETRY_FIRST_S, RETRY_LONGEST_S)
        give_up_at_ms = clock.monotonic_ms() + round(self._give_up_after_s * 1_000)
        while True:
            try:
                await self._producer.send(event)
            except KafkaUnavailableError as error:
                expiry_ms = expires_ms(event)
                if expiry_ms is not None and expiry_ms <= clock.now_ms():
                    self._report.refuse(number, "it expired while Kafka was away")
                    return
                if self._report.is_cut_short or clock.monotonic_ms() >= give_up_at_ms:
                    self._report.is_cut_short = True
                    self._report.refuse(number, str(error))
                    return
                await asyncio.sleep(backoff.next_s())
                continue
            except ProducerError as error:
                self._report.is_cut_short |= isinstance(error, MissingTopicError)
                self._report.refuse(number, str(error))
                return
            self._report.sent += 1
            return


async def lines_of(stream: BinaryIO) -> AsyncIterator[Line]:
    """The lines of a stream that blocks, as they come. A thread reads them, at most 256 KiB ahead."""
    chunks: asyncio.Queue[bytes] = asyncio.Queue(CHUNKS_MAX)
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            while True:
                chunk = stream.read1(CHUNK_BYTES)  # type: ignore[attr-defined]
                asyncio.run_coroutine_threadsafe(chunks.put(chunk), loop).result()
                if not chunk:
                    return
        except (RuntimeError, OSError, ValueError):
            return  # the loop has ended, or the stream was closed

    # A daemon, so that an interrupted program does not wait for its input.
    threading.Thread(target=read, name="standard input", daemon=True).start()
    splitter = LineSplitter()
    while chunk := await chunks.get():
        for line in splitter.feed(chunk):
            yield line
    for line in splitter.end():
        yield line
