"""The errors of the library. None is raised because the control plane is away."""

from typing import Any

import msgspec

UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What a decoder of msgspec raises for bytes that it can't take; the last of them for thousands of nested
lists."""


class TielineError(Exception):
    """Base of all errors of this library.

    TielineError
    ├── ConfigurationError            a setting can't work; the message says which one and what is expected
    │   ├── MissingExtraError         an optional package is not installed
    │   └── MissingCredentialError    there is no secret of that name, or its function failed
    ├── ClosedError                   used before ``start()`` or ``async with``, or after ``close()``
    ├── StreamRestartedError          a stream broke, and its request has been sent anew
    └── ProducerError                 ``tieline.Producer`` could not write an event
        ├── InvalidEventError         the event is wrong: correct it
        │   └── TooLargeError         larger than the topic takes: send fewer pools in one event
        ├── MissingTopicError         Kafka has no such topic: create it, or correct the prefix
        ├── KafkaUnavailableError     Kafka did not answer in time; whether the event was written is unknown
        ├── RefusedError              Kafka refused it, for lack of permission, or the policy in force does
        └── ProducerClosedError       used before ``start()`` or after ``stop()``

    ``TableError`` (``tieline.table``), ``OverlayError`` (``tieline.overlay``) and ``Poison``
    (``tieline.cloudevents``) are no ``TielineError``s but ``ValueError``s: they say that data is wrong.
    """


class ConfigurationError(TielineError, ValueError):
    """A setting that can't work."""


class MissingExtraError(ConfigurationError, ImportError):
    """An optional package is missing."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'tieline[{extra}]'")


class ClosedError(TielineError, RuntimeError):
    """The client is not running."""


class StreamRestartedError(TielineError):
    """A stream broke after its first output, and its request was sent anew, with
    ``stream_recovery="restart"``. What has come of the stream so far is not continued: begin again with
    ``response``, an open streaming response of the same HTTP library whose output is on its way. Whoever does
    not read it must close it."""

    def __init__(self, text: str, response: Any) -> None:
        super().__init__(text)
        self.response = response


class ProducerError(TielineError):
    """An event was not written, or it is unknown whether it was. ``TielineError`` draws the tree."""


class InvalidEventError(ProducerError, ValueError):
    """The event contradicts the contract; the message names the field."""


class TooLargeError(InvalidEventError):
    """The record is larger than its topic takes."""


class MissingTopicError(ProducerError):
    """Kafka answers, and has no such topic."""


class KafkaUnavailableError(ProducerError):
    """Kafka did not acknowledge in time."""


class RefusedError(ProducerError):
    """Kafka, or the policy in force, refused the event."""


class ProducerClosedError(ProducerError):
    """The producer is not running."""
