"""What became of orders, as entries: each refusal, and each order that takes another one back. Pure.

An order that is accepted and lasts is a condition (``conditions``), so it needs no entry here.
"""

from collections.abc import Callable, Iterable

from controller.core.orders.words import described
from controller.history.conditions import ORDER_KINDS, REASON_MAX, scope_of
from controller.history.entries import Entry
from controller.routes.record import OrderAnswer
from tieline.events import Command, PolicyChange, taken_back


def answered_entries(
    answers: Iterable[OrderAnswer], command_of: Callable[[str], Command | PolicyChange | None]
) -> list[Entry]:
    """The entries of new answers. ``command_of`` gives the order with an id, None if it is not known here."""
    entries = []
    for answer in answers:
        command = command_of(answer.id)
        if answer.refused:
            entries.append(_refusal(answer, command))
        elif isinstance(command, PolicyChange):
            entries.append(_policy(answer, command))
        elif command is not None and taken_back(command):
            entries.append(_taking_back(answer, command))
    return entries


def _refusal(answer: OrderAnswer, command: Command | PolicyChange | None) -> Entry:
    what, about = f"the order {answer.id}", "table"
    if isinstance(command, PolicyChange):
        what, about = f"policy {command.number}", "policy"
    elif command is not None:
        what, about = described(command), scope_of(command)
    actor = command.actor if command is not None else ""
    return Entry(
        answer.append_ms,
        "refusal",
        about,
        text=f"{what} was refused: {answer.refused}",
        severity="warning",
        key=f"refusal:{answer.id}",
        who=actor,
        actors=(actor,) if actor else (),
        why=(command.reason[:REASON_MAX],) if command is not None else (),
    )


def _policy(answer: OrderAnswer, change: PolicyChange) -> Entry:
    forced = f", setting aside {', '.join(change.forced)}" if change.forced else ""
    return Entry(
        answer.append_ms,
        "policy",
        "policy",
        text=f"policy {change.number} ({change.version[:8]}) is in force{forced}",
        severity="warning" if change.forced else "info",
        key=f"policy:{change.number}",
        who=change.actor,
        actors=(change.actor,),
        why=(change.reason[:REASON_MAX],),
    )


def _taking_back(answer: OrderAnswer, command: Command) -> Entry:
    return Entry(
        answer.append_ms,
        ORDER_KINDS.get(taken_back(command)[0], "order"),
        scope_of(command),
        text=described(command),
        key=f"order:{answer.id}",
        who=command.actor,
        actors=(command.actor,),
        why=(command.reason[:REASON_MAX],),
    )
