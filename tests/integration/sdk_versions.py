"""Runs a script with the openai SDK in its latest 3.x, which this environment has, or in the last 2.x."""

import asyncio
import fcntl
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.places import ROOT

LOCK = Path(__file__).with_name("requirements-openai2.lock")
INSTALL_MAX_S = 180


class NoSdkError(Exception):
    """The last 2.x can't be installed; the message says why, and what to do."""


def environment_of_openai_2() -> str:
    """The Python of an environment with the last 2.x and nothing else, made once from its lock.

    `script/test` makes it before the tests begin. Raises ``NoSdkError``."""
    name = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:16]
    place = ROOT / ".cache" / f"openai2-{name}"
    stamp = place / "ready"
    place.parent.mkdir(exist_ok=True)
    with (place.parent / "openai2.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists():
            _install(place)
            stamp.touch()
    return str(place / "bin" / "python")


def _install(place: Path) -> None:
    """By the pip of this environment, and so from the index that the project itself was installed from."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(place)], check=True)
    pip = (
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(place / "bin" / "python"),
        "--disable-pip-version-check",
    )
    done = subprocess.run(
        [*pip, "--retries", "2", "install", "-q", "--require-hashes", "-r", str(LOCK)],
        capture_output=True,
        text=True,
        timeout=INSTALL_MAX_S,
    )
    if done.returncode:
        raise NoSdkError(
            f"openai 2.x of {LOCK.relative_to(ROOT)} can't be installed, so the tests with it would fail: "
            f"check the network and start again. pip says: {done.stderr.strip().splitlines()[-1]}"
        )


async def run_with_sdk(version: str, script: str, *arguments: str, limit_s: float) -> list[dict[str, Any]]:
    """The JSON lines that a script beside this file prints when it runs with this version ("3" or "2")."""
    python = sys.executable if version == "3" else await asyncio.to_thread(environment_of_openai_2)
    done = await asyncio.to_thread(
        subprocess.run,
        [python, str(Path(__file__).with_name(script)), *arguments],
        capture_output=True,
        text=True,
        timeout=limit_s,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'client'}:{ROOT}"},
    )
    lines: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines, done.stderr
    return lines


if __name__ == "__main__":
    try:
        environment_of_openai_2()
    except NoSdkError as error:
        sys.exit(f"tieline: {error}")
