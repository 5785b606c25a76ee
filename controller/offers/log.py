"""Reads answers to requests for capacity, and tells the requests: one reader and one writer of the topic."""

import asyncio
from collections.abc import Callable, Iterable

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from controller.core.snapshot import LoggedAnswer
from controller.kafka.ordered_log import RETRY_FIRST_S, RETRY_LONGEST_S, Tail, start_producer
from controller.process.clock import now_ms
from controller.process.supervise import together
from streams.logs import LogPace
from streams.producers import stop_producer
from tieline.backoff import Backoff
from tieline.cloudevents import Poison, decode, encode
from tieline.events import Event
from tieline.kafka import Brokers
from tieline.offers import OfferAnswer, OfferRequest
from tieline.registration import Registry, unsigned

ANSWERS_MAX = 1_000
REQUESTS_MAX = 1_000
AnswerKey = tuple[str, str, str]


def is_older(answer: OfferAnswer, newest: OfferAnswer) -> bool:
    """Whether a source gave this answer before the ``newest`` one of its own, or it is that one again.
    Somebody who copies an old answer with its signature does not undo a newer one."""
    if answer.incarnation == newest.incarnation:
        return answer.sequence <= newest.sequence
    return answer.issued_ms < newest.issued_ms


class OfferBook:
    """What the topic's records say: the newest answer of each (request, provider, source), and the newest
    record of each request with its offset. At most ``ANSWERS_MAX`` and ``REQUESTS_MAX``; the oldest go.

    ``answers_read`` counts answers, so that a reader knows whether there is a new one.
    """

    def __init__(self) -> None:
        self.answers: dict[AnswerKey, LoggedAnswer] = {}
        self.requests: dict[str, tuple[int, OfferRequest]] = {}
        self.answers_read = 0

    def take(self, event: Event | None, offset: int, append_ms: int) -> None:
        """One more record; ``event`` None is one that can't be read."""
        match event:
            case OfferAnswer():
                key = (event.offer, event.provider, event.source)
                if (newest := self.answers.get(key)) is not None and is_older(event, newest.answer):
                    return
                self.answers.pop(key, None)
                self.answers[key] = LoggedAnswer(append_ms, event)
                self.answers_read += 1
                if len(self.answers) > ANSWERS_MAX:
                    del self.answers[next(iter(self.answers))]
            case OfferRequest():
                self.note(event, offset)
            case _:
                pass

    def note(self, request: OfferRequest, offset: int) -> None:
        """The record of a request at this offset, unless a later one is known."""
        if offset < self.requests.get(request.id, (-1, request))[0]:
            return
        self.requests.pop(request.id, None)
        self.requests[request.id] = (offset, request)
        if len(self.requests) > REQUESTS_MAX:
            del self.requests[next(iter(self.requests))]

    def answers_to(self, requests: Iterable[OfferRequest]) -> tuple[LoggedAnswer, ...]:
        """The answers to those of the requests that are open, in the order in which they were read."""
        open_ids = {request.id for request in requests if request.is_open}
        if not open_ids:
            return ()
        return tuple(logged for key, logged in self.answers.items() if key[0] in open_ids)

    def untold(self, requests: Iterable[OfferRequest]) -> list[OfferRequest]:
        """The requests of which the newest record says something else, or of which there is none."""
        return [request for request in requests if self.requests.get(request.id, (0, None))[1] != request]


def event_of(record: ConsumerRecord[bytes | None, bytes | None], registry: Registry) -> Event:
    """The event of a record of the topic. Raises ``Poison`` for one that can't be read, and for an answer
    without the signature that the policy asks of its source."""
    event = decode(record.headers, record.value, record.key)
    if isinstance(event, OfferAnswer) and (poison := unsigned(event, registry, record.topic, record)):
        raise poison
    return event


class OfferLog:
    """Follows the topic, and writes to it while this controller leads. ``on_change`` is called after each
    answer.

    ``registry``: of the policy in force; its owner replaces it when the policy changes. A source that the
    policy binds to ``public_keys`` must have signed its answers, as its other events. An answer is judged
    once, when it is read, so that a forged one never takes the place of a true one.
    """

    def __init__(
        self,
        bootstrap: str | Brokers,
        topic: str,
        *,
        registry: Registry,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.book = OfferBook()
        self.registry = registry
        self._bootstrap = bootstrap
        self._topic = topic
        self._tail = Tail(bootstrap, topic, self._take)
        self._on_change = on_change
        self._published: tuple[OfferRequest, ...] = ()
        self._due = asyncio.Event()
        self._pace = LogPace()
        self._log = structlog.get_logger("offers")

    def tell(self, requests: tuple[OfferRequest, ...]) -> None:
        """A publication remembers these requests. Returns at once; what is not told yet follows."""
        self._published = requests
        self._due.set()

    def stand_by(self) -> None:
        """This controller leads no more, and tells nothing."""
        self._published = ()

    async def start(self) -> None:
        """Connects. Raises KafkaConnectionError or ``TopicMissingError``."""
        await self._tail.start()

    async def stop(self) -> None:
        """Closes the connection; ``run`` must have ended."""
        await self._tail.stop()

    async def read_older(self, within_s: float) -> None:
        """Returns once everything was read that the topic held at ``start``. Raises TimeoutError."""
        await self._tail.read_older(within_s)

    async def run(self) -> None:
        """Reads and writes until cancelled. Raises KafkaConnectionError if Kafka is away at the start."""
        await together({"offers read": self._tail.run(), "offers told": self._write()})

    def _take(self, record: ConsumerRecord[bytes | None, bytes | None]) -> None:
        event: Event | None = None
        try:
            event = event_of(record, self.registry)
        except Poison as error:
            if self._pace.allows(str(error.reason), asyncio.get_running_loop().time()):
                self._log.warning(
                    "a record of the topic of offers is not taken", offset=record.offset, why=str(error)
                )
        self.book.take(event, record.offset, record.timestamp)
        if isinstance(event, OfferAnswer):
            self._on_change()
        elif self._published:
            self._due.set()  # a deposed leader may have written behind this one

    async def _write(self) -> None:
        producer = await start_producer(self._bootstrap)
        backoff = Backoff(RETRY_FIRST_S, RETRY_LONGEST_S)
        try:
            while True:
                await self._due.wait()
                self._due.clear()
                try:
                    await self._tell_all(producer)
                    backoff.reset()
                except KafkaError as error:
                    self._log.warning("an offer is not told yet", error=type(error).__name__)
                    await asyncio.sleep(backoff.next_s())
                    self._due.set()
        finally:
            await stop_producer(producer)

    async def _tell_all(self, producer: AIOKafkaProducer) -> None:
        """Appends every request that is not told yet, as it was published last."""
        while untold := self.book.untold(self._published):
            request = untold[0]
            record = encode(request, time_ms=now_ms())
            sent = await producer.send_and_wait(
                self._topic, value=record.value, key=record.key, headers=record.headers, partition=0
            )
            self.book.note(request, sent.offset)
            self._log.info(
                "an offer was told", id=request.id, state=request.state, units_per_s=request.units_per_s
            )
