"""What can go wrong in a process of the controller. The type says who acts on it.

UserError
├── SettingError        a flag, a variable or a file is wrong: the operator corrects it
├── TopicMissingError   a topic doesn't exist: the operator creates it
├── LogLostError        a log was cut: the operator starts the process again
└── LogRecreatedError   a log was deleted and created again: the operator starts the process again
Deposed                 this controller no longer leads: it becomes a standby
NoLease                 nothing may be sent at this moment: the leader holds
"""


class UserError(Exception):
    """One sentence for the operator: what is wrong, where, and the remedy. Never a traceback."""


class SettingError(UserError):
    """A flag, an environment variable or a file can't be used."""


class TopicMissingError(UserError):
    """Kafka answers, and it has no such topic."""

    def __init__(self, topic: str) -> None:
        super().__init__(
            f"Kafka has no topic {topic!r}: start a controller once (it creates the topics), "
            "or check TIELINE_NAMESPACE"
        )


class LogLostError(UserError):
    """An ordered log no longer continues where this process stopped reading."""

    def __init__(self, topic: str, offset: int) -> None:
        super().__init__(
            f"the log {topic!r} has no record {offset} any more: it was recreated, or its retention removed "
            "records before they were read; start the controller again so that it reads the log anew"
        )


class LogRecreatedError(UserError):
    """An ordered log is not the one that this process began to read."""

    def __init__(self, change: str) -> None:
        super().__init__(
            f"{change}; start the controller again so that it reads the log anew. LINEAGE: if it is the log "
            "of routes, generations begin anew as well, and clients keep their tables until the policy names "
            "a new lineage"
        )


class Deposed(Exception):
    """This controller may not publish under its epoch any more. It goes on as a standby."""


class NoLease(Exception):
    """The last confirmed heartbeat is too old to publish now. Nothing was sent, and the table stays."""
