"""The present as one snapshot: the live tables, the newest publication and the orders in force.

It is what a controller would decide on now, for commands that explain or ask what if. Nothing is changed.
"""

import asyncio
from pathlib import Path

import msgspec
from msgspec import Struct

from controller.commands.in_force import CommandReader
from controller.commands.log import CommandLog
from controller.commands.policies import published_policy
from controller.core.policy.policy import decode_policy
from controller.core.snapshot import Office, Snapshot
from controller.kafka.ordered_log import Tail
from controller.leading.leader_tail import LeaderTail
from controller.leading.routes_reader import READ_WITHIN_S, RoutesReader
from controller.process.clock import now_ms
from controller.process.errors import UserError
from controller.process.settings import Settings
from controller.routes.record import RoutesRecord
from controller.status.redis_side import RedisSide
from streams.store import Contents
from tieline.cancelling import end_all
from tieline.errors import UNDECODABLE
from tieline.events import Command
from tieline.overlay import Overlay

SNAPSHOT_SCHEMA = 1
FILE_MAX_BYTES = 256 * 1024 * 1024


class Moment(Struct, frozen=True, omit_defaults=True):
    """A snapshot and when it was taken. ``unsigned``: operators' orders need no signature here.
    ``overlay``: the emergency overlay in Redis, whose signature is not checked."""

    at_ms: int
    snapshot: Snapshot
    unsigned: bool = False
    schema: int = SNAPSHOT_SCHEMA
    overlay: Overlay | None = None


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(Moment)


async def present(settings: Settings) -> Moment:
    """The moment now. Raises KafkaError, and ``UserError`` when nothing was published yet or Redis can't be
    read."""
    try:
        async with asyncio.timeout(READ_WITHIN_S):
            async with RoutesReader(settings) as routes:
                record = routes.newest()
            if record is None or record.table is None:
                raise UserError("no controller has published yet: start one with `tieline controller`")
            commands = await read_commands(settings, record)
            async with RedisSide(settings) as redis:
                return await moment_of(redis, record, commands.in_force(now_ms()))
    except TimeoutError:
        raise UserError(
            f"Kafka or Redis did not answer within {READ_WITHIN_S:g} s: see `tieline status`"
        ) from None


async def read_commands(settings: Settings, newest: RoutesRecord) -> CommandLog:
    """The command log as it is now, read from where the newest publication left off."""
    reader = CommandReader(
        settings.kafka,
        settings.topics.commands.name,
        policy=published_policy(newest, unsigned=newest.unsigned_commands),
        namespace=settings.namespace,
        quiet=True,
    )
    await reader.start(newest)
    await read_once(reader)
    return reader.log


async def read_once(reader: CommandReader | LeaderTail | Tail) -> None:
    """Reads what a log held when its reader was started, and stops the reader. Raises
    ``TimeoutError`` after ``READ_WITHIN_S``."""
    reading = asyncio.create_task(reader.run())
    try:
        await reader.read_older(READ_WITHIN_S)
    finally:
        await end_all([reading])
        await reader.stop()


def save(moment: Moment, path: Path) -> None:
    """Writes the moment into a file. Raises ``UserError``."""
    try:
        path.write_bytes(_encoder.encode(moment))
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror}") from None


def load(path: Path) -> Moment:
    """The moment in a file that ``save`` wrote. Raises ``UserError``."""
    try:
        if path.stat().st_size > FILE_MAX_BYTES:
            raise UserError(f"{path} is too large for a snapshot: it has more than {FILE_MAX_BYTES} bytes")
        moment = _decoder.decode(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from None
    except UNDECODABLE:
        raise UserError(f"{path} is not a snapshot: write one with `tieline whatif --save FILE`") from None
    if moment.schema != SNAPSHOT_SCHEMA:
        raise UserError(
            f"{path} is a snapshot of schema {moment.schema}, and this version reads {SNAPSHOT_SCHEMA}: "
            "write a new one with `tieline whatif --save FILE`"
        )
    return moment


async def moment_of(redis: RedisSide, record: RoutesRecord, commands: tuple[Command, ...]) -> Moment:
    """The moment after this publication, with the live tables as they are. Raises ``RedisUnreadError``."""
    from_redis = await redis.now(now_ms(), with_table=False)
    snapshot = snapshot_of(record, from_redis.contents, commands)
    return Moment(now_ms(), snapshot, record.unsigned_commands, overlay=from_redis.overlay)


def snapshot_of(record: RoutesRecord, contents: Contents, commands: tuple[Command, ...]) -> Snapshot:
    """What the next decision after this publication would rest on."""
    last = record.generation
    return Snapshot(
        decode_policy(record.policy),
        Office(last.lineage, last.epoch, last.seq + 1, took_office_ms=0, voluntary_after_ms=0),
        contents.reports,
        statements=contents.statements,
        capacities=contents.capacities,
        demand=contents.demand,
        progress=contents.progress,
        commands=commands,
        memory=record.memory,
        table=record.table,
    )
