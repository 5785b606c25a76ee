"""Stamps of rounds, and what capacity events say, for tests of collectors."""

from collections.abc import Iterable

from controller.collect.collector import Collected, Findings, Stamp
from tieline.events import Capacity, PoolCapacity, Statement

NOW_MS = 1_800_000_000_000
FIVE = "coreweave/us-east-04/gpt-oss"
SIX = "coreweave/eu-north-1/gpt-oss"


def stamp(seconds: float = 0.0, memory: object = None) -> Stamp:
    """The stamp of a round so many seconds after the first one."""
    return Stamp("fleet", "here", sequence=1, now_ms=NOW_MS + round(seconds * 1_000), memory=memory)


def stated(findings: Findings | Iterable[Collected]) -> dict[str, PoolCapacity]:
    """What is stated of each pool."""
    events = findings.events if isinstance(findings, Findings) else findings
    return {pool.pool: pool for event in events if isinstance(event, Capacity) for pool in event.pools}


def limits(findings: Findings | Iterable[Collected]) -> dict[str, float]:
    """The limit in units/s that is stated of each pool."""
    return {name: pool.limit_units_per_s for name, pool in stated(findings).items()}


def degraded(findings: Findings) -> dict[str, list[str]]:
    """The pools that are stated to be degraded, by region; an empty list retracts."""
    return {
        event.region: [pool for claim in event.claims for pool in claim.pools]
        for event in findings.events
        if isinstance(event, Statement)
    }
