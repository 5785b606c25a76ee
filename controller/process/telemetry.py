"""Logging by structlog, to one stream that libraries share: JSON lines, or columns when it is a terminal.

Libraries repeat a message a thousand times while a broker is away, so their messages are limited in rate, and
so are our own, because some are caused from outside. Passwords in URLs never reach the output. Each line is
one write, so that lines of two threads don't mix.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

from controller.process.clock import monotonic_ms
from streams.logs import LineLimit, RateLimit

# Up to the last @ of the word: a password that was typed as it is may have a slash or an @ of its own.
_USER_INFO = re.compile(r"([a-z][a-z0-9+.-]*://)([^\s'\"]*)@", re.IGNORECASE)
_QUERY_SECRET = re.compile(r"([?&][^=&\s]*(?:key|token|secret|passw|sig)[^=&\s]*=)[^&\s'\"]+", re.IGNORECASE)
_CONTROLS = dict.fromkeys(
    code
    for first, last in ((0, 9), (11, 31), (0x7F, 0x9F), (0x200E, 0x200F), (0x2028, 0x202E), (0x2066, 0x2069))
    for code in range(first, last + 1)
)
_SECRET_NAMES = re.compile(r"password|secret|token|credential_value|api_key|authorization", re.IGNORECASE)


def configure(stream: TextIO | None = None, *, level: int = logging.INFO) -> None:
    """Sets up logging for the process, for structlog and for the standard library's loggers."""
    import structlog

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
        processors=[LineLimit(monotonic_ms), *shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _Unfailing(stream))),
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


class _Unfailing:
    """A stream for logs that can't stop the process: what can't be written is lost, and ``log_failure`` says
    why."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        global _log_failure
        try:
            self._stream.write(text)
            self._stream.flush()
            _log_failure = ""
        except (OSError, ValueError) as error:
            _log_failure = getattr(error, "strerror", None) or str(error)

    def flush(self) -> None:
        """Each write is flushed."""


_log_failure = ""
_is_quiet = False


def log_failure() -> str:
    """Why the last line of the log could not be written; empty if it was."""
    return _log_failure


def quiet() -> None:
    """Turns logs off for short commands, which print themselves what failed."""
    global _is_quiet
    _is_quiet = True
    logging.getLogger().setLevel(logging.CRITICAL)
    if structlog := sys.modules.get("structlog"):
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def logger(name: str) -> Any:
    """The logger of this name, for what short commands use as well: after ``quiet`` it drops everything, so
    that structlog, which takes a seventh of a second to import, is not imported for nothing."""
    if _is_quiet and "structlog" not in sys.modules:
        return _Silent()
    import structlog

    return structlog.get_logger(name)


class _Silent:
    """A logger that drops whatever it is given."""

    def __getattr__(self, _level: str) -> Any:
        return lambda *_words, **_fields: None


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Removes user information from URLs, and the values of fields that are named like secrets."""
    for name, value in event.items():
        if _SECRET_NAMES.search(name):
            event[name] = "***"
        elif isinstance(value, str) and "://" in value:
            event[name] = without_password(value)
    return event


def without_password(text: str) -> str:
    """``redis://user:password@host`` -> ``redis://***@host``, and ``?api_key=...`` -> ``?api_key=***``."""
    return _QUERY_SECRET.sub(r"\1***", _USER_INFO.sub(r"\1***@", text))


def without_controls(text: str) -> str:
    """The text without control characters, of C0 and C1, and without those that turn the direction of text.
    Line ends stay."""
    return text.translate(_CONTROLS)
