"""`tieline adopt-lineage`: lets clients go on from a lost history of Kafka to a new one.

When Kafka was lost, or its topics were created anew, generations begin again, and nobody can tell whether a
new table is newer than an old one. So clients and Redis keep the old table until a person says that the new
history follows the old one. Give the policy a new `lineage`, restart the controllers, and run this once.
"""

import argparse
import asyncio
import getpass
import os
from typing import Any, Literal

import msgspec
from msgspec import Struct

from controller.cli.terminal import name_context
from controller.leading.routes_reader import RoutesReader
from controller.process.clock import now_ms
from controller.process.connections import connect_redis
from controller.process.errors import UserError
from controller.process.settings import KAFKA, REDIS, Settings, add_stack_arguments, read_settings
from controller.process.telemetry import quiet
from controller.routes.adoption import Adoption, encode_adoption
from tieline.keys import MANIFEST_FIELD
from tieline.table import Manifest, decode_manifest

EXIT_NOT_APPLIED = 1
WAIT_S = 15.0
LOOK_EVERY_S = 0.25


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser("adopt-lineage", description=__doc__)
    parser.add_argument("--reason", required=True, help="why; the controllers log it")
    parser.add_argument("--actor", help="who decides it (default: your login)")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would follow what, and write nothing"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    add_stack_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """0 when Redis has the table of the new lineage, 1 when no controller put it there in time."""
    quiet()
    settings = read_settings(args, os.environ, needs=(KAFKA, REDIS))
    name_context(settings)
    adopting = _adopt(settings, args.actor or getpass.getuser(), args.reason, is_rehearsal=args.dry_run)
    report = asyncio.run(adopting)
    print(msgspec.json.encode(report).decode() if args.json else report.text)
    return EXIT_NOT_APPLIED if report.outcome == "unanswered" else 0


class AdoptionReport(Struct, frozen=True):
    """What `--json` prints: whether clients go on from the lineage ``follows`` to ``lineage``."""

    outcome: Literal["adopted", "unchanged", "dry_run", "unanswered"]
    lineage: str
    follows: str
    text: str


async def _adopt(settings: Settings, actor: str, reason: str, *, is_rehearsal: bool) -> AdoptionReport:
    async with RoutesReader(settings) as routes:
        record = routes.newest()
    if record is None:
        raise UserError(
            "Kafka has no publication yet: give the policy a new `lineage`, start a controller, and run this "
            "again"
        )
    new = record.generation.lineage
    redis = connect_redis(settings.redis, settings.keys)
    try:
        before = await _manifest(redis, settings)
        if before is None:
            raise UserError("Redis holds no table: the controllers put theirs there by themselves")
        old = before.generation.lineage
        if old == new:
            text = f"Redis holds the lineage {new} already: there is nothing to adopt"
            return AdoptionReport("unchanged", new, old, text=text)
        if is_rehearsal:
            text = f"the lineage {new} would follow {old}; nothing was written"
            return AdoptionReport("dry_run", new, old, text=text)
        parents = (*(name for name in before.parents if name != new), old)
        adoption = Adoption(new, parents, now_ms(), actor=actor, reason=reason)
        await redis.set(settings.keys.adoption, encode_adoption(adoption))
        if await _is_adopted(redis, settings, new):
            text = f"the lineage {new} follows {old} now: clients go on with its tables"
            return AdoptionReport("adopted", new, old, text=text)
    finally:
        await redis.aclose()
    text = (
        f"no controller put a table of the lineage {new} into Redis within {WAIT_S:g} s: see `tieline status`"
    )
    return AdoptionReport("unanswered", new, old, text=text)


async def _manifest(redis: Any, settings: Settings) -> Manifest | None:
    data = await redis.hget(settings.keys.routes, MANIFEST_FIELD)
    return decode_manifest(data) if data else None


async def _is_adopted(redis: Any, settings: Settings, lineage: str) -> bool:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WAIT_S
    while loop.time() < deadline:
        stored: bytes | None = await redis.hget(settings.keys.routes, "lineage")
        if stored == lineage.encode():
            return True
        await asyncio.sleep(LOOK_EVERY_S)
    return False
