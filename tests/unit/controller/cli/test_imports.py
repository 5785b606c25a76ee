"""What short commands import: nothing heavy that they have no use for."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "aiohttp",
    "attr",
    "cryptography",
    "email",
    "faust",
    "highspy",
    "httpx2",
    "importlib.metadata",
    "numpy",
    "opentelemetry",
    "prometheus_client",
    "psutil",
    "pygments",
    "redis",
    "structlog",
    "uvloop",
    "yaml",
)


@pytest.mark.parametrize("command", ["status", "orders", "countersign", "watch"])
def test_short_commands_import_nothing_heavy(command: str) -> None:
    """An operator waits for each import in the middle of an outage. ``redis`` and ``structlog`` alone took
    longer than all the rest."""
    code = (
        f"import sys; import controller.cli, controller.cli.{command}; "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_a_logger_of_a_short_command_drops_everything() -> None:
    """It takes whatever a logger takes, and does not import the library for it."""
    code = (
        "import sys; from controller.process.telemetry import logger, quiet; quiet(); "
        "logger('x').bind(a=1); logger('x').warning('words', field=1); "
        "print('structlog' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (ended.stdout.strip(), ended.stderr) == ("False", "")
