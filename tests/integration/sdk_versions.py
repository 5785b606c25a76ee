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

import pytest

from tests.places import ROOT

LOCK = Path(__file__).with_name("requirements-openai2.lock")
INSTALL_MAX_S = 180


def environment_of_openai_2() -> str:
    """The Python of an environment with the last 2.x and nothing else, made once from its lock."""
    name = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:16]
    place = ROOT / ".cache" / f"openai2-{name}"
    python, stamp = place / "bin" / "python", place / "ready"
    place.parent.mkdir(exist_ok=True)
    with (place.parent / "openai2.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
            pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--retries", "2", "install", "-q"]
            got = subprocess.run([*pip, "--require-hashes", "-r", str(LOCK)], timeout=INSTALL_MAX_S)
            if got.returncode:
                pytest.skip("openai 2.x can't be had here: the package index is out of reach")
            stamp.touch()
    return str(python)


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
