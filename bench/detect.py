"""What probes find without clients, and in how many seconds: `script/bench detect`.

Every fault of the stand-ins on a real Kafka and Valkey, with a controller and two probers at the default
interval and budget (``lab.detect``). A sample is the time from a fault to the publication in which its pool
is down, or degraded where only a part fails. What is not found without clients has no case here, and a reason
in docs/probing.md. The target of what is hard down is twice the interval of the probes and two seconds.
"""

import asyncio
import sys
from collections.abc import Iterator

from bench._frame import Case, run
from controller.probe.region import Pace
from lab.detect.__main__ import detect_all

LIMIT_S = 2 * Pace().interval_ms / 1_000 + 2


def measure() -> Iterator[Case]:
    """A case for each fault that is found."""
    for detection in asyncio.run(detect_all()):
        if detection.seconds:
            target = {"p99": LIMIT_S} if detection.case.is_hard_down else {}
            yield Case(f"{detection.case.name}: {detection.case.worst}", "s", detection.seconds, target)


if __name__ == "__main__":
    sys.exit(run("detect", measure))
