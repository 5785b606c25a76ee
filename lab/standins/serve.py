"""Runs one stand-in in this process: event loop, signals, logging."""

import asyncio
import logging
import signal
import sys

import msgspec
import structlog

from lab.standins.config import ReadyInfo, StandinConfig
from lab.standins.host import run


def serve(config: StandinConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises OSError when a port is taken."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        import uvloop
    except ImportError:  # no wheel for this platform: the standard loop serves as well
        asyncio.run(_serve(config))
    else:
        uvloop.run(_serve(config))


async def _serve(config: StandinConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(config, _announce, stop)


def _announce(info: ReadyInfo) -> None:
    sys.stdout.write(msgspec.json.encode(info).decode() + "\n")
    sys.stdout.flush()
