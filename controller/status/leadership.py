"""Who leads, for commands that only read it off the last records of the leader log."""

from msgspec import Struct

from controller.leading.claim_rule import LeaderLog
from controller.leading.leader_tail import LeaderTail
from controller.leading.routes_reader import HEARTBEATS_READ_MAX
from controller.process.seal import Seal, read_accepted
from controller.process.settings import Settings
from controller.routes.counting_rule import NO_EPOCH
from controller.status.live import read_once


class LeaderRow(Struct, frozen=True):
    """Who leads: ``heard_ms`` is the append time of the last heartbeat."""

    epoch: int
    heard_ms: int
    identity: str
    resigned: bool


async def leading(settings: Settings) -> LeaderRow | None:
    """Who leads, by the last records of the leader log, in which heartbeats name the epoch in force; None if
    nobody ever led. Raises KafkaError or TimeoutError."""
    seal = Seal(accepted=read_accepted(settings.controller_keys))
    tail = LeaderTail(settings.kafka, settings.topics.leader.name, seal=seal)
    await tail.start(last=HEARTBEATS_READ_MAX)
    await read_once(tail)
    return leader_of(tail.log)


def leader_of(log: LeaderLog) -> LeaderRow | None:
    """Who leads by this log; None if nobody ever led."""
    if log.epoch == NO_EPOCH:
        return None
    return LeaderRow(log.epoch, log.heartbeat_append_ms, log.leader, resigned=log.resigned)
