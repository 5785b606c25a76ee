"""Which errors are a user's mistake or an absent server, and the one sentence for each."""

import sys

from controller.process.certificates import certificate_fault
from controller.process.errors import UserError
from controller.process.settings import KAFKA, REDIS
from controller.process.telemetry import without_controls, without_password


def sentence_of(error: BaseException) -> str | None:
    """What is wrong and what to do about it; None for a fault of this program."""
    if isinstance(error, UserError):
        return without_controls(str(error))
    for module, name, sentence in _SENTENCES:
        # The library of an error that was raised is there; to import the others would only take time.
        library = sys.modules.get(module)
        if library is not None and isinstance(error, getattr(library, name)):
            server, setting = _SERVERS.get(module, ("", ""))
            if server and (fault := certificate_fault(error, setting)) is not None:
                return f"TLS with {server} fails ({fault.why}): {fault.remedy}"
            return sentence.format(_first_line(error)) if sentence else without_controls(str(error))
    return None


_SERVERS = {"aiokafka.errors": ("Kafka", KAFKA), "redis.exceptions": ("Redis", REDIS)}
_SENTENCES = (
    ("controller.policy_file", "PolicyError", ""),
    ("controller.kafka.topics", "TopicError", ""),
    (
        "aiokafka.errors",
        "KafkaConnectionError",
        f"Kafka can't be reached ({{}}): start it, or correct --kafka or {KAFKA}",
    ),
    (
        "aiokafka.errors",
        "KafkaTimeoutError",
        "Kafka did not answer ({}): if a broker was just lost, try again in some seconds; else see "
        "`tieline doctor`",
    ),
    ("aiokafka.errors", "KafkaError", "Kafka refused the request: {}"),
    (
        "redis.exceptions",
        "AuthenticationError",
        f"Redis refused the password: correct the URL in --redis or {REDIS}",
    ),
    (
        "redis.exceptions",
        "ConnectionError",
        f"Redis can't be reached ({{}}): start it, or correct --redis or {REDIS}",
    ),
    ("redis.exceptions", "RedisError", "Redis refused the request: {}"),
    (
        "tieline.table",
        "TableError",
        "the published routes can't be read: {}; use the version that wrote them",
    ),
)


def _first_line(error: BaseException) -> str:
    text = without_controls(without_password(str(error))).strip().splitlines()
    return text[0][:300] if text else type(error).__name__
