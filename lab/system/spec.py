"""A world of the whole system as plain data. The same data gives the same run."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from lab.sim.spec import FuzzWorld

FaultKind: TypeAlias = Literal[
    "killed", "stopped", "killed_at_append", "stopped_at_append", "killed_at_projection", "killed_at_claim",
    "stopped_at_claim", "cut_from_kafka", "cut_from_redis", "slow", "kafka_down", "redis_down",
    "redis_emptied", "redis_taken_back", "redis_read_only", "redis_full", "clock_ahead", "broker_clock_ahead",
    "letters_refused", "hints_lost", "unread_partition", "topic_recreated", "records_repeated", "old_records",
    "poison", "clocks_apart",
]  # fmt: skip
CONTROLLERS = ("controller-a", "controller-b")


class MachineFault(Struct, frozen=True, omit_defaults=True):
    """Something that happens to a machine at ``at_s``, for ``for_s`` seconds.

    ``target``: a process, ``leader`` for whichever leads then, a broker's number, or a topic of events
    (``reports``); empty for a server. ``value``: milliseconds, seconds or a partition, as ``kind`` demands.
    """

    kind: FaultKind
    at_s: float
    target: str = ""
    value: float = 0.0
    for_s: float = 0.0


class SystemWorld(Struct, frozen=True):
    """``quiet_s``: how long nothing happens at the end, after which everything must have come to rest.
    ``partitions``: of each topic of events. ``requests_per_s``: of each client."""

    seed: str
    fuzz: FuzzWorld
    faults: tuple[MachineFault, ...]
    quiet_s: int
    partitions: int = 2
    requests_per_s: float = 1.0

    @property
    def seconds(self) -> int:
        """How long it runs."""
        return self.fuzz.seconds
