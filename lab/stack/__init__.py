"""A real Kafka and a real Valkey for demos, tests and first tries: no Docker, no system Java, no root.

`Stack` runs both on loopback in a directory of their own; `tieline stack` is the same as a command.
"""

from lab.stack.errors import StackError
from lab.stack.stack import Stack

__all__ = ["Stack", "StackError"]
