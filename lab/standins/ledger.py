"""PURE: what stand-ins' logs prove: how every request ended, which were lost, how full each pool was.

``parse`` reads the lines of a log, ``attempts`` pairs arrivals with their ends, over any number of logs.
``reconcile`` compares the result with what the callers say, ``largest_overload`` with the pools' capacities.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

AttemptOutcome: TypeAlias = Literal[
    "ok", "throttled", "client_error", "auth", "not_found", "fault", "aborted", "stopped", "in_flight"
]  # fmt: skip
ORDERED_STATUSES = frozenset({400, 401, 404})


class LogLine(Struct, frozen=True):
    """One line of a log. Which fields have a value depends on ``event``; see ``journal``."""

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
    outcome: AttemptOutcome = "in_flight"
    status: int | None = None
    tokens: int = 0
    tokens_per_s: float = 0.0


class Attempt(Struct, frozen=True):
    """One arrival of a request at a pool. ``outcome`` is ``in_flight`` when the log has no end of it."""

    id: str
    pool: str
    model: str
    arrived_ms: int
    tokens: int
    admitted: bool
    outcome: AttemptOutcome
    status: int | None = None
    ended_ms: int | None = None
    fault: str | None = None


class LedgerError(ValueError):
    """A log has a line that can't be read and is not its last; the message names it."""


def parse(lines: Iterable[bytes]) -> tuple[LogLine, ...]:
    """Reads the lines of one log. Raises LedgerError for a line that can't be read.

    A last line that can't be read is dropped: the process was killed while it wrote it.
    """
    decoder = msgspec.json.Decoder(LogLine)
    entries: list[LogLine] = []
    broken_line = 0
    for number, raw in enumerate(lines, start=1):
        if broken_line:
            raise LedgerError(f"Line {broken_line} of the log can't be read.")
        try:
            if raw.strip():
                entries.append(decoder.decode(raw))
        except msgspec.MsgspecError:
            broken_line = number
    return tuple(entries)


def attempts(lines: Iterable[LogLine]) -> tuple[Attempt, ...]:
    """Arrivals with their ends, in the order of arrival.

    They belong together by their serials, not their ids: one request may try a pool twice.
    """
    arrivals: dict[str, LogLine] = {}
    ends: dict[str, LogLine] = {}
    for line in lines:
        if line.event == "arrived":
            arrivals[line.serial] = line
        elif line.event == "ended":
            ends[line.serial] = line
    pairs = [_attempt(line, ends.get(serial)) for serial, line in arrivals.items()]
    return tuple(sorted(pairs, key=lambda attempt: attempt.arrived_ms))


def _attempt(arrival: LogLine, end: LogLine | None) -> Attempt:
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


class Overload(Struct, frozen=True):
    """The fullest window of a pool.

    ``ratio``: tokens that arrived over tokens that it could serve; 1.0 is full, and infinity means that
    tokens came to a pool without capacity.
    """

    pool: str
    window_ms: int
    ratio: float
    tokens: int
    ends_ms: int


Steps: TypeAlias = Sequence[tuple[int, float]]


def capacities(lines: Iterable[LogLine]) -> dict[str, tuple[tuple[int, float], ...]]:
    """Pool -> its capacities in the order of time: (from when in ms, tokens/s)."""
    steps: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for line in lines:
        if line.event == "capacity":
            steps[line.pool].append((line.at_ms, line.tokens_per_s))
    return {pool: tuple(sorted(steps[pool], key=lambda step: step[0])) for pool in sorted(steps)}


def capacity_tokens(steps: Steps, from_ms: int, until_ms: int) -> float:
    """What a pool could serve between two instants.

    The time before its first step counts at that step's rate.
    """
    tokens = 0.0
    for index, (at_ms, tokens_per_s) in enumerate(steps):
        begins_ms = from_ms if index == 0 else max(at_ms, from_ms)
        ends_ms = min(steps[index + 1][0], until_ms) if index + 1 < len(steps) else until_ms
        tokens += tokens_per_s * max(0, ends_ms - begins_ms) / 1_000
    return tokens


def largest_overload(
    logged: Iterable[Attempt], steps: Steps, pool: str, window_ms: int, *, admitted_only: bool
) -> Overload | None:
    """The fullest window (ends_ms - window_ms, ends_ms] of a pool; None if no request came to it.

    A request counts whole at its arrival, so one that is larger than the window's capacity is an overload by
    itself. ``admitted_only`` leaves out requests that were refused, or struck by a fault, before they used
    capacity.
    """
    arrivals = sorted(
        (attempt.arrived_ms, attempt.tokens)
        for attempt in logged
        if attempt.pool == pool and (attempt.admitted or not admitted_only)
    )
    worst: Overload | None = None
    tokens, first = 0, 0
    for ends_ms, arriving in arrivals:
        tokens += arriving
        while arrivals[first][0] <= ends_ms - window_ms:
            tokens -= arrivals[first][1]
            first += 1
        ratio = _ratio(tokens, capacity_tokens(steps, ends_ms - window_ms, ends_ms))
        if worst is None or ratio > worst.ratio:
            worst = Overload(pool, window_ms, ratio, tokens=tokens, ends_ms=ends_ms)
    return worst


def _ratio(tokens: int, capacity: float) -> float:
    if capacity > 0:
        return tokens / capacity
    return float("inf") if tokens else 0.0


class CallerResult(Struct, frozen=True):
    """What a caller knows of one of its requests: ``ok``, ``shed`` by policy, or ``failed`` with a status."""

    outcome: Literal["ok", "shed", "failed"]
    status: int | None = None


class Reconciliation(Struct, frozen=True):
    """Request ids, sorted. Each request of a caller is in exactly one of the first five.

    ``ordered``: it failed with a 400, 401 or 404 that a fault made a stand-in answer. ``lost``: it failed in
    any other way. ``unproven``: the caller says that it succeeded, and no log confirms it. ``strangers``: ids
    in the logs that no caller knows.
    """

    succeeded: tuple[str, ...]
    shed: tuple[str, ...]
    ordered: tuple[str, ...]
    lost: tuple[str, ...]
    unproven: tuple[str, ...]
    strangers: tuple[str, ...]


def reconcile(callers: Mapping[str, CallerResult], logged: Iterable[Attempt]) -> Reconciliation:
    """Compares what callers know of their requests (by id) with what the stand-ins logged."""
    answered: set[str] = set()
    ordered: dict[str, set[int | None]] = defaultdict(set)
    ids: set[str] = set()
    for attempt in logged:
        ids.add(attempt.id)
        if attempt.outcome == "ok":
            answered.add(attempt.id)
        elif attempt.outcome == "fault" and attempt.status in ORDERED_STATUSES:
            ordered[attempt.id].add(attempt.status)
    groups: dict[str, list[str]] = defaultdict(list)
    for request_id in sorted(callers):
        result = callers[request_id]
        groups[_group(result, request_id in answered, ordered.get(request_id, set()))].append(request_id)
    groups["strangers"] = sorted(ids - set(callers))
    return Reconciliation(**{name: tuple(groups[name]) for name in Reconciliation.__struct_fields__})


def _group(result: CallerResult, answered: bool, ordered: set[int | None]) -> str:
    if result.outcome == "ok":
        return "succeeded" if answered else "unproven"
    if result.outcome == "shed":
        return "shed"
    return "ordered" if result.status in ordered else "lost"
