"""What an existing topic must be like."""

import pytest

from controller.kafka.topics import faults
from tieline.topics import Topic, Topics

TOPICS = Topics("t")


@pytest.mark.parametrize("topic", TOPICS.all(), ids=lambda topic: topic.name)
def test_a_topic_as_we_create_it_will_do(topic: Topic) -> None:
    """Our own settings pass our own check."""
    assert faults(topic, topic.partitions, topic.config) == []


@pytest.mark.parametrize(
    ("name", "partitions", "change", "said"),
    [
        ("routes", 3, {}, "must have exactly 1"),
        ("reports", 4, {"message.timestamp.type": "CreateTime"}, "message.timestamp.type=LogAppendTime"),
        ("capacity", 4, {"cleanup.policy": "delete"}, "cleanup.policy=compact"),
        ("statements", 4, {"cleanup.policy": "compact,delete"}, "cleanup.policy=compact"),
        ("deadletter", 1, {"max.message.bytes": "1048588"}, "at least 2097152"),
        ("routes", 1, {"min.compaction.lag.ms": "0"}, "at least 3600000"),
    ],
)
def test_a_topic_that_breaks_a_promise_is_refused_with_the_remedy(
    name: str, partitions: int, change: dict[str, str], said: str
) -> None:
    """Each setting that matters is named together with the value it needs."""
    topic = getattr(TOPICS, name)
    (fault,) = faults(topic, partitions, {**topic.config, **change})
    assert said in fault


def test_more_than_needed_is_welcome() -> None:
    """Larger records, more partitions and longer retention are the operator's own affair."""
    config = {**TOPICS.reports.config, "max.message.bytes": "9000000", "retention.ms": "1"}
    assert faults(TOPICS.reports, 64, config) == []
