"""Settings of the ingesting part, as typed values. Nothing here reads the environment."""

from dataclasses import dataclass, field

from tieline.kafka import Brokers
from tieline.keys import Keys
from tieline.topics import PREFIX, Topics


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
