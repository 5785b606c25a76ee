"""`tieline rebuild`: writes into Redis what Kafka says, as if Redis had been empty.

Redis holds a projection of Kafka. Controllers fill it by themselves when it comes back empty or older. This
command does it when its contents are doubted, or when no controller runs: the tables of evidence are folded
anew from their topics, and the newest publication that counts takes the place of the routes. Clients keep
their table meanwhile.

What lies in Redis alone stays as it is: the emergency overlay, an adoption, and which pool holds what for
clients. An overlay that was lost comes back from the file that `tieline overlay --out` wrote.
"""

import argparse
import asyncio
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from controller.cli.terminal import name_context
from controller.core.policy.policy import decode_policy
from controller.core.policy.registry import registry_of
from controller.leading.routes_reader import RoutesReader
from controller.process.clock import now_ms, stopwatch_s
from controller.process.connections import connect_redis
from controller.process.errors import UserError
from controller.process.seal import NO_SEAL, SIGNING_KEY_FILE, Seal, controller_seal
from controller.process.settings import KAFKA, REDIS, Settings, add_stack_arguments, read_settings
from controller.process.telemetry import quiet
from controller.routes.overlay_keeper import put_overlay
from controller.routes.projection import Projector
from controller.routes.record import RoutesRecord
from streams.contract_check import Judge
from streams.memory import MemoryTables
from streams.rebuild import rebuild
from streams.settings import IngestSettings
from streams.tables import RedisTables
from streams.topic_ids import topic_facts
from tieline.cancelling import end_all
from tieline.keys import Keys
from tieline.overlay import Overlay, OverlayError, peek
from tieline.table import Generation

PROJECTED_WITHIN_S = 30.0
PLACE_FIELDS = ("lineage", "epoch", "seq", "history")
Outcome = Literal["rebuilt", "dry_run"]


class RebuildReport(Struct, frozen=True):
    """What `--json` prints. ``rows``: of the tables of evidence. ``overlay``: the id of the one in Redis."""

    outcome: Outcome
    generation: str
    pools: int
    rows: int
    tables_s: float
    routes_s: float
    overlay: str
    text: str


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser("rebuild", description=__doc__)
    parser.add_argument(
        "--overlay", metavar="FILE", help="also put this signed overlay into Redis, if it has none"
    )
    parser.add_argument("--dry-run", action="store_true", help="read Kafka, and write nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    add_stack_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """0 when Redis holds what Kafka says."""
    quiet()
    settings = read_settings(args, os.environ, needs=(KAFKA, REDIS))
    name_context(settings)
    lost = overlay_in(Path(args.overlay), settings) if args.overlay else None
    report = asyncio.run(_rebuild(settings, lost, is_rehearsal=args.dry_run))
    print(msgspec.json.encode(report).decode() if args.json else report.text)
    return 0


def overlay_in(file: Path, settings: Settings) -> tuple[Overlay, bytes]:
    """The signed overlay of a file. Raises UserError if it isn't one of this installation, or is over."""
    try:
        data = file.read_bytes()
        overlay = peek(data)
    except (OSError, OverlayError) as error:
        raise UserError(f"--overlay {file}: it can't be used: {error}") from None
    if overlay.namespace != settings.namespace:
        raise UserError(f"--overlay {file}: it is for the namespace {overlay.namespace}")
    if overlay.expires_ms <= now_ms():
        raise UserError(f"--overlay {file}: it has expired: sign a new one with `tieline overlay exclude`")
    return overlay, data


def writing_seal(settings: Settings) -> Seal:
    """How the routes are signed. Raises UserError where clients would not believe them."""
    if settings.controller_keys is not None and settings.signing_key is None:
        raise UserError(
            f"tables are signed here, and clients take no others: set {SIGNING_KEY_FILE}, or start a "
            "controller"
        )
    return controller_seal(settings.signing_key, settings.controller_keys)


async def _rebuild(
    settings: Settings, lost: tuple[Overlay, bytes] | None, *, is_rehearsal: bool
) -> RebuildReport:
    seal = NO_SEAL if is_rehearsal else writing_seal(settings)
    async with RoutesReader(settings) as routes:
        record = routes.newest()
    if record is None or record.table is None:
        raise UserError("Kafka has no publication yet: start a controller with `tieline controller`")
    topics = settings.topics.routes.name, settings.topics.leader.name
    facts = await topic_facts(settings.kafka, topics)
    history, leader_log = (facts[topic].id for topic in topics)
    redis = connect_redis(settings.redis, settings.keys)
    try:
        fields = await redis.hmget(settings.keys.routes, PLACE_FIELDS)
        require_same_history(fields, record.generation, history)
        began_s = stopwatch_s()
        rows = await _tables(settings, redis, record, is_rehearsal=is_rehearsal)
        tables_s = stopwatch_s() - began_s
        if not is_rehearsal:
            logs = (history, leader_log)
            await _routes(redis, settings.keys, record, logs=logs, seal=seal)
            if lost is not None:
                await put_overlay(redis, settings.keys, *lost, only_if_none=True)
        return await _report(
            redis,
            settings.keys,
            record,
            rows=rows,
            tables_s=tables_s,
            routes_s=stopwatch_s() - began_s - tables_s,
            outcome="dry_run" if is_rehearsal else "rebuilt",
        )
    finally:
        await redis.aclose()


def require_same_history(fields: Sequence[bytes | None], new: Generation, history: str) -> None:
    """Raises UserError where Redis holds another history of Kafka: only a person may say which follows.

    ``fields``: those of ``PLACE_FIELDS`` as they lie in Redis.
    """
    lineage, epoch, seq, stored_history = fields
    if lineage is None or epoch is None or seq is None:
        return
    stored = f"{lineage.decode()}:{epoch.decode()}:{seq.decode()}"
    if lineage.decode() != new.lineage:
        raise UserError(
            f"LINEAGE: Redis holds {stored}, and Kafka {new}: run `tieline adopt-lineage` if the one follows "
            "the other"
        )
    is_ahead = (int(epoch), int(seq)) > (new.epoch, new.seq)
    if is_ahead or stored_history not in (None, b"", history.encode()):
        raise UserError(
            f"LINEAGE: Redis holds {stored} from before Kafka was lost or its topics were created anew, and "
            f"Kafka's newest is {new}: name a new `lineage` in the policy, restart the controllers, and run "
            "`tieline adopt-lineage`"
        )


async def _tables(settings: Settings, redis: Any, record: RoutesRecord, *, is_rehearsal: bool) -> int:
    """Folds the tables of evidence anew. Returns how many rows they have.

    They are emptied before Kafka is read: then controllers write nothing until they are whole again, and what
    they were about to write lies in front of the ends that are read.
    """
    ingest = IngestSettings(settings.kafka, settings.namespace)
    judge = Judge(ingest.topics, registry_of(decode_policy(record.policy)))
    facts = await topic_facts(settings.kafka, ingest.consumed)
    if is_rehearsal:
        return await rebuild(ingest, MemoryTables(), judge, facts=facts, now_ms=now_ms())
    tables = RedisTables(redis, settings.keys)
    await tables.empty()
    rows = await rebuild(ingest, tables, judge, facts=facts, now_ms=now_ms())
    await tables.establish(uuid.uuid4().hex)
    return rows


async def _routes(redis: Any, keys: Keys, record: RoutesRecord, *, logs: tuple[str, str], seal: Seal) -> None:
    """Puts the publication in the place of what lies there. A controller may do the same meanwhile.

    ``logs``: the ids of the topics of routes and of leadership.
    """
    assert record.table is not None
    projector = Projector(redis, keys, seal)
    projector.history, projector.leader_log = logs
    await redis.delete(keys.routes)
    projector.project(record.table, record.urgent_seq, record.parents)
    running = asyncio.create_task(projector.run())
    try:
        await projector.head_start(PROJECTED_WITHIN_S)
    finally:
        await end_all([running])
    if projector.failing or not await redis.hexists(keys.routes, PLACE_FIELDS[0]):
        raise UserError("Redis did not take the routes: look at `tieline doctor`, and run this again")


async def _report(
    redis: Any,
    keys: Keys,
    record: RoutesRecord,
    *,
    rows: int,
    tables_s: float,
    routes_s: float,
    outcome: Outcome,
) -> RebuildReport:
    assert record.table is not None
    data = await redis.get(keys.overlay)
    overlay = peek(data).id if data else ""
    pools = len(record.table.pools)
    done = "Redis holds" if outcome == "rebuilt" else "nothing was written; Redis would hold"
    text = (
        f"{done} {record.generation} with {pools} pools, and {rows} rows of evidence "
        f"(tables {tables_s:.1f} s, routes {routes_s:.1f} s)\n"
        + (f"the emergency overlay {overlay} is in force" if overlay else "there is no emergency overlay")
    )
    return RebuildReport(
        outcome,
        str(record.generation),
        pools,
        rows=rows,
        tables_s=round(tables_s, 3),
        routes_s=round(routes_s, 3),
        overlay=overlay,
        text=text,
    )
