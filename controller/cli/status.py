"""`tieline status`: who leads, which generation is in force, and every provider and pool with its reason.

It reads the newest publication from Kafka and the live tables from Redis, or what Redis alone has.
"""

import argparse
import asyncio
import os
from typing import Any

import msgspec
from aiokafka.errors import KafkaError
from msgspec import Struct
from redis.exceptions import RedisError

from controller.cli import status_tables
from controller.cli.controllers import ControllerRow, controller_line, controllers
from controller.cli.leadership import LeaderRow, leading
from controller.cli.live import read_commands, snapshot_of
from controller.cli.overview import Overview, from_slices, overview
from controller.cli.sightings import (
    ClientsSeen,
    DeadLettersSeen,
    clients_seen,
    dead_letters_seen,
    overlay_seen,
)
from controller.cli.status_head import exit_status
from controller.cli.terminal import screen
from controller.commands.log import CommandLog
from controller.core.assessment import assess
from controller.core.guards.withheld import MODES
from controller.core.inspect.alarms import alarms
from controller.core.model.memory import Memory
from controller.core.model.reasons import State, Verdict
from controller.core.planner import step
from controller.core.policy.policy import decode_policy
from controller.core.snapshot import Snapshot
from controller.leading.routes_reader import READ_WITHIN_S, RoutesReader
from controller.process.clock import now_ms
from controller.process.connections import connect_redis
from controller.process.errors import UserError
from controller.process.settings import KAFKA, REDIS, Settings, add_stack_arguments, read_settings
from controller.process.telemetry import quiet
from controller.routes.record import RoutesRecord
from streams.store import Contents
from streams.tables import RedisTables
from tieline.events import Command
from tieline.keys import MANIFEST_FIELD, slice_field
from tieline.overlay import Overlay
from tieline.table import RouteTable, decode_manifest, decode_slice


class Status(Struct, frozen=True):
    """Everything that `--json` prints.

    ``commands``: the orders in force. ``withheld``: what keeps the table as it is although load should move.
    ``alarms``: what a person must look at. ``missing``: what could not be read, and why. ``clients``,
    ``overlay`` and ``dead_letters``: None where they could not be read, or where there is no overlay.
    ``controllers``: those that said something within the last minute.
    """

    generation: str
    published_ms: int
    at_ms: int
    unsigned_dev_mode: bool | None
    policy_version: str
    leader: LeaderRow | None
    overview: Overview
    commands: tuple[Command, ...] = ()
    withheld: tuple[Verdict, ...] = ()
    alarms: tuple[Verdict, ...] = ()
    missing: tuple[str, ...] = ()
    clients: ClientsSeen | None = None
    overlay: Overlay | None = None
    dead_letters: DeadLettersSeen | None = None
    controllers: tuple[ControllerRow, ...] = ()


class FromKafka(Struct, frozen=True):
    """What Kafka holds: the newest publication, who leads, the orders, and recent dead letters."""

    record: RoutesRecord
    leader: LeaderRow | None
    commands: CommandLog
    dead_letters: DeadLettersSeen | None
    controllers: tuple[ControllerRow, ...] = ()


class FromRedis(Struct, frozen=True):
    """What Redis holds: the live tables, the table of the newest generation there, and the overlay."""

    contents: Contents = Contents()
    projected: RouteTable | None = None
    overlay: Overlay | None = None


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser("status", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    add_stack_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """0: nothing is wrong. 1: something is shed, an alarm stands, or nobody leads. 2: it can't be known."""
    settings = read_settings(args, os.environ, needs=())
    if not settings.kafka and not settings.redis:
        read_settings(args, os.environ, needs=(KAFKA, REDIS))
    quiet()
    status = asyncio.run(_read(settings))
    if args.json:
        print(msgspec.json.encode(status).decode())
    else:
        status_tables.draw(status, screen())
    return exit_status(status)


async def _read(settings: Settings) -> Status:
    missing: list[str] = []
    from_kafka, from_redis = await asyncio.gather(
        _from_kafka(settings, missing), _from_redis(settings, missing)
    )
    contents, projected, at_ms = from_redis.contents, from_redis.projected, now_ms()
    clients = clients_seen(contents, at_ms) if settings.redis and not missing else None
    if from_kafka is not None and from_kafka.record.table is not None:
        record = from_kafka.record
        commands = from_kafka.commands.in_force(at_ms)
        policy = decode_policy(record.policy)
        snapshot = snapshot_of(record, contents, commands)
        rows = overview(
            from_kafka.record.table,
            contents,
            at_ms,
            memory=record.memory,
            policy=policy,
            commands=commands,
            usable=usable_now(snapshot, at_ms) if not missing else {},
        )
        return Status(
            generation=str(record.generation),
            published_ms=record.published_ms,
            at_ms=at_ms,
            unsigned_dev_mode=record.unsigned_commands,
            policy_version=record.policy_version,
            leader=from_kafka.leader,
            overview=rows,
            commands=commands,
            withheld=() if missing else held_back(snapshot, at_ms),
            alarms=alarms(snapshot, record.memory or Memory(), at_ms),
            missing=tuple(missing),
            clients=clients,
            overlay=from_redis.overlay,
            dead_letters=from_kafka.dead_letters,
            controllers=from_kafka.controllers,
        )
    if projected is None:
        why = "; ".join(missing) or "no controller has published yet: start one with `tieline controller`"
        raise UserError(f"nothing to show: {why}")
    return Status(
        generation=str(projected.generation),
        published_ms=projected.made_ms,
        at_ms=at_ms,
        unsigned_dev_mode=None,
        policy_version="",
        leader=None,
        overview=overview(projected, contents, at_ms),
        missing=tuple(missing),
        clients=clients,
        overlay=from_redis.overlay,
    )


def held_back(snapshot: Snapshot, at_ms: int) -> tuple[Verdict, ...]:
    """What keeps the table as it is: moves that the mode of their pools' provider holds back, and guards."""
    ready = step(snapshot, at_ms)
    modes = MODES.values()
    return tuple(verdict for verdict in ready.decisions if ready.table is None or verdict.reason in modes)


def usable_now(snapshot: Snapshot, at_ms: int) -> dict[str, float]:
    """Pool -> what the planner lets it carry now, in units/s: within limits, headroom and ramps; nothing
    where the pool is down, drained or under maintenance."""
    assessment = assess(snapshot, at_ms)
    withdrawn, pools = assessment.claims.withdrawn, assessment.memory.pools
    return {
        name: 0.0 if index in withdrawn or pools[name].state is State.DOWN else usable
        for index, (name, usable) in enumerate(
            zip(assessment.compiled.pools, assessment.use.limits.usable, strict=True)
        )
    }


async def _from_kafka(settings: Settings, missing: list[str]) -> FromKafka | None:
    if not settings.kafka:
        missing.append(f"{KAFKA} is not set: so states, reasons and the leader are not known")
        return None
    try:
        async with asyncio.timeout(READ_WITHIN_S):
            async with RoutesReader(settings.kafka, settings.topics) as routes:
                record = routes.newest()
            if record is None:
                rows = await controllers(settings, now_ms())
                missing.extend(controller_line(row) for row in rows if row.is_unwell)
                return None
            commands = await read_commands(settings, record)
            letters = await dead_letters_seen(settings, now_ms())
            present = await controllers(settings, now_ms())
            leader = await leading(settings)
            return FromKafka(record, leader, commands, dead_letters=letters, controllers=present)
    except (KafkaError, TimeoutError, UserError) as error:
        missing.append(f"Kafka can't be read: {str(error) or type(error).__name__}")
        return None


async def _from_redis(settings: Settings, missing: list[str]) -> FromRedis:
    if not settings.redis:
        missing.append(f"{REDIS} is not set: so stated capacity and load are not known")
        return FromRedis()
    redis = connect_redis(settings.redis)
    try:
        contents = await RedisTables(redis, settings.keys).read()
        overlay = await overlay_seen(redis, settings, now_ms())
        return FromRedis(contents, await _projected(redis, settings), overlay)
    except (RedisError, OSError) as error:
        missing.append(f"Redis can't be read: {str(error) or type(error).__name__}")
        return FromRedis()
    finally:
        await redis.aclose()


async def _projected(redis: Any, settings: Settings) -> RouteTable | None:
    fields = await redis.hgetall(settings.keys.routes)
    raw = fields.get(MANIFEST_FIELD.encode())
    if raw is None:
        return None
    manifest = decode_manifest(raw)
    parts = {
        name: decode_slice(fields[slice_field(name).encode()], checksum)
        for name, checksum in sorted(manifest.slices.items())
        if slice_field(name).encode() in fields
    }
    return from_slices(manifest.generation, manifest.made_ms, parts)
