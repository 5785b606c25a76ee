"""Writes the history: the leader hands in what it does and finds, and this sends it behind the publication.

Nothing here delays a decision. What the leader hands in is turned into entries in this task, and waits in a
bounded queue while Kafka is away; what does not fit is counted, and the count becomes an entry.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple, TypeAlias

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from controller.decisions.record import Step
from controller.history.conditions import Observation, Standing, changes, standing_conditions
from controller.history.decided import decision_entry, state_entries
from controller.history.drills import drill_entries
from controller.history.entries import HISTORY_TYPE, Entry, HistoryRecord, encode_history
from controller.history.offers import offer_entries
from controller.history.orders import RefusalPace, answered_entries
from controller.history.reader import last_record
from controller.kafka.ordered_log import RETRY_FIRST_S, RETRY_LONGEST_S, start_producer
from controller.process.errors import TopicMissingError
from controller.routes.record import OrderAnswer, headers
from streams.producers import stop_producer
from tieline.backoff import Backoff
from tieline.cancelling import whole
from tieline.events import Command, PolicyChange
from tieline.kafka import Brokers

WAITING_MAX = 500
ENTRIES_PER_RECORD_MAX = 100
LINGER_S = 0.2
STOP_WITHIN_S = 1.0


class TermBegun(NamedTuple):
    """This controller leads since ``at_ms``. ``continues``: the generation that it took over, empty for the
    first of a lineage."""

    at_ms: int
    epoch: int
    generation: str
    continues: str


class Published(NamedTuple):
    """A step that was published, with the answers to orders that its record holds."""

    step: Step
    demand: Mapping[str, float]
    answers: tuple[OrderAnswer, ...]


class Unpublished(NamedTuple):
    """A step that was not published. ``entries`` tell what changed: states of pools, offers, drills."""

    entries: tuple[Entry, ...]


Item: TypeAlias = TermBegun | Published | Unpublished


class HistoryLog:
    """Records what the leader does. ``command_of``: the order with an id, if this process has read it."""

    def __init__(
        self,
        bootstrap: str | Brokers,
        topic: str,
        *,
        identity: str,
        command_of: Callable[[str], Command | PolicyChange | None],
    ) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._identity = identity
        self._controller = f"controller {identity[:8]}"
        self._command_of = command_of
        self._waiting: deque[Item] = deque()
        self._lost = 0
        self._observation: Observation | None = None
        self._due = asyncio.Event()
        self._epoch = -1
        self._number = 0
        self._standing: Standing = {}
        self._answered_ms = 0
        self._answered: frozenset[tuple[str, int]] = frozenset()
        self._refusals = RefusalPace()
        self._backoff = Backoff(RETRY_FIRST_S, RETRY_LONGEST_S)
        self._log = structlog.get_logger("history")

    def begin(self, term: TermBegun) -> None:
        """This controller leads now. Returns at once, as all methods that take something in."""
        self._observation = None
        self._put(term)

    def published(self, step: Step, demand: Mapping[str, float], answers: tuple[OrderAnswer, ...]) -> None:
        """A step was published."""
        self._put(Published(step, demand, answers))

    def unpublished(self, step: Step) -> None:
        """A step was not published; what it says of pools' states, of offers and of drills is recorded."""
        entries = state_entries(step.ready, step.now_ms, self._controller)
        if entries := [*entries, *offer_entries(step, self._controller), *_drill_entries(step)]:
            self._put(Unpublished(tuple(entries)))

    def observe(self, observation: Observation) -> None:
        """What a step found. Only the latest observation counts."""
        last = self._observation
        if observation.holding is None and last is not None:
            observation = observation._replace(holding=last.holding)
        self._observation = observation
        self._due.set()

    def _put(self, item: Item) -> None:
        if len(self._waiting) >= WAITING_MAX:
            first = self._waiting.popleft()
            if isinstance(first, TermBegun):  # what follows belongs to that term
                self._waiting.popleft()
                self._waiting.appendleft(first)
            self._lost += 1
        self._waiting.append(item)
        self._due.set()

    async def run(self) -> None:
        """Writes until cancelled. Raises KafkaConnectionError if Kafka can't be reached at the start."""
        producer = await start_producer(self._bootstrap)
        try:
            while True:
                await self._due.wait()
                self._due.clear()
                await asyncio.sleep(LINGER_S)  # clients come first, and what happens together is one record
                await self._write(producer)
        finally:
            # Cut in half it would lose the last things that happened before the end.
            await whole(self._leave(producer))

    async def _leave(self, producer: AIOKafkaProducer) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_WITHIN_S):
                await self._write(producer)
        await stop_producer(producer)

    async def _write(self, producer: AIOKafkaProducer) -> None:
        entries: list[Entry] = []
        while self._waiting:
            item = self._waiting.popleft()
            if isinstance(item, TermBegun):
                await self._take_up(item)
            entries += self._entries_of(item)
        standing, observation = self._standing, self._observation
        if observation is not None and self._epoch >= 0:
            standing = standing_conditions(observation, standing)
            entries += changes(self._standing, standing, observation.at_ms, observation.drills)
            entries += self._refusals.summary(observation.at_ms)
        if self._lost and entries:
            entries.append(self._gap(entries[-1].at_ms))
        if not entries:
            return
        entries.sort(key=lambda entry: entry.at_ms)
        self._standing = standing
        for first in range(0, len(entries), ENTRIES_PER_RECORD_MAX):
            await self._send(producer, tuple(entries[first : first + ENTRIES_PER_RECORD_MAX]))

    async def _take_up(self, term: TermBegun) -> None:
        """Goes on where the last writer stopped, so that a take-over repeats nothing and loses no end."""
        while True:
            try:
                newest = await last_record(self._bootstrap, self._topic)
            except (KafkaError, TimeoutError, TopicMissingError) as error:
                self._log.warning("the history can't be read", error=type(error).__name__)
                await asyncio.sleep(self._backoff.next_s())
            else:
                break
        self._backoff.reset()
        self._epoch = term.epoch
        self._standing = {entry.key: entry for entry in newest.standing} if newest else {}
        self._answered_ms = newest.answered_ms if newest else 0
        self._answered = frozenset()

    def _entries_of(self, item: Item) -> list[Entry]:
        match item:
            case TermBegun():
                return [_leader_entry(item, self._controller)]
            case Unpublished():
                return list(item.entries)
            case Published():
                return self._published_entries(item)

    def _published_entries(self, item: Published) -> list[Entry]:
        step = item.step
        new = [answer for answer in item.answers if self._is_new(answer)]
        self._answered = frozenset((answer.id, answer.append_ms) for answer in item.answers)
        self._answered_ms = max([self._answered_ms, *(answer.append_ms for answer in item.answers)])
        entries = self._refusals.within(answered_entries(new, self._command_of))
        entries = [*entries, *offer_entries(step, self._controller), *_drill_entries(step)]
        decision = decision_entry(step, item.demand, self._controller)
        if decision is not None:
            return [*entries, decision]
        return [*entries, *state_entries(step.ready, step.now_ms, self._controller)]

    def _is_new(self, answer: OrderAnswer) -> bool:
        """Whether the history does not hold the answer yet. Until this term has written answers itself, the
        time of the order says so; after that its id and time."""
        if self._answered:
            return (answer.id, answer.append_ms) not in self._answered
        return answer.append_ms > self._answered_ms

    def _gap(self, at_ms: int) -> Entry:
        text = f"{self._lost} entries of the history are missing, as Kafka took none"
        self._lost = 0
        return Entry(at_ms, "gap", "table", text=text, severity="warning", key=f"gap:{at_ms}")

    async def _send(self, producer: AIOKafkaProducer, entries: tuple[Entry, ...]) -> None:
        self._number += 1
        record = HistoryRecord(
            self._epoch,
            self._identity,
            self._number,
            entries=entries,
            standing=tuple(self._standing.values()),
            answered_ms=self._answered_ms,
        )
        body = encode_history(record)
        event_id = f"{self._identity[:8]}:{self._number}"
        while True:
            try:
                await producer.send_and_wait(
                    self._topic,
                    value=body,
                    headers=headers(HISTORY_TYPE, event_id, self._identity),
                    partition=0,
                )
            except KafkaError as error:
                self._log.warning("the history is not written yet", error=type(error).__name__)
                await asyncio.sleep(self._backoff.next_s())
            else:
                self._backoff.reset()
                return


def _drill_entries(step: Step) -> list[Entry]:
    before = step.snapshot.memory.drills if step.snapshot.memory else ()
    return list(drill_entries(before, step.ready.memory.drills))


def _leader_entry(term: TermBegun, controller: str) -> Entry:
    text = f"{controller} leads, in epoch {term.epoch}"
    if term.continues:
        text += f", and continues {term.continues}"
    return Entry(
        term.at_ms,
        "leader",
        "table",
        text=text,
        severity="warning" if term.continues else "info",
        key=f"leader:{term.epoch}",
        who=controller,
        generation=term.generation,
    )
