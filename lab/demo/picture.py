"""PURE: the state of a run, put together from publications, stand-ins' logs and callers' notes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from msgspec import Struct

from controller.core.model.memory import PoolMemory
from controller.core.model.words import in_words
from controller.core.policy.policy import Policy
from controller.routes.record import RoutesRecord
from lab.demo.records import RequestEnd
from lab.standins.ledger import LogLine
from tieline.table import MILLION, Route, RouteTable

RATE_WINDOW_MS = 2_000
SHARE_STEP = 0.02  # smaller moves are not reported
SHARE_SHOWN_MIN = 0.0005
MOMENTS_MAX = 10_000


class PoolView(Struct, frozen=True):
    """One pool now. ``share``: its part of the expected load, by the table in force. ``capacity_per_s``:
    tokens/s that its stand-in can serve."""

    pool: str
    state: str
    reason: str
    share: float
    requests_per_s: float
    tokens_per_s: float
    capacity_per_s: float
    throttled_per_s: float
    fault: str


class Moment(Struct, frozen=True):
    """One line of the timeline. ``kind``: phase, fault, state, routes or status."""

    at_ms: int
    kind: str
    text: str


class RateMeter:
    """Events and their amounts over the last two seconds."""

    def __init__(self) -> None:
        self._events: deque[tuple[int, float]] = deque()

    def add(self, at_ms: int, amount: float) -> None:
        """Counts one event."""
        self._events.append((at_ms, amount))

    def per_s(self, now_ms: int) -> tuple[float, float]:
        """(events, amount) per second."""
        while self._events and self._events[0][0] < now_ms - RATE_WINDOW_MS:
            self._events.popleft()
        factor = 1_000 / RATE_WINDOW_MS
        return len(self._events) * factor, sum(amount for _, amount in self._events) * factor


class Picture:
    """Everything that is shown, and everything that phases wait for. Its inputs may come in any order."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.record: RoutesRecord | None = None
        self.moments: list[Moment] = []
        self.faults: dict[str, str] = {}
        self.outcomes: dict[str, int] = {"ok": 0, "shed": 0, "failed": 0}
        self.generations = 0
        self._arrivals: dict[str, RateMeter] = {pool.id: RateMeter() for pool in policy.pools}
        self._throttled: dict[str, RateMeter] = {pool.id: RateMeter() for pool in policy.pools}
        self._capacity: dict[str, float] = {}
        self._reported_shares: dict[str, float] = {}
        self._expected_units = {
            (workload.id, origin): units
            for workload in policy.workloads
            for origin, units in workload.expected_units_per_s.items()
        }

    def note(self, at_ms: int, kind: str, text: str) -> None:
        """Adds a line to the timeline."""
        if len(self.moments) < MOMENTS_MAX:
            self.moments.append(Moment(at_ms, kind, text))

    def publication(self, record: RoutesRecord) -> None:
        """Takes a new table in force.

        Notes which pools changed their state, and where load goes if it moved.
        """
        if record.table is None:  # a fence: the table before it stays in force
            return
        before, self.record = _pool_memories(self.record), record
        self.generations += 1
        for pool, memory in _pool_memories(record).items():
            state_before = before[pool].state if pool in before else "unknown"
            if state_before != memory.state:
                text = f"{pool}: {state_before} -> {memory.state}: {in_words(memory.reason)}"
                self.note(record.published_ms, "state", text)
        self._note_shares(record)

    def _note_shares(self, record: RoutesRecord) -> None:
        shares, reported = self.provider_shares(), self._reported_shares
        if reported and all(abs(share - reported[name]) < SHARE_STEP for name, share in shares.items()):
            return
        self._reported_shares = shares
        parts = [f"{name} {100 * share:.0f} %" for name, share in shares.items() if share >= SHARE_SHOWN_MIN]
        generation = f"{record.generation.epoch}:{record.generation.seq}"
        self.note(record.published_ms, "routes", f"generation {generation}: {', '.join(parts)}")

    def standin_lines(self, lines: Iterable[LogLine]) -> None:
        """Takes new lines of stand-ins' logs."""
        for line in lines:
            if line.event == "capacity":
                self._capacity[line.pool] = line.tokens_per_s
            elif line.event == "arrived" and line.pool in self._arrivals:
                self._arrivals[line.pool].add(line.at_ms, line.prompt_tokens + line.completion_tokens)
            elif line.event == "ended" and line.outcome == "throttled" and line.pool in self._throttled:
                self._throttled[line.pool].add(line.at_ms, 1)

    def request_ends(self, ends: Iterable[RequestEnd]) -> None:
        """Takes requests that ended at a caller."""
        for end in ends:
            self.outcomes[end.outcome] += 1

    def shares(self) -> dict[str, float]:
        """Pool -> its part of the expected load, by the table in force."""
        table = self.record.table if self.record is not None else None
        shares = {pool.id: 0.0 for pool in self.policy.pools}
        for route, route_share in self._routes(table):
            for index, weight in zip(route.split.pools, route.split.weights, strict=True):
                pool = table.pools[index].pool if table is not None else ""
                shares[pool] = shares.get(pool, 0.0) + route_share * weight / MILLION
        return shares

    def provider_shares(self) -> dict[str, float]:
        """Provider -> its part of the expected load; ``shed``: the part that nobody serves."""
        shares = {provider.id: 0.0 for provider in self.policy.providers}
        for pool, share in self.shares().items():
            shares[pool.split("/", 1)[0]] += share
        table = self.record.table if self.record is not None else None
        shed = sum(share * route.split.shed / MILLION for route, share in self._routes(table))
        return {**shares, "shed": shed}

    def _routes(self, table: RouteTable | None) -> list[tuple[Route, float]]:
        """Each route of the table with its part of the expected load."""
        total = sum(self._expected_units.values())
        return [
            (route, self._expected_units.get((route.workload, route.origin), 0.0) / total)
            for route in (table.routes if table is not None else ())
        ]

    def state(self, pool: str) -> str:
        """The pool's health, as the planner remembers it."""
        memory = _pool_memories(self.record).get(pool)
        return str(memory.state) if memory is not None else "unknown"

    def views(self, now_ms: int) -> list[PoolView]:
        """Every pool, in the policy's order."""
        shares, memories = self.shares(), _pool_memories(self.record)
        views = []
        for pool in self.policy.pools:
            requests_per_s, tokens_per_s = self._arrivals[pool.id].per_s(now_ms)
            views.append(
                PoolView(
                    pool=pool.id,
                    state=self.state(pool.id),
                    reason=_words(memories[pool.id]) if pool.id in memories else "",
                    share=shares[pool.id],
                    requests_per_s=requests_per_s,
                    tokens_per_s=tokens_per_s,
                    capacity_per_s=self._capacity.get(pool.id, 0.0),
                    throttled_per_s=self._throttled[pool.id].per_s(now_ms)[0],
                    fault=self.faults.get(region_of(pool.id), ""),
                )
            )
        return views


def region_of(pool: str) -> str:
    """``azure/eastus2/gpt-4o`` -> ``azure/eastus2``."""
    return "/".join(pool.split("/")[:2])


def _pool_memories(record: RoutesRecord | None) -> dict[str, PoolMemory]:
    return record.memory.pools if record is not None and record.memory is not None else {}


def _words(memory: PoolMemory) -> str:
    return memory.reason.replace("_", " ")
