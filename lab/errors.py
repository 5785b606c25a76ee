"""What can go wrong in the lab, each time as one sentence for the person who started it.

UserError (controller.process.errors)
├── ChildError         a child process did not start, was not ready in time, or ended by itself
├── StackError         the embedded Kafka and Valkey can't run on this machine, or not in this directory
│   └── JarError       a jar of Kafka is missing and can't be fetched, or isn't the pinned one
├── ConfigError        the description of stand-ins is wrong (lab.standins.config)
├── IncidentError      the description of an incident is wrong (lab.demo.incident)
└── TraceError         the trace to be replayed is wrong (lab.demo.trace)
"""

from __future__ import annotations

from controller.process.errors import UserError


class ChildError(UserError):
    """A child process is of no use; the message ends with the last lines that it wrote."""


class StackError(UserError):
    """The embedded stack can't run; the message says what is missing and what to do."""


class JarError(StackError):
    """A jar can't be fetched, or its SHA-256 isn't the one in `jars.sha256`."""
