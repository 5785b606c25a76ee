"""The Kafka topics of Tieline: names, partitions, retention, limits.

The timestamp of every record is the time when the broker appended it (LogAppendTime), and every record is
acknowledged by all replicas in sync (acks=all). ``Topics("x")`` has the same topics under another prefix, so
that two installations, or two tests, can share one cluster.
"""

import re
from dataclasses import dataclass, field

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MIB = 1024 * 1024
ROUTES_RECORD_MAX_BYTES = 8 * MIB
TABLE_TOPIC_MAX_BYTES = ROUTES_RECORD_MAX_BYTES + 64 * 1024  # room for the headers of the largest record
PREFIX = "tieline"
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. ``partitions``: how many it is created with; a log whose order matters has exactly one."""

    name: str
    partitions: int
    config: dict[str, str] = field(default_factory=dict)


def _delete_after(retention_ms: int, max_bytes: int = MIB) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(retention_ms), **_of_every_topic(max_bytes)}


def _compact(max_bytes: int = MIB, min_lag_ms: int | None = None) -> dict[str, str]:
    lag = {"min.compaction.lag.ms": str(min_lag_ms)} if min_lag_ms is not None else {}
    return {"cleanup.policy": "compact", **lag, **_of_every_topic(max_bytes)}


def _of_every_topic(max_bytes: int) -> dict[str, str]:
    return {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(max_bytes)}


def may_be_prefix(text: str) -> bool:
    """Whether names of Kafka topics may begin with it: letters, digits and . _ -, at most 100."""
    return _PREFIX.fullmatch(text) is not None


class Topics:
    """Names and settings of every topic under one prefix."""

    def __init__(self, prefix: str = PREFIX, *, partitions: int = 4) -> None:
        def topic(name: str, config: dict[str, str], partitions: int = 1) -> Topic:
            return Topic(f"{prefix}.{name}", partitions, config)

        self.prefix = prefix
        self.reports = topic("reports", _delete_after(HOUR_MS), partitions)
        self.statements = topic("statements", _compact(), partitions)
        self.capacity = topic("capacity", _compact(), partitions)
        self.demand = topic("demand", _delete_after(HOUR_MS), partitions)
        self.commands = topic("commands", _delete_after(31 * DAY_MS))
        self.routes = topic("routes", _compact(TABLE_TOPIC_MAX_BYTES, min_lag_ms=HOUR_MS))
        self.leader = topic("leader", _delete_after(DAY_MS))
        self.decisions = topic("decisions", _delete_after(30 * DAY_MS, TABLE_TOPIC_MAX_BYTES))
        self.deadletter = topic("deadletter", _delete_after(7 * DAY_MS, 2 * MIB))

    def all(self) -> tuple[Topic, ...]:
        """Every topic."""
        return (
            self.reports,
            self.statements,
            self.capacity,
            self.demand,
            self.commands,
            self.routes,
            self.leader,
            self.decisions,
            self.deadletter,
        )
