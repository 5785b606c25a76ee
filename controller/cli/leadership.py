"""Who leads, for commands that only read it off the last records of the leader log."""

from aiokafka.structs import ConsumerRecord
from msgspec import Struct

from controller.cli.live import read_once
from controller.kafka.ordered_log import Tail
from controller.leading.claim_rule import LeaderLog
from controller.process.settings import Settings
from controller.routes.counting_rule import NO_EPOCH
from tieline.cloudevents import Poison, decode
from tieline.events import Heartbeat

HEARTBEATS_READ_MAX = 50


class LeaderRow(Struct, frozen=True):
    """Who leads: ``heard_ms`` is the append time of the last heartbeat."""

    epoch: int
    heard_ms: int
    identity: str
    resigned: bool


async def leading(settings: Settings) -> LeaderRow | None:
    """Who leads, by the last records of the leader log, in which heartbeats name the epoch in force; None if
    nobody ever led. Raises KafkaError or TimeoutError."""
    log = LeaderLog()
    identity = ""

    def take(record: ConsumerRecord[bytes | None, bytes | None]) -> None:
        nonlocal log, identity
        try:
            event = decode(record.headers, record.value)
        except Poison:
            return
        log = log.apply(record.offset, record.timestamp, event)
        if isinstance(event, Heartbeat) and event.epoch == log.epoch:
            identity = event.identity

    tail = Tail(settings.kafka, settings.topics.leader.name, take)
    await tail.start(last=HEARTBEATS_READ_MAX)
    log = LeaderLog.starting_at(tail.first_offset)
    await read_once(tail)
    if log.epoch == NO_EPOCH:
        return None
    return LeaderRow(log.epoch, log.heartbeat_append_ms, identity, resigned=log.resigned)
