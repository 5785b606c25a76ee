"""What the library raises. Nothing here is raised because the control plane is away."""


class TielineError(Exception):
    """Base of all errors of this library.

    TielineError
    ├── ConfigurationError            a setting that can't work; the message says which and what to do
    │   ├── MissingExtraError         an optional package is not installed
    │   └── MissingCredentialError    no secret of that name, or its function failed
    ├── ClosedError                   used after ``close()`` or before ``async with``
    └── ProducerError                 ``tieline.Producer`` could not write an event
        ├── InvalidEventError         the event itself: correct it
        │   └── TooLargeError         over the topic's limit: send fewer pools in one event
        ├── MissingTopicError         Kafka answers and has no such topic: create it, or correct the prefix
        ├── KafkaUnavailableError     Kafka was not reached in time; whether the event was written is unknown
        ├── RefusedError              Kafka refused it, for instance for want of rights
        └── ProducerClosedError       not started, or stopped

    ``TableError``, ``OverlayError`` and ``Poison``, of the contract's modules, are ``ValueError``s instead.
    """


class ConfigurationError(TielineError, ValueError):
    """A setting that can't work."""


class MissingExtraError(ConfigurationError, ImportError):
    """An optional package is missing."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'tieline[{extra}]'")


class ClosedError(TielineError, RuntimeError):
    """The client is not running."""


class ProducerError(TielineError):
    """An event was not (or not certainly) written. ``TielineError`` draws the tree."""


class InvalidEventError(ProducerError, ValueError):
    """The event contradicts the contract; the message names the field."""


class TooLargeError(InvalidEventError):
    """The record is larger than its topic takes."""


class MissingTopicError(ProducerError):
    """Kafka answers, but has no such topic."""


class KafkaUnavailableError(ProducerError):
    """Kafka did not acknowledge in time."""


class RefusedError(ProducerError):
    """Kafka answered with a refusal."""


class ProducerClosedError(ProducerError):
    """The producer is not running."""
