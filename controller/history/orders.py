"""What became of orders, as entries: refusals, and orders that end others or agree to them. Pure.

An order that is accepted and lasts is a condition (``conditions``), so it needs no entry here.
"""

from collections.abc import Callable, Iterable

from controller.core.orders.words import described
from controller.history.conditions import ORDER_KINDS, scope_of
from controller.history.entries import REASON_MAX, Entry
from controller.routes.record import OrderAnswer
from tieline.events import Command, PolicyChange, taken_back

MINUTE_MS = 60_000
REFUSALS_PER_MINUTE_MAX = 60


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
        elif command is not None and (command.verb == "countersign" or taken_back(command)):
            entries.append(_without_end(answer, command))
    return entries


def _refusal(answer: OrderAnswer, command: Command | PolicyChange | None) -> Entry:
    what, about = f"the order {answer.id}", "table"
    if isinstance(command, PolicyChange):
        what, about = f"policy {command.number}", "policy"
    elif command is not None:
        what, about = described(command), scope_of(command)
    actor = answer.actor or (command.actor if command is not None else "")
    name = f", in the name of {actor}," if actor else ""
    return Entry(
        answer.append_ms,
        "refusal",
        about,
        text=f"{what}{name} was refused: {answer.refused}",
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


def _without_end(answer: OrderAnswer, command: Command) -> Entry:
    return Entry(
        answer.append_ms,
        next((ORDER_KINDS[verb] for verb in taken_back(command) if verb in ORDER_KINDS), "order"),
        scope_of(command),
        text=described(command),
        key=f"order:{answer.id}",
        who=command.actor,
        workload=command.workload,
        actors=(command.actor,),
        why=(command.reason[:REASON_MAX],),
    )


class RefusalPace:
    """Refusals within a bound: anybody who can write to the command log can cause them.

    ``REFUSALS_PER_MINUTE_MAX`` a minute are entries of their own. The others are counted, and one entry tells
    the count when the minute is over.
    """

    def __init__(self) -> None:
        self._minute = 0
        self._count = 0

    def within(self, entries: Iterable[Entry]) -> list[Entry]:
        """The entries without the refusals that are beyond the bound."""
        allowed = []
        for entry in entries:
            if entry.kind == "refusal":
                allowed += self.summary(entry.at_ms)
                self._minute = max(self._minute, entry.at_ms // MINUTE_MS)
                self._count += 1
            if entry.kind != "refusal" or self._count <= REFUSALS_PER_MINUTE_MAX:
                allowed.append(entry)
        return allowed

    def summary(self, at_ms: int) -> list[Entry]:
        """The entry for what was only counted, once its minute is over; empty if there is nothing to tell."""
        if at_ms // MINUTE_MS <= self._minute:
            return []
        more, self._count = self._count - REFUSALS_PER_MINUTE_MAX, 0
        if more <= 0:
            return []
        text = f"{more:,} more orders were refused within a minute"
        return [Entry(at_ms, "refusal", "table", text=text, severity="warning", key=f"refusals:{at_ms}")]
