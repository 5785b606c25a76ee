"""Every fault by name, and the few that the test run tries."""

from __future__ import annotations

from lab.chaos import (
    clock_faults,
    cluster_faults,
    event_faults,
    kafka_faults,
    moment_faults,
    network_faults,
    process_faults,
    redis_faults,
    resource_faults,
)
from lab.chaos.fault import ChaosFault

FAULTS: dict[str, ChaosFault] = {
    fault.name: fault
    for faults in (
        process_faults,
        moment_faults,
        redis_faults,
        network_faults,
        kafka_faults,
        event_faults,
        clock_faults,
        resource_faults,
        cluster_faults,
    )
    for fault in faults.FAULTS
}
SAMPLE = ("leader-killed", "redis-emptied", "delay", "poison")
