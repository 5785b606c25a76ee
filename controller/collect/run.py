"""One process of `tieline collect`: all collectors of a file, until a signal ends it."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

import structlog

from controller.collect.collector import Collected, Collector
from controller.collect.configuration import CollectorFile
from controller.collect.fetching import Fetcher
from controller.collect.rounds import Rounds
from controller.collect.watching import rounds_of
from controller.collect.webhook.receiver import Receiver
from controller.collect.webhook.serving import figures_of, listening
from controller.process import clock
from controller.process.monitor import Figure, Vitals, labelled, monitored
from controller.process.settings import Settings
from controller.process.source_producer import source_producer
from controller.process.supervise import collect_often, end_on_signals, together, until_asked
from tieline.producer import ProducerStatus

STOP_WITHIN_S = 4.0


async def run_collect(settings: Settings, file: CollectorFile) -> int:
    """Runs until SIGTERM or SIGINT; returns 0. Raises SettingError when the webhook can't listen."""
    asked_to_end = end_on_signals()
    collect_often()
    producer = source_producer(settings)
    rounds = [rounds_of(collector, producer) for collector in file.collectors]
    log = structlog.get_logger("collect")
    log.info("starting", kafka=str(settings.kafka), namespace=settings.namespace, collectors=len(rounds))
    async with AsyncExitStack() as closing:
        await closing.enter_async_context(producer)
        parts = {entry.collector.name: entry.run() for entry in rounds}
        receiver = None
        if file.webhook is not None:
            receiver = await closing.enter_async_context(listening(file.webhook, producer))
            parts["webhook"] = receiver.run(settings.kafka, settings.topics.statements.name)
        await closing.enter_async_context(
            monitored(settings.monitor, lambda: vitals_of(rounds, producer.status, receiver))
        )
        running = asyncio.create_task(together(parts))
        await until_asked(asked_to_end, running)
        running.cancel()
        await asyncio.wait({running}, timeout=STOP_WITHIN_S)
    log.info("stopped")
    return 0


class Listed:
    """Takes events in the place of Kafka, for people to look at."""

    incarnation = "once"

    def __init__(self) -> None:
        self.events: list[Collected] = []

    async def send(self, event: Collected) -> None:
        """Notes the event."""
        self.events.append(event)


async def try_collectors(
    collectors: Sequence[Collector], environment: Mapping[str, str] = os.environ
) -> dict[str, tuple[str, list[Collected]]]:
    """One round of each collector, and nothing sent: by name, why it failed (or "") and its events."""
    results = {}
    for collector in collectors:
        taken = Listed()
        rounds = rounds_of(collector, taken, environment=environment)
        fetcher = Fetcher(collector)
        try:
            await rounds.round(fetcher)
        finally:
            await fetcher.close()
        results[collector.name] = (rounds.trouble, taken.events)
    return results


def vitals_of(rounds: Sequence[Rounds], status: ProducerStatus, receiver: Receiver | None = None) -> Vitals:
    """Ready while Kafka is connected, at least one collector is read, and the webhook takes what is pushed. A
    restart would not help a feed."""
    trouble = {entry.collector.name: entry.trouble for entry in rounds}
    complaint = "" if status.connected else status.error or "not connected to Kafka yet"
    if not complaint and rounds and all(entry.succeeded_ms is None or entry.trouble for entry in rounds):
        complaint = f"no collector was read: {next(filter(None, trouble.values()), 'none has answered yet')}"
    if receiver is None:
        return Vitals(complaint, tuple(_figures(rounds)))
    return Vitals(complaint or receiver.trouble, (*_figures(rounds), *figures_of(receiver)))


def _figures(rounds: Sequence[Rounds]) -> list[Figure]:
    now_ms = clock.monotonic_ms()
    ages = {
        entry.collector.name: (now_ms - entry.succeeded_ms) / 1_000
        for entry in rounds
        if entry.succeeded_ms is not None
    }
    figures = [
        _counter("failures", "rounds that failed and sent nothing", {_name(e): e.failures for e in rounds}),
        _counter("events", "events that Kafka has taken", {_name(e): e.events for e in rounds}),
        _counter("unmatched", "names that the file maps to nothing", {_name(e): e.unmatched for e in rounds}),
        _counter("unread", "parts of bodies that could not be read", {_name(e): e.unread for e in rounds}),
    ]
    failing = {entry.collector.name: float(bool(entry.trouble)) for entry in rounds}
    return [
        *figures,
        labelled("collector_failing", "1 while the last round failed", "collector", values=failing),
        labelled(
            "collector_last_success_age_seconds", "age of the last good round", "collector", values=ages
        ),
    ]


def _counter(name: str, text: str, counts: Mapping[str, int]) -> Figure:
    values = {collector: float(count) for collector, count in counts.items()}
    return labelled(f"collector_{name}", text, "collector", values=values, counter=True)


def _name(entry: Rounds) -> str:
    return entry.collector.name
