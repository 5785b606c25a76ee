"""The ledger's topic: every controller follows it, and the leader writes the totals that have grown."""

import asyncio

import structlog
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from controller.core.inspect.spend import ProviderRate
from controller.core.policy.policy import Policy
from controller.kafka.ordered_log import RETRY_FIRST_S, RETRY_LONGEST_S, Tail, start_producer
from controller.ledger.tally import USAGE_TYPE, Tally, decode_use, encode_use
from controller.process.supervise import together
from controller.routes.record import headers
from streams.producers import stop_producer
from tieline.backoff import Backoff
from tieline.cancelling import end_all
from tieline.kafka import Brokers

METER_EVERY_MS = 1_000
WRITE_FIRST_S = 2.0  # after this controller began to lead
WRITE_EVERY_S = 60.0
READ_WITHIN_S = 15.0


async def read_tally(bootstrap: str | Brokers, topic: str) -> Tally:
    """The totals that the topic holds now. Raises ``TopicMissingError``, KafkaError or TimeoutError."""
    tally = Tally()

    def take(record: ConsumerRecord[bytes | None, bytes | None]) -> None:
        if (use := decode_use(record.value)) is not None:
            tally.take(use)

    tail = Tail(bootstrap, topic, take)
    await tail.start()
    reading = asyncio.create_task(tail.run())
    try:
        await tail.read_older(READ_WITHIN_S)
    finally:
        await end_all([reading])
        await tail.stop()
    return tally


class Ledger:
    """Meters while this controller leads, and knows the totals always."""

    def __init__(self, bootstrap: str | Brokers, topic: str, *, identity: str) -> None:
        self.tally = Tally()
        self._bootstrap = bootstrap
        self._topic = topic
        self._identity = identity
        self._tail = Tail(bootstrap, topic, self._take)
        self._leads = False
        self._has_written = False
        self._metered_ms = 0
        self._used_up: tuple[Policy | None, int, tuple[str, ...]] = (None, 0, ())
        self._log = structlog.get_logger("ledger")

    def begin(self, epoch: int) -> None:
        """This controller leads now."""
        self._leads, self._has_written, self._metered_ms = True, False, 0
        self.tally.begin(epoch)

    def stand_by(self) -> None:
        """This controller leads no more, and writes nothing."""
        self._leads = False
        self.tally.unwritten.clear()

    def is_due(self, at_ms: int) -> bool:
        """Whether it is time to meter again."""
        return self._leads and at_ms - self._metered_ms >= METER_EVERY_MS

    def meter(self, rates: dict[str, ProviderRate], at_ms: int) -> None:
        """The table in force sends so much to each provider. Returns at once."""
        self._metered_ms = at_ms
        self.tally.meter(rates, at_ms)

    def used_up(self, policy: Policy, at_ms: int) -> tuple[str, ...]:
        """The providers of which every commitment is used up, sorted: as of the last second or so."""
        asked_of, asked_ms, answer = self._used_up
        if asked_of is not policy or not 0 <= at_ms - asked_ms < METER_EVERY_MS:
            answer = self.tally.used_up(policy, at_ms)
            self._used_up = (policy, at_ms, answer)
        return answer

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
        await together({"ledger read": self._tail.run(), "ledger written": self._write()})

    def _take(self, record: ConsumerRecord[bytes | None, bytes | None]) -> None:
        if (use := decode_use(record.value)) is not None:
            self.tally.take(use)

    async def _write(self) -> None:
        producer = await start_producer(self._bootstrap)
        backoff = Backoff(RETRY_FIRST_S, RETRY_LONGEST_S)
        try:
            while True:
                await asyncio.sleep(WRITE_EVERY_S if self._has_written else WRITE_FIRST_S)
                while self._leads and self.tally.unwritten:
                    use = self.tally.totals[min(self.tally.unwritten)]
                    try:
                        await producer.send_and_wait(
                            self._topic,
                            value=encode_use(use),
                            key=use.key.encode(),
                            headers=headers(USAGE_TYPE, f"{use.key}:{use.until_ms}", self._identity),
                            partition=0,
                        )
                    except KafkaError as error:
                        self._log.warning("the ledger is not written yet", error=type(error).__name__)
                        await asyncio.sleep(backoff.next_s())
                        continue
                    backoff.reset()
                    self._has_written = True
                    self.tally.unwritten.discard(use.key)
        finally:
            await stop_producer(producer)
