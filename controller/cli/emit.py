"""``tieline emit health|capacity|-``: sends events from flags, a file or standard input to Kafka."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from controller.cli.emit_lines import LinesReport, lines_of, send_lines
from controller.cli.event_input import (
    INPUT_MAX_BYTES,
    Identity,
    InputError,
    Kind,
    events,
    load,
)
from controller.cli.terminal import name_context
from controller.process import clock
from controller.process.settings import KAFKA, Settings, add_stack_arguments, read_settings
from controller.process.source_producer import source_producer
from controller.process.telemetry import quiet
from tieline.events import Capacity, Outcomes, Report
from tieline.producer import Producer, ProducerError, RefusedError

OUTCOMES = Outcomes.__struct_fields__
EXIT_FAILED = 1
GIVE_UP_AFTER_S = 60.0


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand and its own."""
    parser = subparsers.add_parser(
        "emit",
        description="Sends an event to Kafka and prints its topic, partition and offset. All pools of a "
        "region go into one event.",
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="health|capacity|-")
    health = kinds.add_parser("health", help="what a source saw of some pools in a window of time")
    capacity = kinds.add_parser("capacity", help="limits of some pools until they expire")
    for kind in (health, capacity):
        add_stack_arguments(kind)
        kind.add_argument("--source", default="", help="the source of the event, as the policy registers it")
        kind.add_argument("--pool", action="append", help="provider/region/deployment; may be given again")
        kind.add_argument("--file", help="events as YAML or JSON instead of flags; - for standard input")
        kind.add_argument("--dry-run", action="store_true", help="print the events as JSON, and send nothing")
        kind.add_argument("--json", action="store_true", help="one JSON object instead of text")
    lines = kinds.add_parser("-", help="events from standard input, one JSON object a line")
    add_stack_arguments(lines)
    lines.add_argument("--source", default="", help="the source of the events that name none")
    lines.add_argument("--dry-run", action="store_true", help="only check the lines, and send nothing")
    lines.add_argument("--json", action="store_true", help="one JSON object about all lines instead of text")
    lines.add_argument(
        "--give-up-after-s",
        type=float,
        default=GIVE_UP_AFTER_S,
        metavar="S",
        help=f"how long to wait while Kafka is away ({GIVE_UP_AFTER_S:g})",
    )
    for name in OUTCOMES:
        health.add_argument(_flag(name), type=int, metavar="N", help=f"attempts that ended {name}")
    health.add_argument("--units", type=float, help="load served in the window, e.g. tokens")
    health.add_argument("--first-token-p50-ms", type=float)
    health.add_argument("--first-token-p99-ms", type=float)
    health.add_argument("--in-flight", type=int)
    health.add_argument("--oldest-in-flight-ms", type=int)
    health.add_argument(
        "--interval-ms", type=int, help="length of the window, and time until the next event (10000)"
    )
    capacity.add_argument("--limit-units-per-s", type=float, help="everything that is usable now")
    capacity.add_argument(
        "--committed-units-per-s", type=float, help="the part of it that is paid for already"
    )
    capacity.add_argument("--in-use-units-per-s", type=float)
    capacity.add_argument("--price-per-million-units", type=float)
    capacity.add_argument("--expires-after-ms", type=int, help="for how long this counts (600000)")


def run(args: argparse.Namespace) -> int:
    """Returns 0 when Kafka acknowledged all events, 1 when it did not take one. Raises InputError."""
    settings = read_settings(args, os.environ, needs=(KAFKA,))
    name_context(settings)
    identity = Identity(args.source, secrets.token_hex(8), clock.now_ms())
    if args.kind == "-":
        return asyncio.run(_lines(args, settings, identity))
    place, descriptions = _descriptions(args, identity.now_ms)
    to_send = events(args.kind, descriptions, identity, place=place)
    if args.dry_run:
        print(msgspec.json.encode(EmitReport(tuple(to_send), is_sent=False)).decode())
        return 0
    return asyncio.run(_checked_and_sent(settings, to_send, as_json=args.json))


class EmitReport(Struct, frozen=True):
    """What `--json` and `--dry-run` print. ``records``: topic, partition and offset of each event."""

    events: tuple[Report | Capacity, ...]
    is_sent: bool
    records: tuple[tuple[str, int, int], ...] = ()


async def _lines(args: argparse.Namespace, settings: Settings, identity: Identity) -> int:
    quiet()  # each line that is refused is named here
    lines = lines_of(sys.stdin.buffer)
    report = LinesReport()
    async with AsyncExitStack() as closing:
        producer = None
        if not args.dry_run:
            producer = source_producer(settings)
            await closing.enter_async_context(producer)
        await send_lines(lines, identity, producer, report, give_up_after_s=args.give_up_after_s)
    if args.json:
        print(msgspec.json.encode(report).decode())
    else:
        what = "are well-formed" if args.dry_run else "sent"
        sys.stderr.write(f"{report.lines:,} lines: {report.sent:,} {what}, {report.refused:,} refused.\n")
    if report.is_cut_short:
        sys.stderr.write(f"Kafka took no more, so nothing behind line {report.lines:,} was read.\n")
    return EXIT_FAILED if report.refused else 0


async def _checked_and_sent(settings: Settings, to_send: list[Report | Capacity], *, as_json: bool) -> int:
    async with source_producer(settings) as producer:
        for event in to_send:
            try:
                await producer.check(event)
            except RefusedError as error:
                raise InputError(f"Nothing was sent: {error}.") from None
        if why := producer.status.feedback_error:
            sys.stderr.write(f"The events can't be checked against the policy: {why}.\n")
        return await _send(producer, to_send, as_json=as_json)


async def _send(producer: Producer, to_send: list[Report | Capacity], *, as_json: bool) -> int:
    records: list[tuple[str, int, int]] = []
    for event in to_send:
        try:
            sent = await producer.send(event)
        except ProducerError as error:
            sys.stderr.write(f"Not sent: {error}.\n")
            return EXIT_FAILED
        records.append((sent.topic, sent.partition, sent.offset))
        if as_json:
            continue
        kind = "health" if isinstance(event, Report) else "capacity"
        print(
            f"{sent.topic} partition {sent.partition} offset {sent.offset}: {kind} of "
            f"{event.provider}/{event.region} ({len(event.pools)} pools) from {event.source}"
        )
    if as_json:
        report = EmitReport(tuple(to_send), is_sent=True, records=tuple(records))
        print(msgspec.json.encode(report).decode())
    return 0


def _descriptions(args: argparse.Namespace, now_ms: int) -> tuple[str, list[dict[str, Any]]]:
    """Where the events come from, and the events as plain values. Raises InputError."""
    if args.file and args.pool:
        raise InputError("Give either --file or --pool, not both.")
    if args.file:
        return _read(args.file)
    if not args.pool:
        raise InputError("Name at least one --pool provider/region/deployment, or a --file.")
    kind: Kind = args.kind
    description = _health(args) if kind == "health" else _capacity(args, now_ms)
    return "command line", [description]


def _read(name: str) -> tuple[str, list[dict[str, Any]]]:
    place = "standard input" if name == "-" else name
    try:
        text = sys.stdin.read(INPUT_MAX_BYTES + 1) if name == "-" else Path(name).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{place} can't be read: {error}.") from None
    return place, load(text, place)


def _health(args: argparse.Namespace) -> dict[str, Any]:
    outcomes = _set(args, OUTCOMES)
    fields = ("units", "first_token_p50_ms", "first_token_p99_ms", "in_flight", "oldest_in_flight_ms")
    row = {"outcomes": outcomes, **_set(args, fields)}
    return {"pools": [{"pool": pool, **row} for pool in args.pool], **_set(args, ("interval_ms",))}


def _capacity(args: argparse.Namespace, now_ms: int) -> dict[str, Any]:
    fields = ("limit_units_per_s", "committed_units_per_s", "in_use_units_per_s", "price_per_million_units")
    row = _set(args, fields)
    expiry = {} if args.expires_after_ms is None else {"expires_ms": now_ms + args.expires_after_ms}
    return {"pools": [{"pool": pool, **row} for pool in args.pool], **expiry}


def _set(args: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
