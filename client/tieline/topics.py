"""The topics of Tieline in one table: names, partitions, retention, limits. No I/O here.

All topics use LogAppendTime and acks=all. ``Topics("x")`` gives the same topics under another prefix, so that
two installations (or two tests) can share one cluster.
"""

import re
from dataclasses import dataclass, field

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MIB = 1024 * 1024
ROUTES_RECORD_MAX_BYTES = 8 * MIB
PREFIX = "tieline"
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. ``partitions`` is the default for a new cluster; ordered logs always have exactly one."""

    name: str
    partitions: int
    config: dict[str, str] = field(default_factory=dict)


def _config(cleanup: str, retention_ms: int | None, max_bytes: int, **more: str) -> dict[str, str]:
    config = {
        "cleanup.policy": cleanup,
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(max_bytes),
        **{name.replace("_", "."): value for name, value in more.items()},
    }
    if retention_ms is not None:
        config["retention.ms"] = str(retention_ms)
    return config


def may_be_prefix(text: str) -> bool:
    """Whether topics of Kafka may begin with it: letters, digits and . _ -, at most 100."""
    return _PREFIX.fullmatch(text) is not None


class Topics:
    """Names and settings of every topic under one prefix."""

    def __init__(self, prefix: str = PREFIX, *, partitions: int = 4) -> None:
        def topic(name: str, count: int, *rest: object, **more: str) -> Topic:
            cleanup, retention_ms, max_bytes = rest
            assert isinstance(cleanup, str)
            assert isinstance(max_bytes, int)
            assert retention_ms is None or isinstance(retention_ms, int)
            return Topic(f"{prefix}.{name}", count, _config(cleanup, retention_ms, max_bytes, **more))

        self.prefix = prefix
        self.reports = topic("reports", partitions, "delete", HOUR_MS, MIB)
        self.statements = topic("statements", partitions, "compact", None, MIB)
        self.capacity = topic("capacity", partitions, "compact", None, MIB)
        self.demand = topic("demand", partitions, "delete", HOUR_MS, MIB)
        self.commands = topic("commands", 1, "delete", 31 * DAY_MS, MIB)
        self.routes = topic(
            "routes",
            1,
            "compact",
            None,
            ROUTES_RECORD_MAX_BYTES + 64 * 1024,
            min_compaction_lag_ms=str(HOUR_MS),
        )
        self.leader = topic("leader", 1, "delete", DAY_MS, MIB)
        self.decisions = topic("decisions", 1, "delete", 30 * DAY_MS, ROUTES_RECORD_MAX_BYTES + 64 * 1024)
        self.deadletter = topic("deadletter", 1, "delete", 7 * DAY_MS, 2 * MIB)

    def all(self) -> tuple[Topic, ...]:
        """Every topic, in the order of the design."""
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
