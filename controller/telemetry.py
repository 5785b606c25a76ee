"""Logging: structlog for everything, JSON when standard error is no terminal, one stream for libraries too.

Libraries may repeat themselves a thousand times while a broker is away: each of their messages passes at most
``REPEATS_MAX`` times in ``REPEATS_WINDOW_S``. Passwords in URLs never reach the output.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from controller.clock import monotonic_ms

REPEATS_MAX = 3
REPEATS_WINDOW_S = 30
MESSAGES_TRACKED_MAX = 1_000
_USER_INFO = re.compile(r"([a-z][a-z0-9+.-]*://)([^/@\s]*)@", re.IGNORECASE)
_SECRET_NAMES = re.compile(r"password|secret|token|credential_value|api_key|authorization", re.IGNORECASE)


def configure(stream: TextIO | None = None, *, level: int = logging.INFO) -> None:
    """Sets logging up for the process, structlog's and the standard library's alike."""
    stream = stream or sys.stderr
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact,
    ]
    rendering: list[Any] = (
        [structlog.dev.ConsoleRenderer()]
        if stream.isatty()
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    handler.addFilter(RateLimit())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))


class RateLimit(logging.Filter):
    """Lets each message (logger and template) pass a few times per window."""

    def __init__(self) -> None:
        super().__init__()
        self._passed: dict[tuple[str, str], tuple[int, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record may pass."""
        now_s = monotonic_ms() // 1000
        place = (record.name, str(record.msg)[:200])
        since_s, count = self._passed.get(place, (now_s, 0))
        if now_s - since_s >= REPEATS_WINDOW_S:
            since_s, count = now_s, 0
        if len(self._passed) >= MESSAGES_TRACKED_MAX:
            self._passed.clear()
        self._passed[place] = (since_s, count + 1)
        return count < REPEATS_MAX


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Takes user information out of URLs, and values out of fields that are named like secrets."""
    for name, value in event.items():
        if _SECRET_NAMES.search(name):
            event[name] = "***"
        elif isinstance(value, str) and "://" in value:
            event[name] = without_password(value)
    return event


def without_password(text: str) -> str:
    """``redis://user:password@host`` -> ``redis://***@host``."""
    return _USER_INFO.sub(r"\1***@", text)
