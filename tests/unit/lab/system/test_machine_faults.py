"""What is broken in a simulated installation is whole again once all faults are over."""

import pytest

from lab.simulated import kafka, redis
from lab.simulated.loop import Process, VirtualLoop
from lab.system.generate import generate_system
from lab.system.installation import Installation
from lab.system.machine_faults import Breaker
from lab.system.spec import CONTROLLERS, FaultKind, MachineFault
from lab.system.trace import Trace

NAME = CONTROLLERS[0]
LASTING: tuple[tuple[FaultKind, str, float], ...] = (
    ("cut_from_kafka", NAME, 0.0), ("cut_from_redis", NAME, 0.0), ("slow", NAME, 1_500.0),
    ("kafka_down", "", 0.0), ("redis_down", "", 0.0), ("redis_read_only", "", 0.0), ("redis_full", "", 0.0),
    ("clock_ahead", NAME, 60_000.0), ("broker_clock_ahead", "0", 3_000.0), ("clocks_apart", "", 5_000.0),
    ("letters_refused", "", 0.0), ("hints_lost", "", 0.0), ("unread_partition", "reports", 0.0),
    ("stopped", NAME, 0.0),
)  # fmt: skip


class Broken:
    """An installation with one idle controller, in which things are broken."""

    def __init__(self) -> None:
        loop = VirtualLoop()
        self.installation = Installation(loop, generate_system("0").fuzz.policy, "seed", partitions=1)
        self.process = self.installation.processes[NAME] = Process(loop, NAME)
        self.breaker = Breaker(self.installation, Trace())

    def state(self) -> tuple[object, ...]:
        """All that a fault may change."""
        own = self.installation
        links = [own.network.link(NAME, server) for server in (kafka.SERVER, redis.SERVER)]
        return (
            [(link.cut, link.delay_ms) for link in links], set(own.network.down), own.redis.refusal,
            own.redis.loses_hints, list(own.kafka.brokers_ahead_ms), set(own.kafka.read_only),
            set(own.kafka.unread), self.process.life, self.process.clock_ahead_ms,
        )  # fmt: skip


@pytest.mark.parametrize("fault", LASTING, ids=lambda fault: fault[0])
def test_a_fault_that_begins_during_another_of_its_kind_leaves_nothing_behind(
    fault: tuple[FaultKind, str, float],
) -> None:
    """Whichever of the two is over first."""
    kind, target, value = fault
    for ends in (1, -1):
        broken = Broken()
        whole = broken.state()
        mends = []
        for factor in (1.0, 0.5):
            mends.append(broken.breaker.break_now(MachineFault(kind, 1.0, target, value=value * factor)))
            assert broken.state() != whole
        for mend in mends[::ends]:
            mend()
        assert broken.state() == whole
