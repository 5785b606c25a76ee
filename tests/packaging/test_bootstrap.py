"""script/_bootstrap says in one clear sentence what is missing. It runs as it would on a new machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.places import ROOT

FILES = (
    "requirements.lock",
    "requirements-bootstrap.lock",
    "pyproject.toml",
    "client/pyproject.toml",
    "lab/pyproject.toml",
)
NOBODY_LISTENS = "http://127.0.0.1:9/"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What the bootstrap reads, without a `.venv`, in a directory with a space in its name."""
    root = tmp_path / "a project"
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "script", root / "script")
    return root


def bench(project: Path, cwd: Path, **environment: str) -> tuple[int, list[str]]:
    """Runs script/bench, the one that does least after the bootstrap, from `cwd`. Its status and messages."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_", "UV_"))
    }
    done = subprocess.run(
        [project / "script" / "bench"],
        cwd=cwd,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stderr.splitlines()


def test_wrong_python_is_named(project: Path, tmp_path: Path) -> None:
    """A Python that is too old or none at all is refused with its name and the version needed."""
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 0\n")
    old.chmod(0o755)
    status, lines = bench(project, tmp_path, PYTHON=str(old))
    assert status == 1
    assert lines == [f"tieline: PYTHON={old} is not a Python 3.11 or newer: unset it or name one that is"]


def test_missing_venv_module_names_the_package(project: Path, tmp_path: Path) -> None:
    """Debian's Python without its venv package: the sentence says what to install."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "ensurepip.py").write_text("raise ImportError\n")
    status, lines = bench(project, tmp_path, PYTHONPATH=str(broken))
    assert status == 1
    assert len(lines) == 1
    assert "has no venv module" in lines[0]
    assert "apt-get install python3." in lines[0]


def test_no_network_is_said(project: Path, tmp_path: Path) -> None:
    """Without an index to reach the last line says so, .venv isn't ready, and the next run tries again."""
    for _ in range(2):
        status, lines = bench(project, tmp_path, PIP_INDEX_URL=NOBODY_LISTENS, PIP_NO_CACHE_DIR="1")
        assert status == 1
        assert "check the network" in lines[-1]
        assert "Traceback" not in "\n".join(lines)
        assert not (project / ".venv" / ".ready").exists()
