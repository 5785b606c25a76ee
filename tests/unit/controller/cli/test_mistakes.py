"""Which errors become one sentence, and which are faults of the program."""

from __future__ import annotations

import subprocess
import sys

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError, TopicAuthorizationFailedError
from redis.exceptions import AuthenticationError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from controller.cli.mistakes import sentence_of
from controller.kafka.topics import TopicError
from controller.policy_file import PolicyError
from controller.process.errors import SettingError
from tieline.table import TableError


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (SettingError("TIELINE_KAFKA is not set\x1b[31m"), "TIELINE_KAFKA is not set[31m"),
        (PolicyError(["policy.yaml:3: pools: none"]), "policy.yaml:3: pools: none"),
        (TopicError("topic x is compacted"), "topic x is compacted"),
        (
            KafkaConnectionError("no broker {a}"),
            "Kafka can't be reached (KafkaConnectionError: no broker {a}): "
            "start it, or correct --kafka or TIELINE_KAFKA",
        ),
        (
            KafkaTimeoutError("5000 ms"),
            "Kafka did not answer (KafkaTimeoutError: 5000 ms): if a broker was just lost, try again in some "
            "seconds; else see `tieline doctor`",
        ),
        (
            TopicAuthorizationFailedError("x"),
            "Kafka refused the request: [Error 29] TopicAuthorizationFailedError: x",
        ),
        (
            AuthenticationError("no"),
            "Redis refused the password: correct the URL in --redis or TIELINE_REDIS",
        ),
        (
            RedisConnectionError("redis://kim:hidden@r:1 refused\nand more"),
            "Redis can't be reached (redis://***@r:1 refused): start it, or correct --redis or TIELINE_REDIS",
        ),
        (ResponseError("WRONGTYPE"), "Redis refused the request: WRONGTYPE"),
        (
            TableError("schema 9"),
            "the published routes can't be read: schema 9; use the version that wrote them",
        ),
        (ValueError("a fault"), None),
    ],
)
def test_each_mistake_has_one_sentence(error: Exception, sentence: str | None) -> None:
    """It names the remedy and has no control characters and no password; a fault of the program has none."""
    assert sentence_of(error) == sentence


def test_a_mistake_is_told_without_libraries_that_had_no_part_in_it() -> None:
    """A command with a wrong setting ends at once: it does not import what it would have needed later."""
    code = (
        "import sys; from controller.cli import main; "
        "status = main(['status', '--context', 'nowhere']); "
        "print(status, 'redis' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["2", "False"]
    assert ended.stderr.startswith("tieline status: ")
