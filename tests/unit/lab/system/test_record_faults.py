"""What happens to records and topics of a simulated installation, and what mends it."""

from aiokafka import TopicPartition

from lab.simulated.kafka import SimPartition
from lab.simulated.loop import VirtualLoop, passes
from lab.system import record_faults
from lab.system.generate import generate_system
from lab.system.installation import Installation
from lab.system.spec import FaultKind, MachineFault


class Scene:
    """An installation of which nothing runs, and the topic of statements with one partition."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        policy = generate_system("0").fuzz.policy
        self.installation = Installation(self.loop, policy, "seed", partitions=1)
        self.place = TopicPartition(self.installation.topics.statements.name, 0)

    def append(self, *values: bytes) -> None:
        """Sends records a second apart."""
        for value in values:
            self.installation.kafka.append(self.place, b"key", value, (), sender="prober")
            self.pass_by(1)

    def pass_by(self, seconds: float) -> None:
        """Lets time pass."""
        self.loop.run_until_complete(passes(seconds))

    @property
    def log(self) -> SimPartition:
        """The records of the topic as it is now."""
        partition = self.installation.kafka.partition(self.place)
        assert partition is not None
        return partition


def fault(kind: FaultKind, value: float = 0.0) -> MachineFault:
    """A fault of the topic of statements."""
    return MachineFault(kind, 1.0, "statements", value=value, for_s=5.0)


def test_repeated_records_come_once_more_until_it_is_mended() -> None:
    """Later, and each only once."""
    scene = Scene()
    mend = record_faults.repeated(scene.installation, fault("records_repeated", 900.0))
    scene.append(b"1", b"2")
    scene.pass_by(5)
    assert sorted(record.value or b"" for record in scene.log.records) == [b"1", b"1", b"2", b"2"]
    mend()
    scene.append(b"3")
    scene.pass_by(5)
    assert [record.value for record in scene.log.records][4:] == [b"3"]


def test_old_records_come_again() -> None:
    """Those of the last minute and a half, and not the newest."""
    scene = Scene()
    scene.append(b"1", b"2")
    scene.pass_by(30)
    scene.append(b"3")
    record_faults.old(scene.installation, fault("old_records"))
    assert sorted(record.value or b"" for record in scene.log.records[3:]) == [b"1", b"2"]


def test_poison_lies_on_every_partition_of_the_events() -> None:
    """Under keys by which its dead letters are found again."""
    scene = Scene()
    scene.append(b"1")
    record_faults.poison(scene.installation, fault("poison"))
    topics = record_faults.event_topics(scene.installation)
    keys = scene.installation.keys_on(*topics, until_ms=2**60)
    assert sum(key is not None and key.startswith(record_faults.POISON_KEY) for key in keys) == len(topics)


def test_a_topic_that_is_created_anew_is_empty() -> None:
    """Under another id."""
    scene = Scene()
    scene.append(b"1")
    before = scene.installation.kafka.topics[scene.place.topic].id
    record_faults.recreated(scene.installation, fault("topic_recreated"))
    assert scene.log.records == []
    assert scene.installation.kafka.topics[scene.place.topic].id != before


def test_clocks_hints_and_reading_are_mended() -> None:
    """Each is broken by its fault and as before afterwards."""
    scene = Scene()
    kafka, redis = scene.installation.kafka, scene.installation.redis
    mends = [
        record_faults.clocks_apart(scene.installation, fault("clocks_apart", 500.0)),
        record_faults.hints_lost(scene.installation, fault("hints_lost")),
        record_faults.unread(scene.installation, fault("unread_partition", 1.0)),
    ]
    assert (kafka.brokers_ahead_ms, redis.loses_hints, kafka.unread) == ([-500, 0, 500], True, {scene.place})
    for mend in mends:
        mend()
    assert (kafka.brokers_ahead_ms, redis.loses_hints, kafka.unread) == ([0, 0, 0], False, set())
