"""PURE: facts out of stand-ins' logs: what became of every request, who overloaded which pool, what was lost.

``parse`` takes lines (of several logs, one after the other), ``attempts`` pairs arrivals with their ends;
everything after that works on attempts.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

Seen: TypeAlias = Literal[
    "ok", "throttled", "client_error", "auth", "not_found", "fault", "aborted", "stopped", "in_flight"
]  # fmt: skip
TOLD_STATUSES = frozenset({400, 401, 404})


class Line(Struct, frozen=True):
    """One line of a log; which fields are filled depends on ``event`` (see ``journal``)."""

    event: str
    at_ms: int
    serial: str = ""
    id: str = ""
    pool: str = ""
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    admitted: bool = False
    fault: Any = None
    outcome: Seen = "in_flight"
    status: int | None = None
    tokens: int = 0
    tokens_per_s: float = 0.0


class Attempt(Struct, frozen=True):
    """One request that reached one pool. ``outcome`` is ``in_flight`` when the log has no end for it."""

    id: str
    pool: str
    model: str
    arrived_ms: int
    tokens: int
    admitted: bool
    outcome: Seen
    status: int | None = None
    ended_ms: int | None = None
    fault: str | None = None


class LedgerError(ValueError):
    """A log is damaged in its middle; the message names the line."""


def parse(lines: Iterable[bytes]) -> tuple[Line, ...]:
    """Lines of one log. A torn last line is dropped: its write was under way when the process was killed.

    Raises LedgerError for any other line that can't be read.
    """
    decoder, read, torn = msgspec.json.Decoder(Line), [], 0
    for number, raw in enumerate(lines, start=1):
        if torn:
            raise LedgerError(f"Line {torn} of the log can't be read.")
        try:
            if raw.strip():
                read.append(decoder.decode(raw))
        except msgspec.MsgspecError:
            torn = number
    return tuple(read)


def attempts(lines: Iterable[Line]) -> tuple[Attempt, ...]:
    """Arrivals with their ends, in the order of arrival."""
    arrived: dict[str, Line] = {}
    ended: dict[str, Line] = {}
    for line in lines:
        if line.event == "arrived":
            arrived[line.serial] = line
        elif line.event == "ended":
            ended[line.serial] = line
    paired = [_attempt(line, ended.get(serial)) for serial, line in arrived.items()]
    return tuple(sorted(paired, key=lambda attempt: attempt.arrived_ms))


def _attempt(arrival: Line, end: Line | None) -> Attempt:
    return Attempt(
        id=arrival.id,
        pool=arrival.pool,
        model=arrival.model,
        arrived_ms=arrival.at_ms,
        tokens=arrival.prompt_tokens + arrival.completion_tokens,
        admitted=arrival.admitted,
        outcome=end.outcome if end else "in_flight",
        status=end.status if end else None,
        ended_ms=end.at_ms if end else None,
        fault=arrival.fault,
    )


def outcomes_by_pool(seen: Iterable[Attempt]) -> dict[str, dict[Seen, int]]:
    """How many attempts ended how, by pool."""
    counts: dict[str, dict[Seen, int]] = defaultdict(lambda: defaultdict(int))
    for attempt in seen:
        counts[attempt.pool][attempt.outcome] += 1
    return {pool: dict(sorted(counts[pool].items())) for pool in sorted(counts)}


def last_arrival_ms(seen: Iterable[Attempt], pool: str, after_ms: int) -> int | None:
    """When the last request at or after ``after_ms`` reached ``pool``; None when none did."""
    return max((a.arrived_ms for a in seen if a.pool == pool and a.arrived_ms >= after_ms), default=None)


class Overload(Struct, frozen=True):
    """The fullest window of a pool: tokens that came in it over tokens that it could serve in it (1.0: full).

    ``ratio`` is infinite when tokens came to a pool without any capacity.
    """

    pool: str
    window_ms: int
    ratio: float
    tokens: int
    ends_ms: int


Steps: TypeAlias = Sequence[tuple[int, float]]


def capacities(lines: Iterable[Line]) -> dict[str, tuple[tuple[int, float], ...]]:
    """By pool, when (ms) its capacity became how many tokens/s."""
    steps: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for line in lines:
        if line.event == "capacity":
            steps[line.pool].append((line.at_ms, line.tokens_per_s))
    return {pool: tuple(sorted(steps[pool], key=lambda step: step[0])) for pool in sorted(steps)}


def capacity_tokens(steps: Steps, from_ms: int, until_ms: int) -> float:
    """What a pool could serve between two instants. Its first capacity also holds for the time before it."""
    tokens = 0.0
    for index, (at_ms, tokens_per_s) in enumerate(steps):
        begins_ms = from_ms if index == 0 else max(at_ms, from_ms)
        ends_ms = min(steps[index + 1][0], until_ms) if index + 1 < len(steps) else until_ms
        tokens += tokens_per_s * max(0, ends_ms - begins_ms) / 1_000
    return tokens


def largest_overload(
    seen: Iterable[Attempt], steps: Steps, pool: str, window_ms: int, *, admitted_only: bool
) -> Overload | None:
    """The fullest window (ends_ms - window_ms, ends_ms] of a pool; None when nothing came.

    A request counts whole, at its arrival, so one larger than the window's capacity is an overload by itself.
    With ``admitted_only`` what was refused or met by a fault before it was admitted is left out.
    """
    came = sorted(
        (attempt.arrived_ms, attempt.tokens)
        for attempt in seen
        if attempt.pool == pool and (attempt.admitted or not admitted_only)
    )
    worst: Overload | None = None
    tokens, first = 0, 0
    for ends_ms, arriving in came:
        tokens += arriving
        while came[first][0] <= ends_ms - window_ms:
            tokens -= came[first][1]
            first += 1
        ratio = _ratio(tokens, capacity_tokens(steps, ends_ms - window_ms, ends_ms))
        if worst is None or ratio > worst.ratio:
            worst = Overload(pool, window_ms, ratio, tokens, ends_ms)
    return worst


def _ratio(tokens: int, capacity: float) -> float:
    if capacity > 0:
        return tokens / capacity
    return float("inf") if tokens else 0.0


class CallerResult(Struct, frozen=True):
    """What a caller knows of one of its requests: ``ok``, ``shed`` by policy, or ``failed`` with a status."""

    outcome: Literal["ok", "shed", "failed"]
    status: int | None = None


class Reconciled(Struct, frozen=True):
    """Every caller's request in exactly one of the first five, by id, sorted; ``strangers`` no caller knows.

    ``told``: a 4xx that a stand-in was told to give. ``unproven``: the caller says ok, no log says so.
    """

    succeeded: tuple[str, ...]
    shed: tuple[str, ...]
    told: tuple[str, ...]
    lost: tuple[str, ...]
    unproven: tuple[str, ...]
    strangers: tuple[str, ...]


def reconcile(callers: Mapping[str, CallerResult], seen: Iterable[Attempt]) -> Reconciled:
    """Compare callers' ids with the logs. Lost is whatever is neither success, nor shed, nor a told 4xx."""
    answered: set[str] = set()
    told: dict[str, set[int | None]] = defaultdict(set)
    known: set[str] = set()
    for attempt in seen:
        known.add(attempt.id)
        if attempt.outcome == "ok":
            answered.add(attempt.id)
        elif attempt.outcome == "fault" and attempt.status in TOLD_STATUSES:
            told[attempt.id].add(attempt.status)
    groups: dict[str, list[str]] = defaultdict(list)
    for request_id in sorted(callers):
        result = callers[request_id]
        groups[_group(result, request_id in answered, told.get(request_id, set()))].append(request_id)
    groups["strangers"] = sorted(known - set(callers))
    return Reconciled(**{name: tuple(groups[name]) for name in Reconciled.__struct_fields__})


def _group(result: CallerResult, answered: bool, told: set[int | None]) -> str:
    if result.outcome == "ok":
        return "succeeded" if answered else "unproven"
    if result.outcome == "shed":
        return "shed"
    return "told" if result.status in told else "lost"
