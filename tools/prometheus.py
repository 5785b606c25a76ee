"""A real Prometheus for tests and pictures: the programs on the path, or those of Debian's package in the
cache.

Installing the package would start a server of its own, so the package is only unpacked. Nothing needs root
where the lists of packages are there.
"""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from lab.stack.cache import cache_directory, exclusive

NAMES = ("prometheus", "promtool")
PACKAGE = "prometheus"
STOP_WITHIN_S = 10.0


class NoPrometheusError(Exception):
    """There is no Prometheus here, and its package can't be had: says why."""


def programs() -> Path:
    """The directory with ``prometheus`` and ``promtool``. Raises NoPrometheusError."""
    places = {Path(path).parent for path in map(shutil.which, NAMES) if path}
    if len(places) == 1:
        return places.pop()
    place = cache_directory() / "prometheus"
    with exclusive(place.with_suffix(".lock")):
        if not all((place / "usr" / "bin" / name).is_file() for name in NAMES):
            _unpack(place)
    return place / "usr" / "bin"


def _unpack(place: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise NoPrometheusError("neither prometheus nor apt-get is here: install Prometheus 2.40 or newer")
    place.mkdir(parents=True, exist_ok=True)
    words = _run(["apt-get", "download", "-qq", PACKAGE], place)
    if words:
        _run(["apt-get", "update", "-qq"], place)
        words = _run(["apt-get", "download", "-qq", PACKAGE], place)
    files = sorted(place.glob(f"{PACKAGE}_*.deb"))
    if words or not files:
        raise NoPrometheusError(
            f"Debian's package {PACKAGE} can't be had: {words or 'nothing was downloaded'}"
        )
    words = _run(["dpkg-deb", "-x", str(files[-1]), str(place)], place)
    if words:
        raise NoPrometheusError(f"Debian's package {PACKAGE} can't be unpacked: {words}")


def _run(command: Sequence[str], place: Path) -> str:
    """What went wrong; empty if nothing did."""
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip() or f"{command[0]} ended with {done.returncode}"


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs promtool to its end. Raises NoPrometheusError."""
    command = [str(programs() / "promtool"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@asynccontextmanager
async def running(config: Path, directory: Path, port: int) -> AsyncIterator[str]:
    """Prometheus with this configuration; gives its URL. ``directory`` takes its data and its log."""
    listen = f"127.0.0.1:{port}"
    with (directory / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            str(programs() / "prometheus"),
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
