"""Topics of a test that runs no controller, with a replica on each broker of the stack."""

from __future__ import annotations

from controller.kafka.topics import ensure_topics
from tieline.topics import Topics


def brokers_in(bootstrap: str) -> int:
    """How many brokers the address names; the stacks of tests name all that they have."""
    return len(bootstrap.split(","))


async def create_topics(bootstrap: str, topics: Topics) -> tuple[str, ...]:
    """Creates what is missing, as a controller with `--replication` does. Returns the names created."""
    return await ensure_topics(bootstrap, topics, replication=brokers_in(bootstrap))
