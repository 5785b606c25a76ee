"""Keeps the Kafka libraries' logs readable: the same line at most once in ten seconds (they write about a
thousand while Kafka is away for eleven), and nothing below a warning."""

import logging
from collections import OrderedDict

LIBRARIES = ("faust", "mode", "aiokafka")
REPEAT_AFTER_S = 10.0
TEMPLATES_MAX = 500


class RateLimit(logging.Filter):
    """Passes a record unless the same logger passed one of the same template within the last ten seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._passed_at: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._suppressed: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Says how many were left out when it passes one again."""
        if record.levelno >= logging.CRITICAL:
            return True
        key = (record.name, str(record.msg)[:200])
        now = record.created
        if now - self._passed_at.get(key, -REPEAT_AFTER_S) < REPEAT_AFTER_S:
            self._suppressed[key] = self._suppressed.get(key, 0) + 1
            return False
        self._passed_at[key] = now
        self._passed_at.move_to_end(key)
        while len(self._passed_at) > TEMPLATES_MAX:
            oldest, _ = self._passed_at.popitem(last=False)
            self._suppressed.pop(oldest, None)
        if left_out := self._suppressed.pop(key, 0):
            record.msg = f"{record.msg} ({left_out} more like this were left out)"
        return True


_limit = RateLimit()


def limit_library_logs() -> None:
    """May be called again; loggers made since then are limited too."""
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in sorted(logging.root.manager.loggerDict):
        if name.split(".", 1)[0] in LIBRARIES:
            logger = logging.getLogger(name)
            if _limit not in logger.filters:
                logger.addFilter(_limit)
