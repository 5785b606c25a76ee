"""Settings of the ingesting part, as typed values. Nothing here reads the environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tieline.kafka import Brokers
from tieline.keys import Keys
from tieline.topics import PREFIX, Topics


@dataclass(frozen=True, slots=True)
class SourceRule:
    """What the policy says of a source. ``kind``: empty for any; ``scope``: provider[/region[/deployment]] or
    ``*``. ``interval_max_ms``: a longer interval of a report counts as this one; None for any."""

    kind: str = ""
    scope: str = "*"
    interval_max_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Registry:
    """What the policy names: ids of providers, sources by name, ids of pools (provider/region/deployment).

    ``sources`` are those of reports, statements and capacity; clients that report demand need no entry.
    ``groups``: the pools of each quota group, by its name. ``flows``: the (workload, origin) of its routes,
    None for any. ``limit_units_per_s``: what all its pools can give together.
    """

    providers: frozenset[str]
    sources: Mapping[str, SourceRule]
    pools: frozenset[str]
    flows: frozenset[tuple[str, str]] | None = None
    limit_units_per_s: float = float("inf")
    groups: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def names(self, workload: str, origin: str) -> bool:
        """Whether the policy has a route for this (workload, origin)."""
        return self.flows is None or (workload, origin) in self.flows


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """Settings of one ingesting process. ``namespace`` prefixes topics and consumer group.

    ``session_timeout_s`` bounds how long the partitions of a killed process stay silent; the broker's own
    minimum is 6 s. ``stop_within_s`` is how long each running part may take to end. A batch has at most
    ``records_per_batch_max`` records, and at most ``records_waiting_max`` of a topic wait for theirs.
    """

    bootstrap: str | Brokers
    namespace: str = PREFIX
    session_timeout_s: float = 6.0
    heartbeat_s: float = 2.0
    commit_every_s: float = 1.0
    progress_every_s: float = 0.5
    stop_within_s: float = 5.0
    records_per_batch_max: int = 64
    records_waiting_max: int = 256
    topics: Topics = field(init=False)

    def __post_init__(self) -> None:
        if not 6.0 <= self.session_timeout_s <= 30.0:
            raise ValueError(f"session_timeout_s is {self.session_timeout_s}, it must lie between 6 and 30")
        if not 0 < self.heartbeat_s <= self.session_timeout_s / 3:
            raise ValueError(f"heartbeat_s is {self.heartbeat_s}, it must be at most a third of the session")
        object.__setattr__(self, "topics", Topics(self.namespace))

    @property
    def keys(self) -> Keys:
        """The Redis keys of the same namespace."""
        return Keys(self.namespace)

    @property
    def group(self) -> str:
        """The consumer group that shares the work."""
        return f"{self.namespace}-ingest"

    @property
    def consumed(self) -> tuple[str, ...]:
        """The topics that agents read."""
        return (
            self.topics.reports.name,
            self.topics.statements.name,
            self.topics.capacity.name,
            self.topics.demand.name,
        )
