"""What an existing topic must be like."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import (
    InvalidTopicError,
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    RequestTimedOutError,
)

from controller.kafka.topics import (
    TopicError,
    advice,
    faults,
    of_any_broker,
    refuse_errors,
    topic_configs,
)
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
        ("reports", 4, {"retention.ms": "60000"}, "at least 3600000"),
        ("leader", 1, {"retention.ms": "3600000"}, "at least 86400000"),
    ],
)
def test_a_topic_that_breaks_a_promise_is_refused_with_the_remedy(
    name: str, partitions: int, change: dict[str, str], said: str
) -> None:
    """Each setting that matters is named together with the value it needs."""
    topic = getattr(TOPICS, name)
    (fault,) = faults(topic, partitions, {**topic.config, **change})
    assert said in fault


class LateBroker:
    """Knows no topic when it is asked for the first time."""

    def __init__(self, code: int) -> None:
        self._codes = [code, 0]
        self.questions: list[int] = []

    async def describe_configs(self, resources: list[Any]) -> list[Any]:
        self.questions.append(len(resources))
        code = self._codes.pop(0)
        entries = () if code else (("retention.ms", "1"),)
        rows = [(code, None, 2, resource.name, entries) for resource in resources]
        return [SimpleNamespace(resources=rows)]


async def test_a_broker_that_has_not_heard_of_a_new_topic_is_asked_again() -> None:
    """In a cluster the one that answers need not be the one that created it. Other errors are raised."""
    broker = LateBroker(3)
    assert await topic_configs(broker, ["a", "b"]) == {
        "a": {"retention.ms": "1"},
        "b": {"retention.ms": "1"},
    }
    assert broker.questions == [2, 2]
    with pytest.raises(TopicError, match="topic a can't be read: error 29"):
        await topic_configs(LateBroker(29), ["a"])


@pytest.mark.parametrize("error", [NodeNotReadyError, KafkaConnectionError, RequestTimedOutError])
async def test_another_broker_is_asked_when_one_is_lost(error: type[KafkaError]) -> None:
    """The one that died is known for some seconds more; what a broker refuses is raised."""
    failures: list[KafkaError] = [error("the first"), error("the second")]

    async def ask() -> str:
        if failures:
            raise failures.pop()
        return "answer"

    assert await of_any_broker(ask) == "answer"
    failures = [InvalidTopicError()]
    with pytest.raises(InvalidTopicError):
        await of_any_broker(ask)


def test_a_broker_that_is_slow_to_create_topics_is_waited_for() -> None:
    """As is another controller that creates them at the same moment; any other error is said."""
    refuse_errors([("a", 0, None), ("b", 7, None), ("c", 36, "exists")])
    with pytest.raises(TopicError, match="Topic d could not be created: error 38"):
        refuse_errors([("a", 7, None), ("d", 38, None)])


def test_more_than_needed_is_welcome() -> None:
    """Larger records, more partitions and longer retention are the operator's own affair."""
    for retention_ms in ("90000000", "-1"):
        config = {**TOPICS.reports.config, "max.message.bytes": "9000000", "retention.ms": retention_ms}
        assert faults(TOPICS.reports, 64, config) == []
    assert faults(TOPICS.decisions, 1, {**TOPICS.decisions.config, "retention.ms": "1000"}) == []


@pytest.mark.parametrize("topic", TOPICS.all(), ids=lambda topic: topic.name)
def test_every_topic_is_bounded(topic: Topic) -> None:
    """Its segments are closed well before its retention ends and have room for its records; where records are
    deleted the partition has a limit, and where they are compacted the time until then has one."""
    config = {name: int(value) for name, value in topic.config.items() if value.isdigit()}
    assert config["segment.bytes"] >= 16 * config["max.message.bytes"]
    if topic.config["cleanup.policy"] == "delete":
        assert config["segment.ms"] <= config["retention.ms"] // 6
        assert config["retention.bytes"] >= 4 * config["segment.bytes"]
    else:
        assert config["segment.ms"] + config["max.compaction.lag.ms"] <= 86_400_000
    assert advice(topic, topic.config) == []


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("reports", {"segment.ms": "604800000"}, "needs at most 600000: kafka-configs"),
        ("demand", {"segment.bytes": "1073741824"}, "segment.bytes=67108864"),
        ("leader", {"retention.bytes": "-1"}, "retention.bytes=268435456"),
        ("capacity", {"max.compaction.lag.ms": "9223372036854775807"}, "needs at most 21600000"),
        ("reports", {"compression.type": "producer"}, "compression.type=uncompressed"),
        ("decisions", {"retention.ms": "1000"}, "retention.ms=2592000000"),
    ],
)
def test_a_topic_that_grows_beyond_need_is_advised_on(name: str, change: dict[str, str], said: str) -> None:
    """It breaks no promise, so nothing is refused; the remedy is named."""
    topic = getattr(TOPICS, name)
    config = {**topic.config, **change}
    [hint] = advice(topic, config)
    assert said in hint
    assert faults(topic, topic.partitions, config) == []
