"""How often the same thing is logged: once a minute, by this package and by the Kafka libraries.

While Kafka is away for eleven seconds its libraries write about a thousand lines. Of those only warnings
pass, and each of them once a minute. Of our own lines, whoever writes them, ``LineLimit`` lets 30 of each
kind pass in a minute, because some are caused from outside: by each push, each stream, each probe.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

LIBRARIES = ("faust", "mode", "aiokafka")
LOG_EVERY_S = 60.0
LINES_PER_MINUTE = 30
TEMPLATES_MAX = 500
TEMPLATE_CHARACTERS = 200
# What the libraries say while a broker starts, a topic is new or a leader changes. They try again.
PASSING = ("GroupCoordinatorNotAvailableError", "NotLeaderForPartitionError", "LeaderNotAvailableError")
PASSING_S = 10.0


@dataclass
class _Minute:
    """What passed of one kind of line since ``began_ms``, and what was left out since the last one."""

    began_ms: int
    passed: int = 0
    left_out: int = 0


class LogPace:
    """Lets each kind of message through once a minute. Instants are seconds of any steady clock."""

    def __init__(self) -> None:
        self._passed_at: dict[str, float] = {}

    def allows(self, kind: str, now_s: float) -> bool:
        """Whether a message of this kind may be logged now; if so, the next one has to wait."""
        if now_s - self._passed_at.get(kind, -LOG_EVERY_S) < LOG_EVERY_S:
            return False
        self._passed_at[kind] = now_s
        return True


class LineLimit:
    """A processor of structlog: of each kind of line, which is its event, ``LINES_PER_MINUTE`` pass in a
    minute. The next one that passes says as ``left_out`` how many did not. Critical lines always pass.
    ``now_ms`` is any steady clock."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._minutes: OrderedDict[str, _Minute] = OrderedDict()

    def __call__(
        self, _logger: Any, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """The line, if it passes. Raises structlog's ``DropEvent`` otherwise."""
        if method == "critical":
            return event
        minute, now_ms = self._minute(str(event.get("event"))[:TEMPLATE_CHARACTERS]), self._now_ms()
        if now_ms - minute.began_ms >= 1_000 * LOG_EVERY_S:
            minute.began_ms, minute.passed = now_ms, 0
        if minute.passed >= LINES_PER_MINUTE:
            minute.left_out += 1
            from structlog import DropEvent  # short commands import this module, and not structlog

            raise DropEvent
        minute.passed += 1
        if minute.left_out:
            event["left_out"], minute.left_out = minute.left_out, 0
        return event

    def _minute(self, kind: str) -> _Minute:
        minute = self._minutes.setdefault(kind, _Minute(self._now_ms()))
        self._minutes.move_to_end(kind)
        while len(self._minutes) > TEMPLATES_MAX:
            self._minutes.popitem(last=False)
        return minute


class RateLimit(logging.Filter):
    """Passes a record unless the same logger passed one of the same template within the last minute."""

    def __init__(self) -> None:
        super().__init__()
        self._passed_at: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._suppressed: dict[tuple[str, str], int] = {}
        self._passing_since: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record passes; one that does says how many before it did not. Critical ones always
        pass."""
        if record.levelno >= logging.CRITICAL:
            return True
        key = (record.name, str(record.msg)[:TEMPLATE_CHARACTERS])
        now_s = record.created
        if self._passes_by(record, now_s):
            return False
        if now_s - self._passed_at.get(key, -LOG_EVERY_S) < LOG_EVERY_S:
            self._suppressed[key] = self._suppressed.get(key, 0) + 1
            return False
        self._passed_at[key] = now_s
        self._passed_at.move_to_end(key)
        while len(self._passed_at) > TEMPLATES_MAX:
            oldest, _ = self._passed_at.popitem(last=False)
            self._suppressed.pop(oldest, None)
        if left_out := self._suppressed.pop(key, 0):
            record.msg = f"{record.msg} ({left_out} more like this were left out)"
        return True

    def _passes_by(self, record: logging.LogRecord, now_s: float) -> bool:
        """Whether it is one of ``PASSING`` and has not gone on for ``PASSING_S`` yet."""
        text = record.getMessage()
        word = next((word for word in PASSING if word in text), None)
        if word is None:
            return False
        since_s = self._passing_since.setdefault(word, now_s)
        if now_s - since_s > LOG_EVERY_S:  # another time
            self._passing_since[word] = since_s = now_s
        return now_s - since_s < PASSING_S


_limit = RateLimit()


def limit_library_logs() -> None:
    """Limits the loggers that the libraries have made so far. May be called again for later ones."""
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in sorted(logging.root.manager.loggerDict):
        if name.split(".", 1)[0] in LIBRARIES:
            logger = logging.getLogger(name)
            if _limit not in logger.filters:
                logger.addFilter(_limit)
