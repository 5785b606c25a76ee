"""A real Prometheus for tests and pictures, and its promtool (``tools.debian`` has the programs)."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tools.debian import programs

NAMES = ("prometheus", "promtool")
STOP_WITHIN_S = 10.0


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs promtool to its end. Raises NoProgramError."""
    command = [str(programs("prometheus", *NAMES) / "promtool"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@asynccontextmanager
async def running(config: Path, directory: Path, port: int) -> AsyncIterator[str]:
    """Prometheus with this configuration; gives its URL. ``directory`` takes its data and its log.

    Raises NoProgramError.
    """
    listen = f"127.0.0.1:{port}"
    with (directory / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            str(programs("prometheus", *NAMES) / "prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address={listen}",
            env={**os.environ, "GOMAXPROCS": "1"},
            stdout=log,
            stderr=log,
        )
    try:
        yield f"http://{listen}"
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_WITHIN_S)
        except TimeoutError:
            process.kill()
            await process.wait()
