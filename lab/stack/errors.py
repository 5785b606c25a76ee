"""What can go wrong while the embedded stack starts; each message is one sentence an operator can act on."""

from __future__ import annotations

from controller.process.errors import UserError


class StackError(UserError):
    """The embedded stack can't run.

    StackError
     +-- JarError       a jar of Kafka is missing, can't be fetched, or isn't the one pinned
     +-- ServerError    Kafka or Valkey didn't start or stopped by itself
    """


class JarError(StackError):
    """A jar can't be had, or its SHA-256 isn't the one kept in `jars.sha256`."""


class ServerError(StackError):
    """A server ended or didn't become ready in time; the message ends with the last lines it wrote."""
