"""What `tieline status` and the live page say first: what a person who was just woken must know, the worst
first.

Each line is a sentence or a short list, with a colour. What sheds load comes first, then who leads, then
what could not be read, alarms, what operators have excluded or ordered, and what else may explain the rest.
Pure.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from controller.core.model.words import duration, sentence
from controller.core.orders.words import described
from controller.process.settings import UNSIGNED_NOTICE
from controller.status.controllers import controller_line
from controller.status.gather import Status
from controller.status.words import NAMED_MAX, overlay_in_words, taken_back_by, utc, waiting_words

NO_LEADER_AFTER_MS = 10_000  # a take-over after a kill takes less than half of it
EXIT_WELL, EXIT_LOOK, EXIT_UNKNOWN = 0, 1, 2
BAD, CAREFUL, PLAIN = "bold red", "yellow", ""


class HeadLine(NamedTuple):
    """One line and its style."""

    text: str
    style: str = PLAIN


def head(status: Status) -> tuple[HeadLine, ...]:
    """All lines, in the order in which they are shown."""
    return (
        *([HeadLine(status.context)] if status.context else ()),
        *_shed(status),
        *_leader(status),
        *_controllers(status),
        HeadLine(_generation(status), CAREFUL if status.unsigned_dev_mode else PLAIN),
        *(HeadLine(text, CAREFUL) for text in status.missing),
        *(HeadLine(f"alarm: {sentence(alarm, status.at_ms)}", "red") for alarm in status.alarms),
        *_overlay(status),
        *_orders(status),
        *(HeadLine(f"held back: {sentence(verdict, status.at_ms)}", CAREFUL) for verdict in status.withheld),
        *_clients(status),
        *_dead_letters(status),
    )


def exit_status(status: Status) -> int:
    """For scripts. 0: nothing is wrong. 1: something is shed, an alarm stands, a controller is not fit to
    lead, or nobody leads. 2: it can't be known, because Kafka or Redis could not be read."""
    if status.missing:
        return EXIT_UNKNOWN
    sheds = any(route.shed for route in status.overview.routes)
    unwell = any(row.is_unwell for row in status.controllers)
    alarm = status.alarms or unwell or no_leader_since_ms(status) is not None
    return EXIT_LOOK if sheds or alarm else EXIT_WELL


def no_leader_since_ms(status: Status) -> int | None:
    """Since when nobody leads, as far as the leader log tells; None while somebody does, or if that could not
    be read."""
    leader = status.leader
    if leader is None:
        return None
    silent = status.at_ms - leader.heard_ms > NO_LEADER_AFTER_MS
    return leader.heard_ms if leader.resigned or silent else None


def _shed(status: Status) -> Iterator[HeadLine]:
    """One line for each workload that sheds: the share of its load, its criticality, and why."""
    routes = [route for route in status.overview.routes if route.shed]
    for workload in sorted({route.route.split("/")[0] for route in routes}):
        own = [route for route in routes if route.route.split("/")[0] == workload]
        parts = [f"{route.shed:.1%} from {route.route.split('/', 1)[1]}" for route in own]
        criticality = own[0].criticality.replace("_", " ")
        why = "; ".join(sorted({route.why for route in own if route.why}))
        text = f"SHEDDING {workload} ({criticality}): {', '.join(parts)}{': ' + why if why else ''}"
        yield HeadLine(text, BAD if own[0].criticality.startswith("critical") else CAREFUL)


def _leader(status: Status) -> Iterator[HeadLine]:
    leader = status.leader
    if leader is None:
        return
    if (since_ms := no_leader_since_ms(status)) is not None:
        how = "the last one resigned" if leader.resigned else "the last one was heard then"
        when = f"{utc(since_ms)}, {_ago(status.at_ms - since_ms)} ({how}, epoch {leader.epoch})"
        yield HeadLine(f"NO LEADER since {when}: nobody decides, and clients keep their table", BAD)
        return
    heard = _ago(status.at_ms - leader.heard_ms)
    yield HeadLine(f"leader {leader.identity[:8] or '?'} (epoch {leader.epoch}), heard {heard}")


def _controllers(status: Status) -> Iterator[HeadLine]:
    """One line for each controller, those with something wrong in red."""
    for row in status.controllers:
        yield HeadLine(controller_line(row), "red" if row.is_unwell else PLAIN)


def _generation(status: Status) -> str:
    """Generation, its age, the policy and the mode."""
    parts = [f"generation {status.generation}, published {_ago(status.at_ms - status.published_ms)}"]
    if status.policy_version:
        parts.append(f"policy {status.policy_number} ({status.policy_version[:8]})")
    if status.unsigned_dev_mode:
        parts.append(UNSIGNED_NOTICE)
    return "; ".join(parts)


def _orders(status: "Status") -> Iterator[HeadLine]:
    """Orders that wait for another person, and orders of people whom the policy no longer names."""
    for item in status.pending:
        order = item.order
        text = f"{described(order)} by {order.actor} is not in force yet: {waiting_words(item)}"
        yield HeadLine(f"{text}; why: {order.reason}", CAREFUL)
    for order in status.commands:
        if order.id in status.unnamed:
            back = taken_back_by(order)
            remedy = f"; `{back}` ends it" if back else ""
            text = f"{described(order)} stays in force, though the policy no longer names {order.actor}"
            yield HeadLine(f"{text}{remedy}", CAREFUL)


def _overlay(status: Status) -> Iterator[HeadLine]:
    if (overlay := status.overlay) is None:
        return
    yield HeadLine(overlay_in_words(overlay, status.at_ms), CAREFUL)


def _clients(status: Status) -> Iterator[HeadLine]:
    """How many clients report, under which generation, and how many have fallen silent."""
    clients = status.clients
    if clients is None:
        return
    if clients.heard_ms is None:
        yield HeadLine("clients: none has reported, so load is not known", CAREFUL)
        return
    age_ms = status.at_ms - clients.heard_ms
    if not clients.heard:
        yield HeadLine(f"clients: none has reported for {duration(age_ms)}, so load is not known", CAREFUL)
        return
    largest = sorted(clients.generations.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{count} with {name or 'no table'}" for name, count in largest[:NAMED_MAX]]
    if rest := sum(count for _, count in largest[NAMED_MAX:]):
        parts.append(f"{rest} with others")
    text = f"clients: {clients.heard} report{': ' if parts else ''}{', '.join(parts)}"
    if clients.silent:
        text += f"; {clients.silent} have fallen silent"
    yield HeadLine(text, CAREFUL if clients.silent else PLAIN)


def _dead_letters(status: Status) -> Iterator[HeadLine]:
    letters = status.dead_letters
    if letters is None or not letters.count:
        return
    reasons = f": {_listed(letters.reasons)}" if letters.reasons else ""
    newest = "" if sum(letters.reasons.values()) == letters.count else ", by reason among the newest"
    yield HeadLine(f"dead letters in the last hour: {letters.count:,}{newest}{reasons}", CAREFUL)


def _listed(counts: Mapping[str, int]) -> str:
    """The largest counts with their names: ``not_json 3, no_source 1, and 2 more``."""
    largest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    text = ", ".join(f"{name or 'none'} {count:,}" for name, count in largest[:NAMED_MAX])
    rest = len(largest) - NAMED_MAX
    return f"{text}, and {rest} more" if rest > 0 else text


def _ago(length_ms: int) -> str:
    return f"{duration(max(length_ms, 0))} ago"
