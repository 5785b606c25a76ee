"""The Kafka topics of Tieline: names, partitions, retention, limits.

The timestamp of every record is the time when the broker appended it (LogAppendTime), and every record is
acknowledged by all replicas in sync (acks=all). ``Topics("x")`` has the same topics under another prefix, so
that two installations, or two tests, can share one cluster.

Kafka deletes and compacts whole segments only, and never the one that it writes to. With its defaults of
1 GiB and 7 days a retention of an hour would be one of days, and no small topic would ever be compacted. So
each topic states how large and how old its segments may get, and how large the whole partition may. Topics
that others write to are stored uncompressed: the broker then refuses a record that is larger than it looks.
"""

import re
from dataclasses import dataclass, field

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MIB = 1024 * 1024
GIB = 1024 * MIB
COMPACTED_AFTER_MS = 6 * HOUR_MS
SEGMENT_BYTES = 64 * MIB
SEGMENT_RECORDS_MIN = 16  # a segment has room for that many records of the largest size
UNCOMPRESSED = {"compression.type": "uncompressed"}
ROUTES_RECORD_MAX_BYTES = 8 * MIB
TABLE_TOPIC_MAX_BYTES = ROUTES_RECORD_MAX_BYTES + 64 * 1024  # room for the headers of the largest record
PREFIX = "tieline"
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. ``partitions``: how many it is created with; a log whose order matters has exactly one.

    ``keeps``: whether a promise needs its records for the whole of the retention. Of other topics a shorter
    retention is the operator's own affair.
    """

    name: str
    partitions: int
    config: dict[str, str] = field(default_factory=dict)
    keeps: bool = True


def _delete_after(
    retention_ms: int, partition_max_bytes: int, *, segment_ms: int, max_bytes: int = MIB
) -> dict[str, str]:
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(retention_ms),
        "retention.bytes": str(partition_max_bytes),
        **_of_every_topic(max_bytes, segment_ms),
    }


def _compact(segment_ms: int, *, max_bytes: int = MIB, min_lag_ms: int | None = None) -> dict[str, str]:
    lag = {"min.compaction.lag.ms": str(min_lag_ms)} if min_lag_ms is not None else {}
    return {
        "cleanup.policy": "compact",
        "max.compaction.lag.ms": str(COMPACTED_AFTER_MS),
        **lag,
        **_of_every_topic(max_bytes, segment_ms),
    }


def _of_every_topic(max_bytes: int, segment_ms: int) -> dict[str, str]:
    return {
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(max_bytes),
        "segment.ms": str(segment_ms),
        "segment.bytes": str(max(SEGMENT_BYTES, SEGMENT_RECORDS_MIN * max_bytes)),
    }


def may_be_prefix(text: str) -> bool:
    """Whether names of Kafka topics may begin with it: letters, digits and . _ -, at most 100."""
    return _PREFIX.fullmatch(text) is not None


class Topics:
    """Names and settings of every topic under one prefix."""

    def __init__(self, prefix: str = PREFIX, *, partitions: int = 4) -> None:
        def topic(name: str, config: dict[str, str], partitions: int = 1, *, keeps: bool = True) -> Topic:
            return Topic(f"{prefix}.{name}", partitions, config, keeps=keeps)

        evidence = _delete_after(HOUR_MS, 2 * GIB, segment_ms=10 * MINUTE_MS) | UNCOMPRESSED
        claims = _compact(HOUR_MS) | UNCOMPRESSED
        routes = _compact(HOUR_MS, max_bytes=TABLE_TOPIC_MAX_BYTES, min_lag_ms=HOUR_MS)
        decisions = _delete_after(30 * DAY_MS, 8 * GIB, segment_ms=DAY_MS, max_bytes=TABLE_TOPIC_MAX_BYTES)
        history = _delete_after(90 * DAY_MS, GIB, segment_ms=DAY_MS)
        letters = _delete_after(7 * DAY_MS, GIB, segment_ms=DAY_MS, max_bytes=2 * MIB)
        controllers = _delete_after(HOUR_MS, 256 * MIB, segment_ms=10 * MINUTE_MS)
        self.prefix = prefix
        self.reports = topic("reports", evidence, partitions)
        self.statements = topic("statements", claims, partitions)
        self.capacity = topic("capacity", claims, partitions)
        self.demand = topic("demand", evidence, partitions)
        self.commands = topic(
            "commands", _delete_after(31 * DAY_MS, 256 * MIB, segment_ms=DAY_MS) | UNCOMPRESSED
        )
        self.offers = topic("offers", _delete_after(31 * DAY_MS, 256 * MIB, segment_ms=DAY_MS) | UNCOMPRESSED)
        self.routes = topic("routes", routes)
        self.leader = topic("leader", _delete_after(DAY_MS, 256 * MIB, segment_ms=HOUR_MS))
        self.controllers = topic("controllers", controllers, keeps=False)
        self.decisions = topic("decisions", decisions, keeps=False)
        self.history = topic("history", history, keeps=False)
        self.usage = topic("usage", _compact(HOUR_MS))
        self.deadletter = topic("deadletter", letters, keeps=False)

    def all(self) -> tuple[Topic, ...]:
        """Every topic."""
        return (
            self.reports,
            self.statements,
            self.capacity,
            self.demand,
            self.commands,
            self.offers,
            self.routes,
            self.leader,
            self.controllers,
            self.decisions,
            self.history,
            self.usage,
            self.deadletter,
        )
