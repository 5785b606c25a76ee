"""The lines of the log of a process whose threads all write to one stream."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
import structlog

from controller.process import telemetry


class Writes(io.StringIO):
    """A stream that keeps each write by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def write(self, text: str) -> int:
        """Keeps it."""
        self.texts.append(text)
        return len(text)


@pytest.fixture
def stream() -> Iterator[Writes]:
    """Where the log goes; afterwards logging is as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    writes = Writes()
    telemetry.configure(writes)
    yield writes
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_each_line_is_one_write(stream: Writes) -> None:
    """So no other thread's line comes between a line and its end."""
    structlog.get_logger("test").warning("Redis is away")
    logging.getLogger("aiokafka").warning("Heartbeat failed")
    assert len(stream.texts) == 2
    assert all(text.startswith("{") and text.endswith("}\n") for text in stream.texts)
