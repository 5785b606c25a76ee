"""The program of one stand-in: ``python -m lab.standins CONFIG``, a file of YAML or JSON.

Prints one JSON line (``config.ReadyInfo``) when every port listens, and serves until SIGTERM or SIGINT. Exit
status 0 after that, 2 when the configuration or a port can't be used.
"""

# ruff: noqa: E402 (structlog must not be imported before rich is hidden from it)

import asyncio
import logging
import sys
from pathlib import Path

# structlog would load rich to print tracebacks, which this program never does: half of its start time.
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]

import msgspec
import structlog

from controller.process.supervise import end_on_signals
from lab.standins import config
from lab.standins.config import ConfigError, ReadyInfo, StandinConfig
from lab.standins.host import run


def main(arguments: list[str]) -> int:
    """Serves the stand-in that a file describes. Returns the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m lab.standins CONFIG\n")
        return 2
    try:
        configs = config.read(Path(arguments[0]))
        if len(configs) != 1:
            raise ConfigError(f"{arguments[0]} describes {len(configs)} processes; this command runs one")
        serve(configs[0])
    except (ConfigError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def serve(description: StandinConfig) -> None:
    """Serves until SIGTERM or SIGINT. Raises OSError when a port is taken."""
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
    except ImportError:  # there is no wheel for this platform; the standard loop serves as well
        asyncio.run(_serve(description))
    else:
        uvloop.run(_serve(description))


async def _serve(description: StandinConfig) -> None:
    await run(description, _announce, end_on_signals())


def _announce(info: ReadyInfo) -> None:
    sys.stdout.write(msgspec.json.encode(info).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
