"""Which errors are a user's mistake or an absent server, and the one sentence for each."""

from aiokafka.errors import KafkaConnectionError, KafkaError
from redis.exceptions import AuthenticationError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from controller.kafka.topics import TopicError
from controller.policy_file import PolicyError
from controller.process.errors import UserError
from controller.process.settings import KAFKA, REDIS
from controller.process.telemetry import without_controls, without_password
from tieline.table import TableError


def sentence_of(error: BaseException) -> str | None:
    """What is wrong and what to do about it; None for a fault of this program."""
    match error:
        case UserError() | PolicyError() | TopicError():
            return without_controls(str(error))
        case KafkaConnectionError():
            return f"Kafka can't be reached ({_first_line(error)}): start it, or correct --kafka or {KAFKA}"
        case KafkaError():
            return f"Kafka refused the request: {_first_line(error)}"
        case AuthenticationError():
            return f"Redis refused the password: correct the URL in --redis or {REDIS}"
        case RedisConnectionError():
            return f"Redis can't be reached ({_first_line(error)}): start it, or correct --redis or {REDIS}"
        case RedisError():
            return f"Redis refused the request: {_first_line(error)}"
        case TableError():
            return (
                f"the published routes can't be read: {_first_line(error)}; use the version that wrote them"
            )
        case _:
            return None


def _first_line(error: BaseException) -> str:
    text = without_controls(without_password(str(error))).strip().splitlines()
    return text[0][:300] if text else type(error).__name__
