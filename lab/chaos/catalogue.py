"""Every fault by name, and the few that the test run tries."""

from __future__ import annotations

from lab.chaos import kafka_faults, network_faults, process_faults, redis_faults
from lab.chaos.fault import ChaosFault

FAULTS: dict[str, ChaosFault] = {
    fault.name: fault
    for faults in (process_faults, redis_faults, network_faults, kafka_faults)
    for fault in faults.FAULTS
}
SAMPLE = ("leader-killed", "redis-emptied", "delay")
