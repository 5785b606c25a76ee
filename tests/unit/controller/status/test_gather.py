"""What is wrong with Kafka, in words that say what to do."""

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError, TopicAuthorizationFailedError

from controller.process.errors import TopicMissingError
from controller.status.gather import kafka_trouble


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            KafkaConnectionError("Unable to bootstrap from [('k', 9092)]"),
            "no broker answers at k:9092: start it, or correct --kafka or TIELINE_KAFKA",
        ),
        (KafkaTimeoutError(), "the brokers at k:9092 did not answer in time"),
        (TimeoutError(), "the brokers at k:9092 did not answer in time"),
        (TopicMissingError("tieline.routes"), "Kafka has no topic 'tieline.routes': start a controller once"),
        (
            TopicAuthorizationFailedError(),
            "returned by the broker when the client is not authorized to access the requested topic",
        ),
    ],
)
def test_trouble_with_kafka_is_told_in_a_sentence(error: Exception, words: str) -> None:
    """Without the words of the library."""
    assert kafka_trouble(error, "k:9092").startswith(words)
