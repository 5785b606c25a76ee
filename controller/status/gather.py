"""The status: who leads, which generation is in force, and every provider and pool with its reason.

``status_of`` makes it, purely, from what Kafka and Redis hold. ``read_status`` reads both once, for a command
that then ends; ``following`` follows them, for the live page and `tieline status --watch`.
"""

import asyncio
from collections.abc import Iterable

from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError
from msgspec import Struct
from msgspec.structs import replace

from controller.core.assessment import assess
from controller.core.evidence.reported import ReportingClients, reporting_clients
from controller.core.guards.withheld import MODES
from controller.core.inspect.alarms import alarms
from controller.core.model.memory import Memory
from controller.core.model.reasons import State, Verdict
from controller.core.planner import step
from controller.core.policy.policy import Policy
from controller.core.snapshot import Snapshot
from controller.leading.routes_reader import READ_WITHIN_S, RoutesReader
from controller.process.certificates import certificate_fault
from controller.process.clock import now_ms
from controller.process.errors import UserError
from controller.process.redis_reader import RedisUnreadError
from controller.process.settings import KAFKA, REDIS, Settings
from controller.routes.record import PendingOrder, RoutesRecord
from controller.status.controllers import ControllerRow, controller_line, controllers
from controller.status.dead_letters import DeadLettersSeen, dead_letters_seen
from controller.status.leadership import LeaderRow, leading
from controller.status.live import read_commands, snapshot_of
from controller.status.overview import Overview, overview
from controller.status.redis_side import FromRedis, RedisSide
from tieline.cancelling import end_all
from tieline.events import Command
from tieline.overlay import Overlay

NO_KAFKA = f"{KAFKA} is not set: so states, reasons and the leader are not known"
NO_REDIS = f"{REDIS} is not set: so stated capacity and load are not known"


class Status(Struct, frozen=True):
    """Everything that `--json` prints.

    ``commands``: the orders in force. ``pending``: orders that wait for the signature of another person.
    ``unnamed``: ids of orders in force whose operator the policy no longer names. ``withheld``: what keeps
    the table as it is although load should move. ``alarms``: what a person must look at. ``missing``: what
    could not be read, and why. ``clients``, ``overlay`` and ``dead_letters``: None where they could not be
    read, or where there is no overlay. ``controllers``: those that said something within the last minute.
    ``context``: the context that was asked, in words; empty without one.
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
    clients: ReportingClients | None = None
    overlay: Overlay | None = None
    dead_letters: DeadLettersSeen | None = None
    controllers: tuple[ControllerRow, ...] = ()
    context: str = ""
    policy_number: int = 0
    pending: tuple[PendingOrder, ...] = ()
    unnamed: tuple[str, ...] = ()


class FromKafka(Struct, frozen=True):
    """What Kafka holds: the newest publication, who leads, operators' orders, those that wait for another
    person, and recent dead letters. Orders that have expired since are left out of a status."""

    record: RoutesRecord
    leader: LeaderRow | None
    orders: tuple[Command, ...]
    dead_letters: DeadLettersSeen | None
    controllers: tuple[ControllerRow, ...] = ()
    pending: tuple[PendingOrder, ...] = ()


async def read_status(settings: Settings) -> Status:
    """The status now. Raises ``UserError`` when there is nothing to show."""
    missing: list[str] = []
    from_kafka, from_redis = await asyncio.gather(
        _from_kafka(settings, missing), _from_redis(settings, missing)
    )
    status = status_of(from_kafka, from_redis, now_ms(), missing=tuple(missing))
    return replace(status, context=settings.context)


def status_of(
    from_kafka: FromKafka | None, from_redis: FromRedis | None, at_ms: int, *, missing: tuple[str, ...] = ()
) -> Status:
    """The status as of ``at_ms``. None stands for what could not be read; ``missing`` says why. Pure.

    Raises ``UserError`` when there is nothing to show.
    """
    redis = from_redis or FromRedis()
    clients = (
        reporting_clients(redis.contents.demand, at_ms) if from_redis is not None and not missing else None
    )
    if from_kafka is not None and from_kafka.record.table is not None:
        return _whole(from_kafka, redis, at_ms, missing=missing, clients=clients)
    if redis.projected is None:
        why = "; ".join(missing) or "no controller has published yet: start one with `tieline controller`"
        raise UserError(f"nothing to show: {why}")
    return Status(
        generation=str(redis.projected.generation),
        published_ms=redis.projected.made_ms,
        at_ms=at_ms,
        unsigned_dev_mode=None,
        policy_version="",
        leader=None,
        overview=overview(redis.projected, redis.contents, at_ms),
        missing=missing,
        clients=clients,
        overlay=redis.overlay,
    )


def _whole(
    kafka: FromKafka,
    redis: FromRedis,
    at_ms: int,
    *,
    missing: tuple[str, ...],
    clients: ReportingClients | None,
) -> Status:
    """The status after a publication that was read."""
    record = kafka.record
    commands = tuple(order for order in kafka.orders if (order.expires_ms or 0) > at_ms)
    snapshot = snapshot_of(record, redis.contents, commands)
    assert record.table is not None
    rows = overview(
        record.table,
        redis.contents,
        at_ms,
        memory=record.memory,
        policy=snapshot.policy,
        commands=lasting_orders(commands, record.memory),
        usable=usable_now(snapshot, at_ms) if not missing else {},
    )
    return Status(
        generation=str(record.generation),
        published_ms=record.published_ms,
        at_ms=at_ms,
        unsigned_dev_mode=record.unsigned_commands,
        policy_version=record.policy_version,
        policy_number=record.policy_number,
        leader=kafka.leader,
        overview=rows,
        commands=lasting_orders(commands, record.memory),
        withheld=() if missing else held_back(snapshot, at_ms),
        alarms=alarms(snapshot, record.memory or Memory(), at_ms),
        missing=missing,
        clients=clients,
        overlay=redis.overlay,
        dead_letters=kafka.dead_letters,
        controllers=kafka.controllers,
        pending=tuple(item for item in kafka.pending if item.until_ms > at_ms),
        unnamed=unnamed_orders(commands, snapshot.policy),
    )


def lasting_orders(commands: Iterable[Command], memory: Memory | None) -> tuple[Command, ...]:
    """The orders without drills that are over: those stay in the log until their expiry and do nothing."""
    ended = {drill.id for drill in memory.drills if drill.outcome} if memory is not None else set()
    return tuple(order for order in commands if order.id not in ended)


def unnamed_orders(commands: Iterable[Command], policy: Policy) -> tuple[str, ...]:
    """Ids of orders in force whose operator the policy no longer names. They stay (docs/decisions/0011)."""
    names = {operator.id for operator in policy.operators}
    return tuple(order.id for order in commands if names and order.actor not in names)


def held_back(snapshot: Snapshot, at_ms: int) -> tuple[Verdict, ...]:
    """What keeps the table as it is: moves that the mode of their pools' provider holds back, and guards."""
    ready = step(snapshot, at_ms)
    modes = MODES.values()
    return tuple(verdict for verdict in ready.decisions if ready.table is None or verdict.reason in modes)


def usable_now(snapshot: Snapshot, at_ms: int) -> dict[str, float]:
    """Pool -> what the planner lets it carry now, in units/s: within limits, headroom and ramps; nothing
    where the pool is down, drained, evacuated or under maintenance."""
    assessment = assess(snapshot, at_ms)
    claims, pools = assessment.claims, assessment.memory.pools
    return {
        name: 0.0 if claims.emptied(index) or pools[name].state is State.DOWN else usable
        for index, (name, usable) in enumerate(
            zip(assessment.compiled.pools, assessment.use.limits.usable, strict=True)
        )
    }


async def _from_kafka(settings: Settings, missing: list[str]) -> FromKafka | None:
    if not settings.kafka:
        missing.append(NO_KAFKA)
        return None
    # The logs are read at the same time, as each of them takes several answers of a broker.
    letters = asyncio.create_task(dead_letters_seen(settings, now_ms()))
    present = asyncio.create_task(controllers(settings, now_ms()))
    leader = asyncio.create_task(leading(settings))
    try:
        async with asyncio.timeout(READ_WITHIN_S):
            async with RoutesReader(settings) as routes:
                record = routes.newest()
            if record is None:
                missing.extend(controller_line(row) for row in await present if row.is_unwell)
                return None
            commands = await read_commands(settings, record)
            return FromKafka(
                record,
                await leader,
                commands.in_force(now_ms()),
                dead_letters=await letters,
                controllers=await present,
                pending=tuple(item.brief for item in commands.waiting(now_ms())),
            )
    except (KafkaError, TimeoutError, UserError) as error:
        missing.append(f"Kafka can't be read: {kafka_trouble(error, str(settings.kafka))}")
        return None
    finally:
        await end_all((letters, present, leader))


async def _from_redis(settings: Settings, missing: list[str]) -> FromRedis | None:
    if not settings.redis:
        missing.append(NO_REDIS)
        return None
    try:
        async with RedisSide(settings) as redis:
            return await redis.now(now_ms())
    except RedisUnreadError as error:
        missing.append(f"Redis can't be read: {error.why}")
        return None


def kafka_trouble(error: Exception, address: str) -> str:
    """What is wrong with Kafka at this address, in a sentence without the words of the library."""
    match error:
        case UserError():
            return str(error)
        case KafkaConnectionError() if (fault := certificate_fault(error, KAFKA)) is not None:
            return f"TLS with {address} fails, as {fault.why}: {fault.remedy}"
        case KafkaConnectionError():
            return f"no broker answers at {address}: start it, or correct --kafka or TIELINE_KAFKA"
        case KafkaTimeoutError() | TimeoutError():
            return f"the brokers at {address} did not answer in time"
    reason = str(getattr(error, "description", None) or "it refused the request").splitlines()[0]
    return f"{reason[0].lower()}{reason[1:].rstrip('.')} ({type(error).__name__})"
