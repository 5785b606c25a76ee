"""`tieline offers`: requests for capacity, whom they went to, and what was accepted; and answers to them.

Tieline asks providers for capacity where the plan is short: the holder of the right of first refusal first,
the others after its refusal or silence. `accept` and `decline` answer for a provider, as an order that is
signed like every other. docs/offers.md has the rules.
"""

import argparse
import asyncio
import getpass
import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from controller.cli.give_order import give
from controller.cli.order_arguments import add_order_arguments, checked_order, choices_of, new_order_id
from controller.cli.tables import fitted_table
from controller.cli.terminal import instant_ms, name_context, screen
from controller.core.offers.words import CAUSES, STATES, accepted_words, asked_words, is_of_interest
from controller.core.policy.check import near_miss
from controller.core.policy.policy import decode_policy
from controller.leading.routes_reader import RoutesReader
from controller.process.clock import now_ms
from controller.process.errors import UserError
from controller.process.settings import KAFKA, Settings, add_stack_arguments, read_settings
from controller.process.telemetry import quiet
from controller.status.words import utc
from tieline.events import Command
from tieline.offers import OfferedCapacity, OfferRequest

ANSWER_LASTS_MS = 3_600_000  # the order; what it gives lasts as it says


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        "offers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    listing = verbs.add_parser("list", description="Lists requests that are open or of use.")
    listing.add_argument("--all", action="store_true", help="also requests that have ended with nothing")
    show = verbs.add_parser("show", description="Shows one request: who was asked, and every answer.")
    for reader in (listing, show):
        reader.add_argument("--json", action="store_true", help="one JSON object instead of text")
        add_stack_arguments(reader)
    accept = verbs.add_parser("accept", description="Answers that a provider gives capacity on a pool.")
    decline = verbs.add_parser("decline", description="Answers that a provider gives nothing.")
    for parser_of_verb in (show, accept, decline):
        parser_of_verb.add_argument("id", metavar="ID", help="of the request, as `list` names it")
    accept.add_argument("scope", metavar="POOL", help="a whole pool name: where the capacity is")
    accept.add_argument("--units", required=True, type=float, help="how much more, in units per second")
    accept.add_argument("--from", dest="since", metavar="TIME", help="when it begins (as the request asks)")
    accept.add_argument("--to", dest="until", metavar="TIME", help="when it ends (as the request asks)")
    accept.add_argument("--price", type=float, help="per million units, in the policy's currency")
    decline.add_argument("scope", metavar="PROVIDER", help="a provider")
    for answer in (accept, decline):
        answer.add_argument("--reason", required=True, help="why; it is recorded with the decision")
        answer.add_argument("--actor", help="who answers (default: whose key signs it; unsigned: your login)")
        add_order_arguments(answer)


def run(args: argparse.Namespace) -> int:
    """0: it was shown, or the answer was accepted and published. Otherwise as of the other orders."""
    settings = read_settings(args, os.environ, needs=(KAFKA,))
    quiet()
    if args.verb in ("list", "show"):
        return asyncio.run(_show(args, settings))
    name_context(settings)
    return asyncio.run(give(partial(answer_of, args), settings, choices_of(args, args.wait)))


def answer_of(args: argparse.Namespace, issued_ms: int) -> Command:
    """The answer as it was typed. Raises ``UserError``."""
    scope = args.scope.strip().rstrip("/")
    return checked_order(
        Command(
            id=new_order_id(),
            verb=args.verb,
            scope=scope,
            actor=args.actor or getpass.getuser(),
            reason=args.reason,
            issued_ms=issued_ms,
            expires_ms=issued_ms + ANSWER_LASTS_MS,
            offer=args.id,
            offered=_offered(args, scope, issued_ms) if args.verb == "accept" else None,
        )
    )


def _offered(args: argparse.Namespace, pool: str, at_ms: int) -> OfferedCapacity:
    return OfferedCapacity(
        pool,
        args.units,
        from_ms=instant_ms(args.since, at_ms, "--from") if args.since else None,
        until_ms=instant_ms(args.until, at_ms, "--to") if args.until else None,
        price_per_million_units=args.price,
    )


async def _show(args: argparse.Namespace, settings: Settings) -> int:
    async with RoutesReader(settings) as routes:
        record = routes.newest()
    if record is None or record.memory is None:
        raise UserError("no controller has published anything yet: start one with `tieline controller`")
    policy, at_ms, requests = decode_policy(record.policy), now_ms(), record.memory.offers
    unit, is_asking = policy.clients.load_unit, policy.offers is not None
    if args.verb == "show":
        requests = (request_named(args.id, requests),)
    elif not args.all:
        requests = tuple(item for item in requests if is_of_interest(item, at_ms))
    if args.json:
        print(msgspec.json.encode({"at_ms": at_ms, "unit": unit, "offers": requests}).decode())
    elif args.verb == "show":
        draw_one(requests[0], at_ms, unit, screen())
    else:
        draw(requests, at_ms, unit, screen(), is_asking=is_asking)
    return 0


def request_named(name: str, requests: Sequence[OfferRequest]) -> OfferRequest:
    """The request with this id. Raises ``UserError``."""
    by_id = {request.id: request for request in requests}
    if name not in by_id:
        raise UserError(f"there is no request {name!r}{near_miss(name, by_id)}")
    return by_id[name]


def draw(
    requests: Sequence[OfferRequest], at_ms: int, unit: str, console: Console, *, is_asking: bool
) -> None:
    """A row for each request, the newest first, and a line for all that was accepted."""
    if not is_asking:
        console.print("the policy asks no provider for capacity: it has no `offers` (docs/offers.md)")
    if not requests:
        console.print("no request is open, and nothing that was accepted counts")
        return
    rows = [_row(request, at_ms) for request in reversed(requests)]
    headings = ("id", f"{unit}/s", f"accepted {unit}/s", "in", "state", "answers")
    console.print(fitted_table("requests for capacity", headings, rows, console.width))
    for request in requests:
        for part in request.accepted:
            console.print(f"{request.id}: {accepted_words(part, at_ms, unit)}")


def _row(request: OfferRequest, at_ms: int) -> tuple[Text, ...]:
    answers = "; ".join(asked_words(item, at_ms) for item in request.providers)
    amounts = (f"{request.units_per_s:,.0f}", f"{request.accepted_units_per_s:,.0f}")
    places = ", ".join(request.geographies)
    cells = (request.id, *amounts, places, STATES[request.state], answers or "nobody can be asked")
    return tuple(map(Text, cells))


def draw_one(request: OfferRequest, at_ms: int, unit: str, console: Console) -> None:
    """All that is known of a request."""
    console.print(
        f"{request.id}: {request.units_per_s:,.0f} {unit}/s in {', '.join(request.geographies)} "
        f"for {', '.join(request.workloads)}, as {CAUSES[request.cause]}"
    )
    console.print(f"wanted from {utc(request.from_ms)} to {utc(request.until_ms)}")
    console.print(f"state: {STATES[request.state]}")
    for item in request.providers:
        deadline = f"; asked {utc(item.asked_ms)}, deadline {utc(item.deadline_ms)}"
        console.print(f"{asked_words(item, at_ms)}{deadline}")
    for part in request.accepted:
        console.print(f"{accepted_words(part, at_ms, unit)} ({utc(part.from_ms)} to {utc(part.until_ms)})")
