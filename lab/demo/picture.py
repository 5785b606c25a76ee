"""PURE: what is going on, put together from publications, stand-ins' logs and callers' notes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from msgspec import Struct

from controller.core.policy.policy import Policy
from controller.routes.record import RoutesRecord
from lab.demo.records import Ended
from lab.standins.ledger import Line
from tieline.table import MILLION, Route, RouteTable

RATE_WINDOW_MS = 2_000
SHARE_STEP = 0.02
MOMENTS_MAX = 10_000


class PoolView(Struct, frozen=True):
    """One pool now. ``share``: of all load, by the table. ``capacity``: what its stand-in can give."""

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
    """Something that happened: a phase, a fault, a decision."""

    at_ms: int
    kind: str
    text: str


class Rate:
    """Events and their amounts over the last two seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, float]] = deque()

    def add(self, at_ms: int, amount: float) -> None:
        self._seen.append((at_ms, amount))

    def per_s(self, now_ms: int) -> tuple[float, float]:
        """(events, amount) per second."""
        while self._seen and self._seen[0][0] < now_ms - RATE_WINDOW_MS:
            self._seen.popleft()
        factor = 1_000 / RATE_WINDOW_MS
        return len(self._seen) * factor, sum(amount for _, amount in self._seen) * factor


class Picture:
    """Everything shown, and everything that phases wait for. Fed from outside, in any order."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.record: RoutesRecord | None = None
        self.moments: list[Moment] = []
        self.faults: dict[str, str] = {}
        self.outcomes: dict[str, int] = {"ok": 0, "shed": 0, "failed": 0}
        self.generations = 0
        self._arrived: dict[str, Rate] = {pool.id: Rate() for pool in policy.pools}
        self._throttled: dict[str, Rate] = {pool.id: Rate() for pool in policy.pools}
        self._capacity: dict[str, float] = {}
        self._told: dict[str, float] = {}
        self._weight = {
            (one.id, origin): units
            for one in policy.workloads
            for origin, units in one.expected_units_per_s.items()
        }

    def note(self, at_ms: int, kind: str, text: str) -> None:
        """Something happened."""
        if len(self.moments) < MOMENTS_MAX:
            self.moments.append(Moment(at_ms, kind, text))

    def publication(self, record: RoutesRecord) -> None:
        """A table that counts. Says which pools changed their state, and where load goes if that moved."""
        if record.table is None:  # a fence: nothing is in force by it
            return
        before, self.record = self.record, record
        self.generations += 1
        held = before.memory.pools if before is not None and before.memory is not None else {}
        for pool, memory in (record.memory.pools if record.memory is not None else {}).items():
            was = held[pool].state if pool in held else "unknown"
            if was != memory.state:
                reason = memory.reason.replace("_", " ")
                self.note(record.published_ms, "state", f"{pool}: {was} -> {memory.state} ({reason})")
        self._say_shares(record)

    def _say_shares(self, record: RoutesRecord) -> None:
        shares = self.provider_shares()
        moved = any(abs(share - self._told.get(name, 0.0)) >= SHARE_STEP for name, share in shares.items())
        if moved or not self._told:
            self._told = shares
            text = "  ".join(
                f"{name} {100 * share:.0f} %" for name, share in shares.items() if share >= 0.0005
            )
            self.note(record.published_ms, "route", f"generation {_short(record)}: {text}")

    def standin_lines(self, lines: Iterable[Line]) -> None:
        """New lines of stand-ins' logs."""
        for line in lines:
            if line.event == "capacity":
                self._capacity[line.pool] = line.tokens_per_s
            elif line.event == "arrived" and line.pool in self._arrived:
                self._arrived[line.pool].add(line.at_ms, line.prompt_tokens + line.completion_tokens)
            elif line.event == "ended" and line.outcome == "throttled" and line.pool in self._throttled:
                self._throttled[line.pool].add(line.at_ms, 1)

    def ended(self, lines: Iterable[Ended]) -> None:
        """Requests that ended at a caller."""
        for line in lines:
            self.outcomes[line.outcome] += 1

    def shares(self) -> dict[str, float]:
        """Pool -> its part of the expected load, by the table in force."""
        table = self.record.table if self.record is not None else None
        found = {pool.id: 0.0 for pool in self.policy.pools}
        for route, share in self._routes(table):
            for index, weight in zip(route.split.pools, route.split.weights, strict=True):
                pool = table.pools[index].pool if table is not None else ""
                found[pool] = found.get(pool, 0.0) + share * weight / MILLION
        return found

    def provider_shares(self) -> dict[str, float]:
        """Provider -> its part, and ``shed``."""
        found = {provider.id: 0.0 for provider in self.policy.providers}
        for pool, share in self.shares().items():
            found[pool.split("/", 1)[0]] += share
        table = self.record.table if self.record is not None else None
        shed = sum(share * route.split.shed / MILLION for route, share in self._routes(table))
        return {**found, "shed": shed}

    def _routes(self, table: RouteTable | None) -> list[tuple[Route, float]]:
        total = sum(self._weight.values())
        return [
            (route, self._weight.get((route.workload, route.origin), 0.0) / total)
            for route in (table.routes if table is not None else ())
        ]

    def state(self, pool: str) -> str:
        """Health as the planner remembers it."""
        memory = self.record.memory if self.record is not None else None
        held = memory.pools.get(pool) if memory is not None else None
        return str(held.state) if held is not None else "unknown"

    def views(self, now_ms: int) -> list[PoolView]:
        """Every pool, in the policy's order."""
        shares = self.shares()
        memory = self.record.memory if self.record is not None else None
        rows = []
        for pool in self.policy.pools:
            held = memory.pools.get(pool.id) if memory is not None else None
            requests, tokens = self._arrived[pool.id].per_s(now_ms)
            rows.append(
                PoolView(
                    pool=pool.id,
                    state=self.state(pool.id),
                    reason=held.reason.replace("_", " ") if held is not None else "",
                    share=shares[pool.id],
                    requests_per_s=requests,
                    tokens_per_s=tokens,
                    capacity_per_s=self._capacity.get(pool.id, 0.0),
                    throttled_per_s=self._throttled[pool.id].per_s(now_ms)[0],
                    fault=self.faults.get("/".join(pool.id.split("/")[:2]), ""),
                )
            )
        return rows


def _short(record: RoutesRecord) -> str:
    return f"{record.generation.epoch}:{record.generation.seq}"
