"""`tieline deadletter`: looks at records that could not be taken, appends them again, or puts them aside.

A record that breaks the contract of events goes to the dead-letter topic whole, with the reason, for seven
days. Mend the cause first (a source that the policy does not know, for example). Then `redrive` appends the
record to its own topic once more, byte for byte, where it is checked like any other. `discard` notes that
nothing more is needed. Both are noted beside the letter, so that a letter is not redriven twice by mistake.
"""

import argparse
import asyncio
import getpass
import os
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from controller.cli.letters import By, LetterDesk, LetterOutcome, handled, opened, redrive_fault
from controller.cli.tables import fitted_table
from controller.cli.terminal import instant_ms, name_context, screen
from controller.core.model.words import duration
from controller.kafka.letter_log import LetterBody, LetterRow
from controller.process.clock import now_ms
from controller.process.errors import UserError
from controller.process.settings import KAFKA, Settings, add_stack_arguments, read_settings
from controller.process.telemetry import quiet, without_controls
from controller.status.words import utc
from tieline.errors import UNDECODABLE

EXIT_NOT_APPLIED = 1
SHOWN_MAX = 30
BODY_SHOWN_MAX = 4_000
LETTERS_MAX = 1_000
AT_ONCE_MAX = 100  # whose bodies are in memory together


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        "deadletter", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    listing = verbs.add_parser("list", description="Counts letters by reason, and lists those that wait.")
    listing.add_argument("--from", dest="since", default="-7d", metavar="TIME", help="not older (-7d)")
    listing.add_argument("--all", action="store_true", help="also letters that were redriven or discarded")
    _add_choice(listing)
    show = verbs.add_parser("show", description="Shows one letter: why, where it came from, and its body.")
    show.add_argument("number", type=int, metavar="NUMBER", help="of the letter, as `list` names it")
    for parser_of_verb in (listing, show):
        parser_of_verb.add_argument("--json", action="store_true", help="one JSON object instead of text")
        add_stack_arguments(parser_of_verb)
    redrive = verbs.add_parser("redrive", description="Appends the records of letters to their topics again.")
    redrive.add_argument("--again", action="store_true", help="also if somebody redrove or discarded it")
    discard = verbs.add_parser("discard", description="Notes that letters need nothing more.")
    for parser_of_verb in (redrive, discard):
        parser_of_verb.add_argument(
            "numbers", type=int, nargs="*", metavar="NUMBER", help="of letters, as `list` names them"
        )
        _add_choice(parser_of_verb)
        parser_of_verb.add_argument("--reason", required=True, help="why; it is noted beside the letter")
        parser_of_verb.add_argument("--actor", help="who does it (default: your login)")
        parser_of_verb.add_argument("--dry-run", action="store_true", help="say what would be done")
        parser_of_verb.add_argument("--json", action="store_true", help="one JSON object instead of text")
        add_stack_arguments(parser_of_verb)


def _add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rejected-for", metavar="CODE", help="only letters with this reason, such as unknown_source"
    )


def run(args: argparse.Namespace) -> int:
    """0: it was done. 1: some letter could not be redriven or discarded."""
    settings = read_settings(args, os.environ, needs=(KAFKA,))
    quiet()
    if args.verb == "list":
        return asyncio.run(_list(args, settings))
    if args.verb == "show":
        return asyncio.run(_show(args, settings))
    name_context(settings)
    if bool(args.numbers) == bool(args.rejected_for):
        raise UserError("give either numbers, as `tieline deadletter list` names them, or --rejected-for")
    return asyncio.run(_change(args, settings))


async def _list(args: argparse.Namespace, settings: Settings) -> int:
    at_ms = now_ms()
    since_ms = instant_ms(args.since, at_ms, "--from")
    async with opened(settings) as desk:
        rows = tuple(
            row
            for row in desk.log.rows
            if row.append_ms >= since_ms and args.rejected_for in (None, row.reason)
        )
    listed = tuple(row for row in rows if args.all or row.state in ("waits", "redriving"))
    if args.json:
        print(msgspec.json.encode({"since_ms": since_ms, "letters": listed, "counts": counts(rows)}).decode())
    else:
        draw(rows, listed, at_ms, screen())
    return 0


def counts(rows: Sequence[LetterRow]) -> dict[str, dict[str, int]]:
    """Reason -> state -> how many letters."""
    by_reason: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        by_reason[row.reason][row.state] += 1
    return {reason: dict(states) for reason, states in sorted(by_reason.items())}


def draw(rows: Sequence[LetterRow], listed: Sequence[LetterRow], at_ms: int, console: Console) -> None:
    """The counts by reason, then the newest letters that are listed, by topic, partition and offset."""
    if not rows:
        console.print("no dead letters in this time")
        return
    table = []
    for reason, states in counts(rows).items():
        newest = max(row.append_ms for row in rows if row.reason == reason)
        figures = (states.get(state, 0) for state in ("waits", "redriving", "redriven", "discarded"))
        age = f"{duration(max(at_ms - newest, 0))} ago"
        table.append(tuple(map(Text, (reason or "?", *map(str, figures), age))))
    headings = ("rejected for", "waits", "redriving", "redriven", "discarded", "newest")
    console.print(fitted_table("dead letters", headings, table, console.width))
    newest_rows = set(sorted(row.number for row in listed)[-SHOWN_MAX:])
    lines = [
        tuple(
            map(
                Text,
                (
                    str(row.number),
                    f"{row.topic}/{row.partition}/{row.offset}",
                    row.reason or "?",
                    handled(row) if row.note else " ".join(row.place.split()),
                ),
            )
        )
        for row in listed
        if row.number in newest_rows
    ]
    if lines:
        title = "letters that wait" if all(row.note is None for row in listed) else "letters"
        console.print(fitted_table(title, ("number", "from", "rejected for", "why"), lines, console.width))
    if len(listed) > SHOWN_MAX:
        console.print(f"and {len(listed) - SHOWN_MAX:,} older ones: --json lists all, --rejected-for fewer")


async def _show(args: argparse.Namespace, settings: Settings) -> int:
    async with opened(settings, keep=(args.number,)) as desk:
        row, body = desk.log.row(args.number), desk.log.bodies.get(args.number)
    if row is None or body is None:
        raise UserError(f"there is no dead letter {args.number}: see `tieline deadletter list`")
    headers = [(name, (text or b"").decode("utf-8", "replace")) for name, text in body.headers]
    if args.json:
        key = (body.key or b"").decode("utf-8", "replace")
        shown = {"letter": row, "key": key, "headers": headers, "body": body_text(body)}
        print(msgspec.json.encode(shown).decode())
        return 0
    lines = [
        f"letter {row.number}, {utc(row.append_ms)}, {handled(row)}",
        f"rejected for: {row.reason}: {row.place}",
        f"from: {row.topic} partition {row.partition} offset {row.offset} (topic id {row.topic_id})",
        f"key: {(body.key or b'').decode('utf-8', 'replace')}",
        *(f"header {name}: {text}" for name, text in headers),
        f"body, {row.size_bytes:,} bytes:",
        body_text(body),
        *([f"it can't be redriven: {row.unfit}"] if row.unfit else []),
    ]
    print(without_controls("\n".join(lines)))
    return 0


def body_text(body: LetterBody) -> str:
    """The body as text: decoded msgpack or JSON if it is either, else as it is, at most 4,000 characters."""
    value = body.value or b""
    for decode in (msgspec.json.decode, msgspec.msgpack.decode):
        try:
            decoded = decode(value)
            if isinstance(decoded, dict | list):
                text = msgspec.json.format(msgspec.json.encode(decoded)).decode()
                return text[:BODY_SHOWN_MAX]
        except (*UNDECODABLE, ValueError, TypeError):
            continue
    return value[:BODY_SHOWN_MAX].decode("utf-8", "backslashreplace")


async def _change(args: argparse.Namespace, settings: Settings) -> int:
    """Redrives or discards the letters that were named, one after the other."""
    numbers = list(dict.fromkeys(args.numbers)) or await _of_reason(args, settings)
    if not numbers:
        raise UserError(
            f"no letter that was rejected for {args.rejected_for!r} waits: see `tieline deadletter list`"
        )
    if len(numbers) > LETTERS_MAX:
        raise UserError(f"{len(numbers):,} letters at once are more than {LETTERS_MAX:,}: name their numbers")
    by = By(args.actor or getpass.getuser(), args.reason, again=getattr(args, "again", False))
    outcomes: list[LetterOutcome] = []
    for first in range(0, len(numbers), AT_ONCE_MAX):
        together = numbers[first : first + AT_ONCE_MAX]
        async with opened(settings, keep=together) as desk:
            outcomes += [await _one(args, desk, settings, number, by) for number in together]
    if args.json:
        print(msgspec.json.encode({"dry_run": args.dry_run, "letters": outcomes}).decode())
    else:
        for outcome in outcomes:
            to = f" to {outcome.to}" if outcome.to else ""
            print(without_controls(f"letter {outcome.number}: {outcome.words}{to}"))
    return 0 if all(outcome.done for outcome in outcomes) else EXIT_NOT_APPLIED


async def _of_reason(args: argparse.Namespace, settings: Settings) -> list[int]:
    async with opened(settings) as desk:
        return [
            row.number for row in desk.log.rows if row.reason == args.rejected_for and row.state == "waits"
        ]


async def _one(
    args: argparse.Namespace, desk: LetterDesk, settings: Settings, number: int, by: By
) -> LetterOutcome:
    if not args.dry_run:
        return await (desk.redrive if args.verb == "redrive" else desk.discard)(number, by)
    row = desk.log.row(number)
    if row is None:
        return LetterOutcome(number, False, "there is no such letter: see `tieline deadletter list`")
    if args.verb == "redrive" and (fault := redrive_fault(row, settings.topics, again=by.again)):
        return LetterOutcome(number, False, fault)
    if args.verb == "discard" and row.state in ("redriven", "discarded"):
        return LetterOutcome(number, False, handled(row))
    return LetterOutcome(number, True, f"would be {'redriven' if args.verb == 'redrive' else 'discarded'}")
